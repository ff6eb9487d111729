"""What to show next: rows of all strata in turn, disagreements first, and each in a random order.

Only row numbers and places are held in memory, of a bounded number of rows per stratum; a row is
read when it is shown.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

from weave_async.errors import InputError
from weave_async.review.strata import Landscape, Population, Stratum, stratum_named
from weave_async.review_log import HumanVerdict, ReviewLog
from weave_async.run_rows import ROW_ERRORS, ExportRow, RunRows, not_ours
from weave_async.rundir import open_regular

MAX_PER_STRATUM = 2000
"""More than people will look at; the sample is drawn from all rows."""
_STEMS: Mapping[Population, str] = {"written": "samples", "rejected": "rejected"}


@dataclass(frozen=True, slots=True)
class QueuedRow:
    """A row that may be shown, and where it stands in its file."""

    sample_id: str
    stratum: Stratum
    place: int
    num_bytes: int
    is_shared: bool
    rare_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row as it is read to be shown."""

    queued: QueuedRow
    row: ExportRow
    text_sha256: str


class ReviewQueue:
    """The order in which rows are shown, the same for everybody, at any time: it depends on the
    rows and the seed. ``overlap`` is the share of rows that each reviewer is shown; the others go
    to whoever comes first.
    """

    def __init__(
        self,
        rows: RunRows,
        *,
        populations: Iterable[Population],
        overlap: float,
        seed: int | None = None,
        on_row: Callable[[int], None] = lambda num_read: None,
    ) -> None:
        """Reads all rows, twice. ``on_row`` is told how many were read so far, now and then."""
        self._rows = rows
        self._seed = rows.seed if seed is None else seed
        self._overlap = overlap
        self._populations = tuple(populations)
        self._on_row = on_row
        self.num_rows_in: Counter[str] = Counter()
        """By the name of the stratum: of all rows, not only of those that may be shown."""
        self._sequence = self._interleaved(self._drawn(self._surveyed()))
        self._by_id = {queued.sample_id: queued for queued in self._sequence}
        self._digests: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<ReviewQueue of {len(self._sequence)} of {self.num_rows_in.total()} rows>"

    def __len__(self) -> int:
        return len(self._sequence)

    def find(self, sample_id: str) -> QueuedRow | None:
        return self._by_id.get(sample_id)

    def next_for(self, reviewer: str, log: ReviewLog) -> ShownRow | None:
        """The first row that this person has not decided, nor passed over. ``None``: no more."""
        for queued in self._sequence:
            current = [each for each in log.of(queued.sample_id) if self.is_current(each)]
            if any(each.reviewer == reviewer for each in current):
                continue
            if queued.is_shared or all(each.decision == "skip" for each in current):
                return self.read(queued)
        return None

    def is_current(self, verdict: HumanVerdict) -> bool:
        """Whether the row is still as it was when that was decided."""
        sample_id = verdict.sample_id
        if sample_id not in self._digests:
            queued = self.find(sample_id)
            self._digests[sample_id] = self.read(queued).text_sha256 if queued is not None else ""
        return self._digests[sample_id] == verdict.text_sha256

    def read(self, queued: QueuedRow) -> ShownRow:
        """Raises ``InputError`` where the file is not as it was when the queue was made."""
        path = self._rows.path_of(_STEMS[queued.stratum.population])
        try:
            with open_regular(path) as file:
                file.seek(queued.place)
                line = file.read(queued.num_bytes)
            row = ExportRow.of(line, queued.place)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        except ROW_ERRORS as error:
            raise not_ours(f"{path}, at byte {queued.place},", error) from error
        if row.sample_id != queued.sample_id:
            raise InputError(f"{path} was written anew: start the review again")
        return ShownRow(queued, row, row.text_sha256)

    def _all(self) -> Iterator[ExportRow]:
        for population in self._populations:
            yield from self._rows.written() if population == "written" else self._rows.rejected()

    def _surveyed(self) -> Landscape:
        landscape = Landscape()
        for number, row in enumerate(self._all(), 1):
            landscape.see(row)
            self._on_row(number)
        landscape.survey()
        return landscape

    def _drawn(self, landscape: Landscape) -> Mapping[str, list[QueuedRow]]:
        """Of each stratum a seeded sample, in its order: rows with the lowest digests, so that it
        does not depend on the order of the file.
        """
        lowest: dict[str, list[tuple[int, int, QueuedRow]]] = {}
        strata: dict[str, Stratum] = {}
        for number, row in enumerate(self._all(), 1):
            name = landscape.name_of(row)
            self.num_rows_in[name] += 1
            self._on_row(landscape.num_rows + number)
            heap = lowest.setdefault(name, [])
            draw = self._draw(row.sample_id)
            if len(heap) == MAX_PER_STRATUM and -heap[0][0] <= draw:
                continue
            queued = QueuedRow(
                sample_id=row.sample_id,
                stratum=strata.setdefault(name, stratum_named(name)),
                place=row.place,
                num_bytes=row.num_bytes,
                is_shared=self._draw(f"shared:{row.sample_id}") < self._overlap * 2**64,
                rare_values=tuple(landscape.rare_values(row)) if name == "written: rare" else (),
            )
            push = heapq.heappush if len(heap) < MAX_PER_STRATUM else heapq.heappushpop
            push(heap, (-draw, number, queued))
        return {
            name: [queued for *_, queued in sorted(heap)[::-1]] for name, heap in lowest.items()
        }

    def _draw(self, name: str) -> int:
        digest = blake2b(f"{self._seed}\0review\0{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")

    @staticmethod
    def _interleaved(drawn: Mapping[str, list[QueuedRow]]) -> list[QueuedRow]:
        """The n-th of a stratum is due at n / weight: first one of each, those that weigh most
        first, and then as often as they weigh (stride scheduling, Waldspurger & Weihl 1995).
        """
        due = (
            (number / queued.stratum.weight, -queued.stratum.weight, queued.stratum.name, queued)
            for number, queued in chain.from_iterable(map(enumerate, drawn.values()))
        )
        return [queued for *_, queued in sorted(due, key=lambda each: each[:3])]
