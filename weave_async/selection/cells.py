"""The axes of a grid: what puts a sample into a cell."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan

from weave_async.features.words import words_of
from weave_async.records import Sample
from weave_async.selection.values import columns_of, value_of

MEANING = "meaning"
"""The axis whose cells are texts that lie near to each other."""
MEASURES: dict[str, Callable[[Sample], float]] = {
    "length_chars": lambda sample: len(sample.completion),
    "length_words": lambda sample: len(words_of(sample.completion)),
}
GivenAxis = str | dict[str, int | list[float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """A name, and the edges of its bins where it is a number that is binned."""

    name: str
    edges: tuple[float, ...] = ()
    num_cells: int = 0

    @classmethod
    def of(cls, given: GivenAxis) -> Axis:
        """Raises ``ValueError`` for what is no axis."""
        if isinstance(given, str):
            if given in MEASURES or given == MEANING:
                example = "16" if given == MEANING else "[10, 30, 100]"
                raise ValueError(f"by {given}: say in which cells, as in {{{given}: {example}}}")
            return cls(given)
        if len(given) != 1:
            raise ValueError(f"by {given}: one name with its edges, as in length_words: [10, 30]")
        [(name, how)] = given.items()
        if name == MEANING:
            if not isinstance(how, int) or how < 2:
                raise ValueError(f"by {MEANING}: {how!r} is no number of cells, 2 or more")
            return cls(name, num_cells=how)
        if isinstance(how, int) or not how or any(one >= next for one, next in pairwise(how)):
            raise ValueError(f"by {name}: {how!r} are no edges: give ascending numbers")
        return cls(name, edges=tuple(how))

    @property
    def columns_read(self) -> list[str]:
        is_ours = self.name in MEASURES or self.name == MEANING
        return [] if is_ours else columns_of([self.name])

    def cell_of(self, sample: Sample) -> str:
        """Not of an axis of meaning, whose cells depend on what has come."""
        if not self.edges:
            return value_of(sample, self.name)
        number = self._number_of(sample)
        if isnan(number):
            return f"{self.name}: no number"
        place = bisect_right(self.edges, number)
        if place == 0:
            return f"{self.name} < {self.edges[0]:g}"
        if place == len(self.edges):
            return f"{self.name} ≥ {self.edges[-1]:g}"
        return f"{self.edges[place - 1]:g} ≤ {self.name} < {self.edges[place]:g}"

    def _number_of(self, sample: Sample) -> float:
        if (measure := MEASURES.get(self.name)) is not None:
            return measure(sample)
        try:
            return float(value_of(sample, self.name))
        except ValueError:
            return float("nan")


def axes_of(by: Sequence[GivenAxis]) -> list[Axis]:
    axes = [Axis.of(given) for given in by]
    names = [axis.name for axis in axes]
    if not axes or len(set(names)) < len(names):
        raise ValueError(f"by {list(by)}: name each axis once, and at least one")
    return axes
