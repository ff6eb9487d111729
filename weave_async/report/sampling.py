"""Which rows the page shows: some of each kind of ending and of each model, drawn by a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from weave_async.metrics.bias.subset import SeededSubset
from weave_async.report.row import ReportRow

MAX_STRATA = 300
FAIR_SHARE = 0.5
"""This part of the rows is dealt out evenly over the strata, the rest by their size."""
_OTHERS = ("others",)


class Place(NamedTuple):
    """Where a row stands: the file's stem, and the line's first byte."""

    stem: str
    offset: int


class StratifiedSample:
    """Keeps places of rows, not rows; the same ones whatever the order in which they come.

    A stratum is an ending with its reason, and a model.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._strata: dict[tuple[str, ...], SeededSubset[Place]] = {}

    def __repr__(self) -> str:
        return f"<StratifiedSample {self._size} of {self.num_offered} rows>"

    @property
    def num_offered(self) -> int:
        return sum(stratum.num_offered for stratum in self._strata.values())

    def offer(self, row: ReportRow, place: Place) -> None:
        key = (row.ending, *row.why, row.model)
        stratum = self._strata.get(key)
        if stratum is None:
            if len(self._strata) >= MAX_STRATA:
                key = (row.ending, *_OTHERS)
            stratum = self._strata.setdefault(key, SeededSubset(self._seed, self._size))
        stratum.offer(row.sample_id, lambda: place)

    def places(self) -> list[Place]:
        """In the order in which they stand in the files, written rows first."""
        rooms = allotted({k: s.num_offered for k, s in self._strata.items()}, self._size)
        return sorted(
            (place for key, room in rooms.items() for place in self._strata[key].rows()[:room]),
            key=lambda place: (place.stem != "samples", place.stem != "rejected", place.offset),
        )


def allotted(sizes: Mapping[tuple[str, ...], int], total: int) -> dict[tuple[str, ...], int]:
    """How many of each stratum: one at least where there is room, and none more than it has."""
    if sum(sizes.values()) <= total:
        return dict(sizes)
    rooms = dict.fromkeys(sizes, 0)
    _deal(rooms, sizes, dict.fromkeys(sizes, 1.0), round(FAIR_SHARE * total))
    _deal(rooms, sizes, {key: float(size) for key, size in sizes.items()}, total)
    return rooms


def _deal(
    rooms: dict[tuple[str, ...], int],
    sizes: Mapping[tuple[str, ...], int],
    weights: Mapping[tuple[str, ...], float],
    total: int,
) -> None:
    """Fill ``rooms`` up to ``total`` by weight, again and again as strata are used up."""
    while (left := total - sum(rooms.values())) > 0:
        open_keys = [key for key in sizes if rooms[key] < sizes[key]]
        whole = sum(weights[key] for key in open_keys)
        for key, more in _parts(open_keys, weights, left, whole):
            rooms[key] += min(more, sizes[key] - rooms[key], total - sum(rooms.values()))


def _parts(
    keys: list[tuple[str, ...]], weights: Mapping[tuple[str, ...], float], left: int, whole: float
) -> Iterator[tuple[tuple[str, ...], int]]:
    for key in keys:
        yield key, max(1, int(left * weights[key] / whole))
