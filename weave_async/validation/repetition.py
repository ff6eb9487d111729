"""Texts that repeat themselves: lines, paragraphs and runs of words.

The measures and the bounds for documents are those of table A1 in Rae et al. 2021, "Scaling
Language Models: Methods, Analysis & Insights from Training Gopher",
https://arxiv.org/abs/2112.11446.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import ClassVar

from weave_async.records import Sample, Verdict
from weave_async.validation.presets import (
    Bound,
    Bounds,
    Measure,
    TextKind,
    bounds_of,
    first_broken,
)
from weave_async.validation.text_units import duplicates, lines, paragraphs, words

Ngram = tuple[str, ...]
TOP_SIZES, DUPLICATE_SIZES = (2, 3, 4), (5, 6, 7, 8, 9, 10)
"""Of which lengths one n-gram is looked at, the most frequent, and of which all that repeat."""

_DOCUMENT: Bounds = {
    "max_duplicate_lines": 0.3,
    "max_duplicate_paragraphs": 0.3,
    "max_duplicate_line_chars": 0.2,
    "max_duplicate_paragraph_chars": 0.2,
    "max_top_2gram": 0.2,
    "max_top_3gram": 0.18,
    "max_top_4gram": 0.16,
    "max_duplicate_5grams": 0.15,
    "max_duplicate_6grams": 0.14,
    "max_duplicate_7grams": 0.13,
    "max_duplicate_8grams": 0.12,
    "max_duplicate_9grams": 0.11,
    "max_duplicate_10grams": 0.10,
    "min_top_count": 1,
}
_PARAGRAPH: Bounds = {**_DOCUMENT, "min_top_count": 3}
_CHAT: Bounds = {
    **dict.fromkeys(_DOCUMENT, 0.3),
    "max_top_2gram": 0.35,
    "max_top_3gram": 0.35,
    "max_top_4gram": 0.35,
    "min_top_count": 3,
}
PRESETS: dict[TextKind, Bounds] = {
    "question": {**_CHAT, "max_duplicate_lines": 0.2},
    "chat": _CHAT,
    "paragraph": _PARAGRAPH,
    "document": _DOCUMENT,
}


@dataclass(frozen=True, slots=True)
class RepetitionValidator:
    """Refuses completions that repeat themselves, by the measures of Gopher (Rae et al. 2021).

    ``preset`` says what kind of text the rows are: ``document`` has the paper's bounds, the others
    have bounds for shorter texts. Each bound may be set by itself; ``null`` turns it off.
    ``max_duplicate_lines`` and ``_paragraphs`` bound the share that stood before already, their
    ``_chars`` that share in characters. ``max_top_2gram`` … ``_4gram`` bound the share of the
    characters that lie in the most frequent run of so many words, if it stands at least
    ``min_top_count`` times; ``max_duplicate_5grams`` … ``_10grams`` the share that lies in any run
    of so many words which stood before already.
    """

    preset: TextKind = "chat"
    max_duplicate_lines: Bound = "preset"
    max_duplicate_paragraphs: Bound = "preset"
    max_duplicate_line_chars: Bound = "preset"
    max_duplicate_paragraph_chars: Bound = "preset"
    max_top_2gram: Bound = "preset"
    max_top_3gram: Bound = "preset"
    max_top_4gram: Bound = "preset"
    max_duplicate_5grams: Bound = "preset"
    max_duplicate_6grams: Bound = "preset"
    max_duplicate_7grams: Bound = "preset"
    max_duplicate_8grams: Bound = "preset"
    max_duplicate_9grams: Bound = "preset"
    max_duplicate_10grams: Bound = "preset"
    min_top_count: Bound = "preset"
    _bounds: dict[str, float | None] = field(init=False, repr=False)

    is_light: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bounds", bounds_of(self, PRESETS))

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        if not text:
            return Verdict(False, "empty")
        return first_broken(self._measures(text), self._bounds)

    def _measures(self, text: str) -> Iterator[Measure]:
        num_chars = len(text)
        if "\n" in text:  # else it is one line, and one paragraph
            for kind, units in (("paragraph", paragraphs(text)), ("line", lines(text))):
                num_duplicates, duplicate_chars = duplicates(units)
                share = num_duplicates / len(units)
                yield f"duplicate_{kind}s", f"max_duplicate_{kind}s", share
                share = duplicate_chars / num_chars
                yield f"duplicate_{kind}_chars", f"max_duplicate_{kind}_chars", share
        ngrams = _Ngrams(words(text))
        for size in TOP_SIZES:
            count, ngram = ngrams.most_frequent(size)
            if count >= (self._bounds["min_top_count"] or 1):
                share = count * len(" ".join(ngram)) / num_chars
                yield f"top_{size}gram", f"max_top_{size}gram", share
        for size in DUPLICATE_SIZES:
            if not ngrams.may_repeat(size):
                return
            share = ngrams.num_duplicate_chars(size) / num_chars
            yield f"duplicate_{size}grams", f"max_duplicate_{size}grams", share


class _Ngrams:
    """The runs of words of one text. What pairs of words tell already is not counted again."""

    def __init__(self, found: list[str]) -> None:
        self._words = found
        pairs = list(self._runs(2))
        self._pairs = Counter(pairs)
        self._repeats = bytes(map((1).__lt__, map(self._pairs.__getitem__, pairs)))
        """One byte for each pair, 1 where it stands more than once."""

    def _runs(self, size: int) -> Iterator[Ngram]:
        return zip(*(self._words[start:] for start in range(size)), strict=False)

    def may_repeat(self, size: int) -> bool:
        """False if no run of so many words stands twice: else all pairs in it would, too."""
        return b"\1" * (size - 1) in self._repeats

    def most_frequent(self, size: int) -> tuple[int, Ngram]:
        """Its count and itself: the first of those that are equally frequent."""
        if size > len(self._words):
            return 0, ()
        if not self.may_repeat(size):
            return 1, tuple(self._words[:size])
        counts = self._pairs if size == 2 else Counter(self._runs(size))
        most = max(counts.values())
        return most, next(ngram for ngram, count in counts.items() if count == most)

    def num_duplicate_chars(self, size: int) -> int:
        """In runs of so many words that stood before, each character counted once."""
        ngrams = list(self._runs(size))
        if len(set(ngrams)) == len(ngrams):
            return 0
        chars_before = list(accumulate(map(len, self._words), initial=0))
        seen: set[Ngram] = set()
        num_chars = at = 0
        while at < len(ngrams):
            if ngrams[at] in seen:
                num_chars += chars_before[at + size] - chars_before[at]
                at += size
            else:
                seen.add(ngrams[at])
                at += 1
        return num_chars
