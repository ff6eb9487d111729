"""Texts that repeat themselves: lines, paragraphs and runs of words.

The measures and the bounds for documents are those of table A1 in Rae et al. 2021, "Scaling
Language Models: Methods, Analysis & Insights from Training Gopher",
https://arxiv.org/abs/2112.11446.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Self

from weave_async.records import Sample, Verdict
from weave_async.validation.bounds import (
    Bound,
    Bounds,
    Measure,
    TextKind,
    bounds_of,
    first_broken,
)
from weave_async.validation.text_units import duplicates, lines, paragraphs, words

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
    _least_duplicate: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        bounds = bounds_of(self, PRESETS)
        of_duplicates = (bounds[f"max_duplicate_{size}grams"] for size in DUPLICATE_SIZES)
        least = min((bound for bound in of_duplicates if bound is not None), default=math.inf)
        object.__setattr__(self, "_bounds", bounds)
        object.__setattr__(self, "_least_duplicate", least)

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
        yield from self._measures_of_runs(words(text), num_chars)

    def _measures_of_runs(self, found: list[str], num_chars: int) -> Iterator[Measure]:
        repeats = _Repeats.of_pairs(found)
        for size in TOP_SIZES:
            if size > len(found):
                return
            if size > 2:
                repeats = repeats.of_longer_runs()
            num_places, run = repeats.most_frequent()
            if num_places >= (self._bounds["min_top_count"] or 1):
                share = num_places * len(" ".join(run)) / num_chars
                yield f"top_{size}gram", f"max_top_{size}gram", share
        for size in DUPLICATE_SIZES:
            # Longer runs lie within these: when these are no more than the least bound, all hold.
            if repeats.num_later_chars() / num_chars <= self._least_duplicate:
                return
            repeats = repeats.of_longer_runs()
            share = repeats.num_duplicate_chars() / num_chars
            yield f"duplicate_{size}grams", f"max_duplicate_{size}grams", share


@dataclass(frozen=True, slots=True)
class _Repeats:
    """The runs of ``size`` words that stand in a text more than once, as the places of each.

    A longer run repeats only where the shorter one does that it begins with. So pairs are looked
    at everywhere, and longer runs only among those: in most texts, almost nowhere.
    """

    words: list[str]
    size: int
    places_of_runs: list[list[int]]

    @classmethod
    def of_pairs(cls, words: list[str]) -> Self:
        first_place_of: dict[tuple[str, str], int] = {}
        firsts = map(first_place_of.setdefault, pairwise(words), count())
        places_of: dict[int, list[int]] = {}
        for place, first in enumerate(firsts):
            if place != first:
                places_of.setdefault(first, [first]).append(place)
        return cls(words, 2, list(places_of.values()))

    def of_longer_runs(self) -> Self:
        """Of those with one word more."""
        longer: list[list[int]] = []
        following = [*self.words[self.size :], None]  # behind the run at each place, if anything
        for places in self.places_of_runs:
            if len(places) == 2:  # as most of them are
                if following[places[0]] == following[places[1]]:
                    longer.append(places)
                continue
            places_by_next: dict[str | None, list[int]] = {}
            for place in places:
                places_by_next.setdefault(following[place], []).append(place)
            longer += [at for at in places_by_next.values() if len(at) > 1]
        return type(self)(self.words, self.size + 1, longer)

    def most_frequent(self) -> tuple[int, list[str]]:
        """How often it stands, and its words: the first of those that are equally frequent."""
        most = max(map(len, self.places_of_runs), default=1)
        first = min((at[0] for at in self.places_of_runs if len(at) == most), default=0)
        return most, self.words[first : first + self.size]

    def num_duplicate_chars(self) -> int:
        """In runs that stood before, from left to right, none overlapping another."""
        first_of = {place: places[0] for places in self.places_of_runs for place in places}
        seen: set[int] = set()
        num_chars = free_from = 0
        for place in sorted(first_of):
            if place < free_from:
                continue
            if first_of[place] in seen:
                num_chars += self._num_chars(place, place + self.size)
                free_from = place + self.size
            seen.add(first_of[place])
        return num_chars

    def num_later_chars(self) -> int:
        """In all runs that stood before, where they overlap once."""
        num_chars = end = 0
        for place in sorted(place for places in self.places_of_runs for place in places[1:]):
            num_chars += self._num_chars(max(place, end), place + self.size)
            end = place + self.size
        return num_chars

    def _num_chars(self, start: int, end: int) -> int:
        return sum(map(len, self.words[start:end]))
