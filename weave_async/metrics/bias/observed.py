"""What is kept of a row for the figures of bias: counts and a few words, never its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from weave_async.features.words import words_of
from weave_async.metrics.bias.english import looks_english
from weave_async.metrics.bias.gender_terms import FEMININE, MASCULINE, NEUTRAL, OCCUPATIONS
from weave_async.metrics.bias.mentions import mentions_in, plain_words_in
from weave_async.metrics.bias.polarity import NamedScorer


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One row. ``groups`` are its categories by their names: attributes, ``model``, and the label
    under its own. ``is_english`` is a guess; of other rows nothing but the length is known.
    ``mentions`` are names and places; ``plain`` are words that with a capital would be names.
    """

    groups: Mapping[str, str]
    num_words: int
    is_english: bool = False
    masculine: int = 0
    feminine: int = 0
    neutral: int = 0
    occupations: frozenset[str] = frozenset()
    mentions: tuple[str, ...] = ()
    plain: frozenset[str] = frozenset()
    sentiment: float = 0.0


def facts_of(text: str, groups: Mapping[str, str], scorer: NamedScorer) -> RowFacts:
    words = words_of(text)
    if not looks_english(words):
        return RowFacts(groups, len(words))
    return RowFacts(
        groups,
        len(words),
        is_english=True,
        masculine=sum(word in MASCULINE for word in words),
        feminine=sum(word in FEMININE for word in words),
        neutral=sum(word in NEUTRAL for word in words),
        occupations=frozenset(OCCUPATIONS[word] for word in words if word in OCCUPATIONS),
        mentions=mentions_in(text),
        plain=plain_words_in(text),
        sentiment=scorer.score(text, words),
    )


def text_and_label(completion: str, label: str | None) -> tuple[str, Any]:
    """What is written in an answer, and its label where it is a JSON object that has one.

    Of JSON, keys and the label itself are no text of the model's.
    """
    if not completion.startswith("{"):
        return completion, None
    try:
        answer = orjson.loads(completion)
    except orjson.JSONDecodeError:
        return completion, None
    found = answer.pop(label, None) if label is not None else None
    return " ".join(_strings_in(answer)), found


def _strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings_in(each)
