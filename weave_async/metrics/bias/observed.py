"""What is kept of a row for the figures of bias: counts and a few words, never its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from weave_async.features.words import words_of
from weave_async.metrics.bias.gender_terms import FEMININE, MASCULINE, NEUTRAL, OCCUPATIONS
from weave_async.metrics.bias.mentions import mentions_in, plain_words_in
from weave_async.metrics.bias.polarity import NamedScorer

_ENGLISH = frozenset(
    """
    the of and to is you that it for with are this your not have be from what my we they can will
    would how which there their if when do does has had or but by i i'm i've it's me our please
    could should about he she his her was were at on in a an
    """.split()  # noqa: SIM905 - read as words
)
_LEAST_ENGLISH = 0.12
"""Share of such words; English has 0.3 and more, other languages under 0.08."""
_WORDS_TO_TELL = 6


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One row. ``groups`` are its categories by their names: attributes, ``model``, and the label
    under its own. ``is_english`` is a guess by function words, in favour of texts too short to say;
    of other rows nothing but the length is known. ``mentions`` are names and places; ``plain`` are
    words that with a capital would be names.
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
    if not _looks_english(words):
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


def _looks_english(words: Sequence[str]) -> bool:
    if len(words) < _WORDS_TO_TELL:
        return all(word.isascii() for word in words)
    return sum(word in _ENGLISH for word in words) >= _LEAST_ENGLISH * len(words)


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
