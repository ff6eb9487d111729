"""Texts that do not read like prose: by Gopher's rules of quality.

The measures and the bounds for documents are those of section A.1.1 in Rae et al. 2021, "Scaling
Language Models: Methods, Analysis & Insights from Training Gopher",
https://arxiv.org/abs/2112.11446.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from unicodedata import category

from weave_async.records import Sample, Verdict
from weave_async.validation.bounds import (
    Bound,
    Bounds,
    Measure,
    TextKind,
    bounds_of,
    first_broken,
)
from weave_async.validation.text_units import words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_ELLIPSES, _BULLETS = ("...", "…"), ("•", "-")

_DOCUMENT: Bounds = {
    "min_words": 50,
    "max_words": 100_000,
    "min_mean_word_length": 3,
    "max_mean_word_length": 10,
    "max_symbols_per_word": 0.1,
    "max_bullet_lines": 0.9,
    "max_ellipsis_lines": 0.3,
    "min_alphabetic_words": 0.8,
    "min_stop_words": 2,
}
_PARAGRAPH: Bounds = {**_DOCUMENT, "min_words": 15, "min_alphabetic_words": 0.7}
_CHAT: Bounds = {
    "min_words": 1,
    "max_words": 2_000,
    "min_mean_word_length": None,  # it may also be one letter, a number, or code
    "max_mean_word_length": 15,
    "max_symbols_per_word": 0.5,
    "max_bullet_lines": None,  # an answer may well be a list
    "max_ellipsis_lines": None,
    "min_alphabetic_words": None,
    "min_stop_words": None,
}
PRESETS: dict[TextKind, Bounds] = {
    "question": {
        **_CHAT,
        "max_words": 200,
        "min_mean_word_length": 1.5,
        "min_alphabetic_words": 0.4,
    },
    "chat": _CHAT,
    "paragraph": _PARAGRAPH,
    "document": _DOCUMENT,
}


@dataclass(frozen=True, slots=True)
class GopherQualityValidator:
    """Refuses completions that do not read like prose, by the rules of Gopher (Rae et al. 2021).

    ``preset`` says what kind of text the rows are: ``document`` has the paper's bounds, the others
    have bounds for shorter texts. Each bound may be set by itself; ``null`` turns it off.
    Words that are punctuation alone count neither in ``min_words`` and ``max_words`` nor in the
    mean length. ``max_symbols_per_word`` bounds the number signs, and the ellipses, for each word;
    ``max_bullet_lines`` and ``max_ellipsis_lines`` the share of lines that begin or end so;
    ``min_alphabetic_words`` is the least share of words with a letter in them, and
    ``min_stop_words`` the least number of different ``stop_words``, which are English ones.
    """

    preset: TextKind = "chat"
    min_words: Bound = "preset"
    max_words: Bound = "preset"
    min_mean_word_length: Bound = "preset"
    max_mean_word_length: Bound = "preset"
    max_symbols_per_word: Bound = "preset"
    max_bullet_lines: Bound = "preset"
    max_ellipsis_lines: Bound = "preset"
    min_alphabetic_words: Bound = "preset"
    min_stop_words: Bound = "preset"
    stop_words: list[str] = field(default_factory=lambda: list(STOP_WORDS))
    _bounds: dict[str, float | None] = field(init=False, repr=False)
    _stop_words: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bounds", bounds_of(self, PRESETS))
        object.__setattr__(self, "_stop_words", frozenset(self.stop_words))
        needed, given = self._bounds["min_stop_words"] or 0, len(self._stop_words)
        if needed > given:
            raise ValueError(f"min_stop_words {needed} is more than there are stop_words: {given}")

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        found = words(text)
        if not found:
            return Verdict(False, "empty")
        return first_broken(self._measures(text, found), self._bounds)

    def _measures(self, text: str, found: list[str]) -> Iterator[Measure]:
        symbols = [word for word in found if not word.isalnum() and _is_punctuation(word)]
        num_words = len(found) - len(symbols)
        yield "too_few_words", "min_words", num_words
        yield "too_many_words", "max_words", num_words
        if num_words:
            mean_length = (sum(map(len, found)) - sum(map(len, symbols))) / num_words
            yield "short_words", "min_mean_word_length", mean_length
            yield "long_words", "max_mean_word_length", mean_length
        yield "too_many_hashes", "max_symbols_per_word", text.count("#") / len(found)
        num_ellipses = sum(map(text.count, _ELLIPSES))
        yield "too_many_ellipses", "max_symbols_per_word", num_ellipses / len(found)
        lines = text.splitlines()
        bullets = sum(line.lstrip().startswith(_BULLETS) for line in lines) / len(lines)
        yield "too_many_bullet_lines", "max_bullet_lines", bullets
        trailing = sum(line.rstrip().endswith(_ELLIPSES) for line in lines) / len(lines)
        yield "too_many_ellipsis_lines", "max_ellipsis_lines", trailing
        mixed = [word for word in found if not word.isalpha()]
        num_alphabetic = len(found) - len(mixed) + sum(map(_has_letter, mixed))
        yield "too_few_alphabetic_words", "min_alphabetic_words", num_alphabetic / len(found)
        yield "too_few_stop_words", "min_stop_words", len(self._stop_words.intersection(found))


@lru_cache(maxsize=4096)
def _has_letter(word: str) -> bool:
    return any(map(str.isalpha, word))


@lru_cache(maxsize=4096)
def _is_punctuation(word: str) -> bool:
    return all(char in string.punctuation or category(char)[0] == "P" for char in word)
