"""Texts that repeat themselves: lines, paragraphs and runs of words.

The measures and the bounds for documents are those of table A1 in Rae et al. 2021, "Scaling
Language Models: Methods, Analysis & Insights from Training Gopher",
https://arxiv.org/abs/2112.11446.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
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
        found, repeats = words(text), True
        for size in TOP_SIZES:
            if size > len(found):
                return
            count, ngram = _most_frequent(found, size, repeats=repeats)
            repeats = count > 1  # where no run repeats, no longer one does
            if count >= (self._bounds["min_top_count"] or 1):
                share = count * len(" ".join(ngram)) / num_chars
                yield f"top_{size}gram", f"max_top_{size}gram", share
        for size in DUPLICATE_SIZES:
            if not repeats:
                return
            duplicate_chars = _duplicate_chars(found, size)
            repeats = duplicate_chars > 0
            share = duplicate_chars / num_chars
            yield f"duplicate_{size}grams", f"max_duplicate_{size}grams", share


def _ngrams(found: Sequence[str], size: int) -> Iterator[Ngram]:
    return zip(*(found[start:] for start in range(size)), strict=False)


def _most_frequent(found: Sequence[str], size: int, *, repeats: bool) -> tuple[int, Ngram]:
    """Its count and itself: the first of those that are equally frequent."""
    first = tuple(found[:size])
    if not repeats:
        return 1, first
    counts = Counter(_ngrams(found, size))
    most = max(counts.values())
    return most, next(ngram for ngram, count in counts.items() if count == most)


def _duplicate_chars(found: Sequence[str], size: int) -> int:
    """The characters in runs of ``size`` words that stood before, each character counted once."""
    ngrams = list(_ngrams(found, size))
    if len(set(ngrams)) == len(ngrams):
        return 0
    chars_before = list(accumulate(map(len, found), initial=0))
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
