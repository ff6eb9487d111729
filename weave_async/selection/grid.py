"""The best of each kind: MAP-Elites (Mouret and Clune, 2015)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from weave_async.features.embeddings import Embedder
from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.selection.cells import MEANING, Axis, GivenAxis, axes_of
from weave_async.selection.codes import Codes
from weave_async.selection.compared import Compared
from weave_async.selection.elites import Cell, Elites
from weave_async.selection.embedded import EmbedderName, codes_of_samples, embedder_named
from weave_async.selection.quality import (
    Quality,
    check,
    columns_read_for,
    quality_of,
    rules_read_for,
)
from weave_async.selection.values import BETWEEN
from weave_async.selection.vector_index import Queries, VectorIndex


class Place(NamedTuple):
    """Where a sample belongs; ``queries`` is of the batch, where meaning plays a part."""

    values: Cell
    quality: float
    queries: Queries | None
    number: int
    code: Codes | None


@dataclass(slots=True)
class GridSelector:
    """Once all samples have come, writes the best ``per_cell`` of each cell of a grid.

    ``by`` lists its axes: a column, an attribute, ``model`` or ``endpoint``, whose values are
    cells; ``{length_words: [10, 30, 100]}``, as well with ``length_chars`` or a column of numbers,
    where the edges make cells; and ``{meaning: 16}``, cells around the first 16 samples that
    differ. ``quality`` says what is best: ``{rule: judge}``, the score that this rule has told, or
    ``{column: stars}``; unless given, the first ones stay, as they do among equals. ``on`` and
    ``embedder`` are for meaning, as with ``novelty``. It must come last. Holds 8 bytes per sample,
    and the names of those that stay.
    """

    by: str | list[GivenAxis]
    per_cell: int = 1
    quality: Quality | None = None
    on: Compared = "completion"
    embedder: EmbedderName | None = None
    _axes: list[Axis] = field(init=False, repr=False)
    _embedder: Embedder | None = field(init=False, repr=False)
    _anchors: VectorIndex | None = field(init=False, repr=False)
    _elites: Elites = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.by = [self.by] if isinstance(self.by, str) else self.by
        if self.per_cell < 1:
            raise ValueError(f"per_cell {self.per_cell} must be 1 or more")
        check(self.quality)
        self._elites = Elites(self.per_cell)
        self._axes = axes_of(self.by)
        self._embedder = self._anchors = None
        for axis in self._axes:
            if axis.name == MEANING:
                self._embedder = embedder_named(self.embedder)
                self._anchors = VectorIndex(self._embedder.num_dimensions, axis.num_cells)

    @property
    def columns_read(self) -> list[str]:
        columns = [column for axis in self._axes for column in axis.columns_read]
        return [*columns, *columns_read_for(self.quality)]

    @property
    def rules_read(self) -> list[str]:
        return rules_read_for(self.quality)

    def features_of(self, samples: Sequence[Sample]) -> list[Place]:
        codes: Sequence[Codes | None] = [None] * len(samples)
        queries = None
        if self._embedder is not None:
            found = codes_of_samples(samples, self.on, self._embedder)
            codes, queries = list(found), Queries.of(found)
        places = []
        for number, sample in enumerate(samples):
            values = tuple(
                "" if axis.name == MEANING else axis.cell_of(sample) for axis in self._axes
            )
            quality = quality_of(sample, self.quality)
            places.append(Place(values, quality, queries, number, codes[number]))
        return places

    def offer(self, sample: Sample, place: Place) -> None:
        self._elites.add(self._cell_of(place), place.quality, sample.sample_id)

    def verdicts(self) -> Iterator[Verdict]:
        for stays, cell, quality, best in self._elites.each():
            if stays:
                yield ACCEPTED
                continue
            evidence: dict[str, str | float] = {"of": best.name, "cell": BETWEEN.join(cell)}
            if self.quality is not None:
                evidence |= {"quality": round(quality, 4), "of_quality": round(best.quality, 4)}
            yield Verdict(False, "not_best_of_cell", evidence)

    def _cell_of(self, place: Place) -> Cell:
        """A sample unlike all before it begins a cell of meaning, if there are to be more."""
        if self._anchors is None or place.queries is None or place.code is None:
            return place.values
        nearest = self._anchors.nearest(place.queries, place.number)
        is_new = nearest is None or nearest.similarity < 1
        if is_new and len(self._anchors) < self._anchors.max_rows:
            name = f"{MEANING} {len(self._anchors) + 1}"
            self._anchors.add(name, place.code)
        else:
            assert nearest is not None
            name = nearest.name
        named = zip(self._axes, place.values, strict=True)
        return tuple(name if axis.name == MEANING else value for axis, value in named)
