"""Texts that repeat themselves: lines, paragraphs and runs of words.

The measures and the bounds for documents are those of table A1 in Rae et al. 2021, "Scaling
Language Models: Methods, Analysis & Insights from Training Gopher",
https://arxiv.org/abs/2112.11446.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count, pairwise
from typing import ClassVar, Self

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
        found = words(text)
        repeats = _Repeats.of_pairs(found)
        for size in TOP_SIZES:
            if size > len(found):
                return
            num_places, ngram = repeats.most_frequent()
            if num_places >= (self._bounds["min_top_count"] or 1):
                share = num_places * len(" ".join(ngram)) / num_chars
                yield f"top_{size}gram", f"max_top_{size}gram", share
            repeats = repeats.of_longer_runs()
        for size in DUPLICATE_SIZES:
            if not repeats.places_of:
                return
            share = repeats.num_duplicate_chars() / num_chars
            yield f"duplicate_{size}grams", f"max_duplicate_{size}grams", share
            repeats = repeats.of_longer_runs()


@dataclass(frozen=True, slots=True)
class _Repeats:
    """The runs of ``size`` words that stand in a text more than once, with the places of each.

    A run repeats only where the runs within it do. So pairs are looked at everywhere, and longer
    ones only where two neighbours of the size before repeat: in most texts, almost nowhere.
    """

    words: list[str]
    size: int
    places_of: dict[Ngram, list[int]]

    @classmethod
    def of_pairs(cls, words: list[str]) -> Self:
        first_at: dict[Ngram, int] = {}
        firsts = map(first_at.setdefault, pairwise(words), count())
        both = [(place, first) for place, first in enumerate(firsts) if place != first]
        return cls._among(words, 2, sorted(set(chain.from_iterable(both))))

    @classmethod
    def _among(cls, words: list[str], size: int, places: list[int]) -> Self:
        """Of the runs that begin at these places, in order."""
        places_of: dict[Ngram, list[int]] = {}
        for place in places:
            places_of.setdefault(tuple(words[place : place + size]), []).append(place)
        return cls(words, size, {run: at for run, at in places_of.items() if len(at) > 1})

    def of_longer_runs(self) -> Self:
        """Of those with one word more."""
        places = set(chain.from_iterable(self.places_of.values()))
        longer = sorted(place for place in places if place + 1 in places)
        return self._among(self.words, self.size + 1, longer)

    def most_frequent(self) -> tuple[int, Ngram]:
        """Its count and itself: the first of those that are equally frequent."""
        if not self.places_of:
            return 1, tuple(self.words[: self.size])
        run, places = max(self.places_of.items(), key=_num_places)
        return len(places), run

    def num_duplicate_chars(self) -> int:
        """In runs that stood before, each character counted once."""
        run_at = {place: run for run, places in self.places_of.items() for place in places}
        seen: set[Ngram] = set()
        num_chars = free_from = 0
        for place in sorted(run_at):
            if place < free_from:
                continue
            if run_at[place] in seen:
                num_chars += sum(map(len, run_at[place]))
                free_from = place + self.size
            seen.add(run_at[place])
        return num_chars


def _num_places(run: tuple[Ngram, list[int]]) -> int:
    return len(run[1])
