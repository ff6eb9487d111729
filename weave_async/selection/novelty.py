"""Samples that say what another has said, in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ClassVar, NamedTuple

import orjson

from weave_async.features.embeddings import Embedder
from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.selection.codes import Codes
from weave_async.selection.compared import Compared, name_of
from weave_async.selection.earlier import files_of, rows_of
from weave_async.selection.embedded import (
    EmbedderName,
    codes_of_samples,
    codes_of_turns,
    embedder_named,
)
from weave_async.selection.vector_index import Queries, VectorIndex

_READ_AT_ONCE = 128


class Place(NamedTuple):
    """A sample's vector, in the batch that it came with."""

    queries: Queries
    number: int
    code: Codes  # (D,)


@dataclass(slots=True)
class NoveltySelector:
    """Refuses a sample as redundant if the nearest one in the dataset is as similar as
    ``threshold``, by the cosine of their embeddings, or more.

    ``on`` says what is compared: the ``completion`` alone, the ``prompt`` (all turns before it), or
    the whole conversation (``messages``). ``embedder`` is ``minilm``, which knows meaning (extra
    ``embeddings``), or ``ngrams``, which knows spelling; unless named, the best that is installed.
    Similarities of the two cannot be compared: name the embedder where a recipe is to mean the same
    everywhere.
    ``max_rows`` bounds the memory: of more rows, a sample of so many is compared with. Below it, no
    neighbour is missed; above it, one is found with a chance of ``max_rows`` in all rows.
    ``against`` are folders of other runs, or files of rows (.jsonl, .csv, .txt), which are read
    before the first request: what is near to one of theirs is redundant too.
    """

    paths: ClassVar[tuple[str, ...]] = ("against",)

    threshold: float = 0.9
    on: Compared = "completion"
    embedder: EmbedderName | None = None
    max_rows: int = 100_000
    against: str | list[str] = field(default_factory=list)
    _embedder: Embedder = field(init=False, repr=False)
    _index: VectorIndex = field(init=False, repr=False)
    _files: list[Path] = field(init=False, repr=False)
    _last: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(
                f"threshold {self.threshold:g} must be above 0, and 1 at most: a cosine from which "
                "on two texts say the same"
            )
        if self.max_rows < 1:
            raise ValueError(f"max_rows {self.max_rows} must be 1 or more")
        self._files = files_of(self.against)
        self._embedder = embedder_named(self.embedder)
        self._index = VectorIndex(self._embedder.num_dimensions, self.max_rows)

    def prepare(self) -> None:
        """Read what ``against`` names."""
        for file in self._files:
            rows = rows_of(file, self.on)
            while some := list(islice(rows, _READ_AT_ONCE)):
                codes = codes_of_turns([turns for turns, _ in some], self._embedder)
                for (_, place), code in zip(some, codes, strict=True):
                    self._index.add(orjson.dumps(place.evidence).decode(), code)

    def features_of(self, samples: Sequence[Sample]) -> list[Place]:
        codes = codes_of_samples(samples, self.on, self._embedder)
        queries = Queries.of(codes)
        return [Place(queries, number, code) for number, code in enumerate(codes)]

    def verdict(self, sample: Sample, place: Place) -> Verdict:
        name = self._label(sample)
        nearest = self._index.nearest(place.queries, place.number, other_than=name)
        if nearest is None or nearest.similarity < self.threshold:
            return ACCEPTED
        evidence = {
            **orjson.loads(nearest.name),
            "similarity": round(nearest.similarity, 4),
            "embedder": self._embedder.name,
        }
        return Verdict(False, "redundant", evidence)

    def keep(self, sample: Sample, place: Place) -> None:
        name = self._label(sample)
        if name != self._last:  # of the copies of one answer, which come together, the first
            self._index.add(name, place.code)
            self._last = name

    def _label(self, sample: Sample) -> str:
        """As ``earlier.Place.evidence`` names rows of others."""
        return orjson.dumps({"of": name_of(sample, self.on)}).decode()
