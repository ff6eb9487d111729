"""A place for one worker at a time: rows are run there, and a worker that dies is replaced.

The row that a worker dies at is tried once more, alone and in a fresh worker: it may have been the
machine, or what rows before it have left behind. If that worker dies as well, the row is rejected
and the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from weave_async import wire
from weave_async.errors import RecipeError
from weave_async.records import Rejection, Sample
from weave_async.workers.ledger import MOST_IN_A_ROW, StageLedger
from weave_async.workers.process import Death, Setup, WorkerProcess, start_worker

logger = logging.getLogger(__name__)

MOST_UNEXPLAINED = 3


@dataclass(slots=True, eq=False)
class Batch:
    """Samples that somebody waits for. ``done`` is cancelled when nobody does any more."""

    samples: Sequence[Sample]
    stages: range
    outcomes: list[list[Sample] | None]
    num_open: int
    done: asyncio.Future[None]

    def settle(self, place: int, outputs: list[Sample]) -> None:
        self.outcomes[place] = outputs
        self.num_open -= 1
        if not self.num_open and not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True, eq=False)
class Unit:
    """Rows of a batch that go to a worker in one frame. ``rows`` are places in the batch."""

    batch: Batch
    rows: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    schemas: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Suspect:
    index: int
    lost_at: int


class Slot:
    """Runs one unit at a time."""

    def __init__(self, setup: Setup, ledger: StageLedger) -> None:
        self.worker: WorkerProcess | None = None
        self._setup = setup
        self._ledger = ledger
        self._passed_before: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Slot {self.worker}>"

    async def fill(self) -> None:
        """Have a worker that is ready. Raises ``RecipeError`` if there cannot be one."""
        if self.worker is None:
            self.worker = await start_worker(self._setup)
            self._ledger.stages = await self.worker.wait_until_ready()

    async def clear(self) -> None:
        """End the worker. May be called again if it was cancelled."""
        if self.worker is not None:
            await self.worker.kill()
            self.worker = None

    async def run(self, unit: Unit) -> None:
        """See every row of a unit to its end, unless nobody waits for it any more."""
        todo, suspects, num_unexplained = list(range(len(unit.rows))), list[_Suspect](), 0
        while (todo or suspects) and not unit.batch.done.done():
            if todo and len(suspects) < MOST_IN_A_ROW:
                tried, alone = todo, False
            else:
                tried, alone = [suspects[0].index], True
            death = await self._try(unit, tried, alone=alone)
            left = [i for i in tried if unit.batch.outcomes[unit.rows[i]] is None]
            if alone:
                suspect = suspects.pop(0)
            else:
                todo = left
            if death is None:
                continue
            await self.clear()
            guilty = None if death.row is None or death.row >= len(tried) else tried[death.row]
            if guilty is None or guilty not in left:
                num_unexplained += 1
                if num_unexplained == MOST_UNEXPLAINED:
                    raise RecipeError(
                        f"workers end between samples: {death.reason} {death.evidence}"
                    )
                if alone and left:
                    suspects.insert(0, suspect)
            elif alone:
                self._reject(unit, guilty, death, lost_at=suspect.lost_at)
            else:
                todo.remove(guilty)
                lost_at = self._passed_before[death.stage] + death.num_passed
                suspects.append(_Suspect(guilty, lost_at))

    async def _try(self, unit: Unit, tried: list[int], *, alone: bool) -> Death | None:
        if alone and self.worker is not None and self.worker.has_served:
            await self.clear()
        await self.fill()
        self._passed_before = {n: self._ledger.num_passed(n) for n in unit.batch.stages}
        assert self.worker is not None
        samples, places = unit.batch.samples, [unit.rows[i] for i in tried]

        def take(header: Mapping[str, Any], outcomes: Sequence[bytes]) -> None:
            self._ledger.count(header)
            first = header["first"]
            for place, line in zip(places[first : first + len(outcomes)], outcomes, strict=True):
                unit.batch.settle(place, wire.outcomes_in(line, samples[place]))

        lines = [unit.lines[i] for i in tried]
        return await self.worker.run(unit.batch.stages, lines, unit.schemas, take)

    def _reject(self, unit: Unit, index: int, death: Death, *, lost_at: int) -> None:
        place = unit.rows[index]
        self._ledger.count_lost(death.stage, death.reason, lost_at=lost_at)
        kind, name = self._ledger.stages[death.stage]
        sample = unit.batch.samples[place]
        logger.warning("%s '%s' on %s: %s", kind, name, sample.sample_id, death.reason)
        rejection = Rejection(kind, name, death.reason, death.evidence)
        unit.batch.settle(place, [replace(sample, rejection=rejection)])
