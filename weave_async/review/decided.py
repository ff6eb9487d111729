"""The rows that people have decided, with what they say together, beside how many rows there are.

What holds for those decided is said of all rows by strata, so that a stratum which people were
shown more often than others does not count for more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from weave_async.consensus import Consensus, consensus_of
from weave_async.review.strata import Landscape
from weave_async.review_log import HumanVerdict, ReviewLog
from weave_async.run_rows import ExportRow, RunRows


@dataclass(frozen=True, slots=True)
class DecidedRow:
    """``stratum`` is the one that the row belongs to now, as ``strata`` has it."""

    row: ExportRow
    stratum: str
    consensus: Consensus


@dataclass(frozen=True, slots=True)
class Decided:
    """``num_rows_in`` counts all rows of the run by stratum, and ``verdicts`` are those that count:
    ``num_outdated`` others are on rows that have changed since, or are not in the run any more.
    """

    rows: tuple[DecidedRow, ...]
    num_rows_in: Counter[str]
    verdicts: tuple[HumanVerdict, ...]
    num_outdated: int = 0

    @classmethod
    def read(
        cls, rows: RunRows, log: ReviewLog, on_row: Callable[[int], None] = lambda num_read: None
    ) -> Decided:
        """Reads all rows, twice. ``on_row`` is told how many were read so far."""
        landscape = Landscape()
        for row in _all(rows):
            landscape.see(row)
            on_row(landscape.num_rows)
        landscape.survey()
        num_rows_in = Counter[str]()
        found = list[DecidedRow]()
        verdicts = list[HumanVerdict]()
        for row in _all(rows):
            stratum = landscape.name_of(row)
            num_rows_in[stratum] += 1
            on_row(landscape.num_rows + num_rows_in.total())
            if not (given := log.of(row.sample_id)):
                continue
            current = [verdict for verdict in given if verdict.text_sha256 == row.text_sha256]
            if (consensus := consensus_of(current)) is not None:
                found.append(DecidedRow(row, stratum, consensus))
            verdicts += current
        num_outdated = len(log.standing) - len(verdicts)
        return cls(tuple(found), num_rows_in, tuple(verdicts), num_outdated)


def _all(rows: RunRows) -> Iterator[ExportRow]:
    yield from rows.written()
    yield from rows.rejected()
