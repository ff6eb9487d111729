"""The best few of each cell, of all that have come so far."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from heapq import heappush, heappushpop
from typing import NamedTuple

Cell = tuple[str, ...]


class Elite(NamedTuple):
    """The smallest of a heap is the worst: of equally good ones, the one that came last."""

    quality: float
    came: int  # as a negative number
    name: str


class Elites:
    """Names and qualities of at most ``per_cell`` in each cell, and 8 bytes for each that came."""

    def __init__(self, per_cell: int) -> None:
        self._per_cell = per_cell
        self._numbers: dict[Cell, int] = {}
        self._elites: list[list[Elite]] = []
        self._cell_of = array("I")
        self._quality_of = array("f")

    def __len__(self) -> int:
        return len(self._cell_of)

    def __repr__(self) -> str:
        return f"<Elites of {len(self)} in {len(self._elites)} cells>"

    def add(self, cell: Cell, quality: float, name: str) -> None:
        number = self._numbers.setdefault(cell, len(self._numbers))
        if number == len(self._elites):
            self._elites.append([])
        self._quality_of.append(quality)
        elite = Elite(self._quality_of[-1], -len(self), name)
        if len(self._elites[number]) < self._per_cell:
            heappush(self._elites[number], elite)
        else:
            heappushpop(self._elites[number], elite)
        self._cell_of.append(number)

    def each(self) -> Iterator[tuple[bool, Cell, float, Elite]]:
        """Of each that came: whether it stays, its cell, its quality, and the best of the cell."""
        cells = list(self._numbers)
        best = [max(elites) for elites in self._elites]
        stay = {-elite.came for elites in self._elites for elite in elites}
        for came, (number, quality) in enumerate(zip(self._cell_of, self._quality_of, strict=True)):
            yield came in stay, cells[number], quality, best[number]
