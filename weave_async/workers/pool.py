"""The workers that a run's CPU stages run in: batches in, what became of each sample out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from weave_async.metrics.stage_times import StageTime
from weave_async.records import Rejection, Sample
from weave_async.wire import SampleWriter
from weave_async.workers.ledger import StageLedger
from weave_async.workers.process import Setup
from weave_async.workers.slot import Batch, Slot, Unit

FIRST_CALL_DEADLINE_S = 60.0
START_DEADLINE_S = 60.0
DEFAULT_MEMORY_BYTES = 2 << 30
UNIT_BYTES = 256 << 10
"""Of rows in one frame, about: the loop writes and reads one in a millisecond or two."""
BACKLOG_UNITS = 2
"""So many waiting are more than a moment's: a spare worker is worth its start."""
UNSENDABLE = "unsendable"


class WorkerPool:
    """``num_workers`` spawned processes, which each build the same stages and take turns.

    ``build`` is ``package.module:function``; called with ``spec``, which is JSON, it returns the
    ``SampleStage``s. Workers start when the pool is entered, and nobody waits for them until
    something is to be processed; with ``starts_late`` each starts when there is something for it.
    The last ``num_spare`` of them start only when those before cannot keep up.
    ``deadline_s`` is the wall time of one sample in one stage, but
    for a stage's first call in a worker, which may load something. ``memory_bytes`` is what a
    worker may take beyond what it held before it was given rows.
    """

    def __init__(
        self,
        build: str,
        spec: Mapping[str, Any],
        *,
        num_workers: int,
        deadline_s: float,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        first_call_deadline_s: float = FIRST_CALL_DEADLINE_S,
        start_deadline_s: float = START_DEADLINE_S,
        starts_late: bool = False,
        num_spare: int = 0,
    ) -> None:
        self._starts_late = starts_late
        self._ledger = StageLedger(deadline_s, first_call_deadline_s)
        setup = Setup(
            build,
            spec,
            memory_bytes,
            deadline_s,
            start_deadline_s,
            self._ledger.first_call_s,
        )
        self._slots = [Slot(setup, self._ledger) for _ in range(num_workers)]
        self._spare = self._slots[num_workers - num_spare :]
        self._is_behind = asyncio.Event()
        self._units: asyncio.Queue[Unit] = asyncio.Queue()
        self._serving: list[asyncio.Task[None]] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._failure: Exception | None = None

    @property
    def num_workers(self) -> int:
        return len(self._slots)

    def __repr__(self) -> str:
        return f"<WorkerPool of {len(self._slots)}, {self._units.qsize()} units waiting>"

    async def __aenter__(self) -> Self:
        self._serving = [
            asyncio.create_task(self._serve(slot), name="stage worker") for slot in self._slots
        ]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill the workers, whatever they are at, and see them gone."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        # Where a task was clearing up already, it was cancelled at that.
        await asyncio.gather(*(slot.clear() for slot in self._slots))

    async def process(self, stages: range, samples: Sequence[Sample]) -> list[list[Sample]]:
        """What the stages of those numbers make of each sample, in order: itself, and copies of it.

        What has been rejected, or has no answer, passes. Units of concurrent calls are served first
        come, first served. Raises ``RecipeError`` if the stages cannot be built, or if one of them
        ends its worker on sample after sample. May be cancelled: what a worker is at is then
        finished and thrown away.
        """
        if self._failure is not None:
            raise self._failure
        if not samples:
            return []
        done = asyncio.get_running_loop().create_future()
        batch = Batch(samples, stages, [None] * len(samples), len(samples), done)
        self._waiting.add(done)
        try:
            for unit in _units_of(batch):
                self._units.put_nowait(unit)
                if self._units.qsize() >= BACKLOG_UNITS:
                    self._is_behind.set()
                await asyncio.sleep(0)  # the next one takes another millisecond
            await done
        finally:
            self._waiting.discard(done)
            if not done.cancel() and not done.cancelled():
                done.exception()  # it may have come while we were being cancelled
        return [outputs for outputs in batch.outcomes if outputs is not None]

    def take_times(self) -> Mapping[str, StageTime]:
        """What the stages have taken in the workers since this was last asked, by ``kind:name``.

        ``cpu_s`` is measured for all stages of a frame, and shared out by wall time.
        """
        return self._ledger.take_times()

    async def _serve(self, slot: Slot) -> None:
        try:
            if slot in self._spare:
                await self._is_behind.wait()
            elif not self._starts_late:
                await slot.fill()
            while True:
                unit = await self._units.get()
                await slot.run(unit)
        except Exception as error:  # whoever waits for a batch gets it
            self._failure = self._failure or error
            for done in self._waiting:
                if not done.done():
                    done.set_exception(self._failure)
        finally:
            await slot.clear()


def _units_of(batch: Batch) -> Iterator[Unit]:
    """The rows that need a worker, cut into frames. The others are settled on the way."""
    unit, writer, num_bytes = Unit(batch), SampleWriter(), 0
    for place, sample in enumerate(batch.samples):
        if sample.rejection is not None or sample.failure is not None:
            batch.settle(place, [sample])
            continue
        try:
            line = writer.line(sample)
        except (TypeError, ValueError, RecursionError) as error:
            evidence = {"error": f"{type(error).__name__}: {error}"[:500]}
            rejection = Rejection("validation", "workers", UNSENDABLE, evidence)
            batch.settle(place, [replace(sample, rejection=rejection)])
            continue
        unit.rows.append(place)
        unit.lines.append(line)
        num_bytes += len(line)
        if num_bytes > UNIT_BYTES:
            unit.schemas = writer.schemas
            yield unit
            unit, writer, num_bytes = Unit(batch), SampleWriter(), 0
    if unit.rows:
        unit.schemas = writer.schemas
        yield unit
