"""The fan-out: a fixed pool of workers pulls samples from one iterator, in order.

::

    plan ──▶ workers ──▶ journal ──▶ back in order ──▶ stages ──▶ deliver
               │  (one request each)    (durable)
               └──────── window: samples started and not yet delivered ────────┘

No task per row and no list of rows: the window is the one bound, and memory follows it. Answers
come and are journalled in any order; stages and outputs see them in the order of asking, so that
the dataset does not depend on timing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from itertools import takewhile

from weave_async.dispatch import Dispatcher, Unsent
from weave_async.errors import WeaveError
from weave_async.journal.journal import Journal
from weave_async.metrics import RunMetrics
from weave_async.records import Failure, Message, Response, Sample
from weave_async.stages import Pipeline

BATCH = 256
"""Samples that go through the stages together, at most."""


class Engine:
    """Takes samples from ``plan`` to ``deliver``. Runs once."""

    def __init__(
        self,
        plan: Iterator[Sample],
        *,
        dispatchers: Mapping[str, Dispatcher],
        journal: Journal,
        pipeline: Pipeline,
        deliver: Callable[[Sample], Awaitable[None]],
        metrics: RunMetrics,
        max_concurrency: int,
        window: int,
        accept: int | None = None,
    ) -> None:
        self._plan = plan
        self._dispatchers = dispatchers
        self._journal = journal
        self._pipeline = pipeline
        self._deliver = deliver
        self._metrics = metrics
        self._num_workers = max_concurrency
        self._window = asyncio.Semaphore(window)
        self._accept = accept
        self._ordered = Reordering()
        self._arrived = asyncio.Event()
        self._gaps_are_final = self._all_arrived = False
        self._workers: list[asyncio.Task[None]] = []
        self._abandoned = False
        self.stopping = False
        self.stopped_by: WeaveError | None = None

    def __repr__(self) -> str:
        state = "stopping" if self.stopping else "running"
        return f"<Engine {state}, {self._metrics.started} started, {self._metrics.ended} ended>"

    @property
    def num_in_flight(self) -> int:
        """Requests that are out at this moment."""
        return sum(dispatcher.admission.in_flight for dispatcher in self._dispatchers.values())

    async def run(self) -> None:
        """Return when every started sample is delivered, or has been given up by ``abandon``."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._finish())
            committing = group.create_task(self._commit())
            async with asyncio.TaskGroup() as pool:
                self._workers = [pool.create_task(self._work()) for _ in range(self._num_workers)]
            self._journal.finish()
            await committing
            self._gaps_are_final = True
            self._arrived.set()
            await self._recall_the_rest()
            self._all_arrived = True
            self._arrived.set()

    def stop(self, because: WeaveError | None = None) -> None:
        """Send nothing more; what is in flight still comes in and is delivered.

        Workers that wait, for room, for admission or to try again, are let go: their samples stay
        pending. None of them holds an answer.
        """
        self.stopping = True
        self.stopped_by = self.stopped_by or because
        for dispatcher in self._dispatchers.values():
            dispatcher.stop()
        for worker in self._workers:
            if not self._is_sending(worker):
                worker.cancel()

    def abandon(self) -> None:
        """Drop what is in flight too: its samples stay pending, and its answers may be billed."""
        self.stop()
        self._abandoned = True
        for worker in self._workers:
            worker.cancel()

    def _is_sending(self, worker: asyncio.Task[None]) -> bool:
        dispatchers = self._dispatchers.values()
        return any(dispatcher.admission.is_sending(worker) for dispatcher in dispatchers)

    async def _work(self) -> None:
        while not self.stopping:  # else a full window, behind a gap, would hold us for ever
            await self._window.acquire()
            try:
                if self.stopping or (sample := next(self._plan, None)) is None:
                    return
                await self._answer(sample)
            except Unsent:
                return
            except WeaveError as error:
                self.stop(because=error)
                return

    async def _answer(self, sample: Sample) -> None:
        self._metrics.started += 1
        dispatcher = self._dispatchers[sample.endpoint]
        if self._recall(sample):
            dispatcher.count_success()
            return
        outcome = await dispatcher.dispatch(sample.request)
        sample = _answered(sample, outcome)
        self._metrics.count_answer(sample)
        self._journal.record(sample)

    def _recall(self, sample: Sample) -> bool:
        """Use the answer that an earlier run has bought, if there is one."""
        outcome = self._journal.recall(sample)
        if outcome is None:
            return False
        self._metrics.count_recalled()
        self._arrive([_answered(sample, outcome)])
        return True

    async def _recall_the_rest(self) -> None:
        """A run that stops early still writes all that earlier runs have bought."""
        while self._metrics.recalled < self._journal.num_recalled and not self._has_enough:
            await self._window.acquire()
            sample = None if self._abandoned else next(self._plan, None)
            if sample is None:
                return
            if not self._recall(sample):
                self._window.release()
                await asyncio.sleep(0)  # it may be a long way to the next one: stay interruptible

    async def _commit(self) -> None:
        async for samples in self._journal.commits():
            self._arrive(samples)

    def _arrive(self, samples: list[Sample]) -> None:
        self._ordered.push(samples)
        self._arrived.set()

    async def _finish(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            # A stopped run leaves gaps; once nothing can fill them, they hold nobody up.
            while batch := self._ordered.pop(BATCH, over_gaps=self._gaps_are_final):
                for sample in await self._pipeline.process(batch):
                    self._window.release()
                    if not self._has_enough:
                        await self._deliver(sample)
                if self._has_enough and not self.stopping:
                    self.stop()
            if self._all_arrived:
                return

    @property
    def _has_enough(self) -> bool:
        """Whether as many samples were accepted as wanted: later ones are left in the journal."""
        return self._accept is not None and self._metrics.written >= self._accept


class Reordering:
    """Samples in any order in, in the order of their ordinals out."""

    def __init__(self) -> None:
        self._waiting: dict[int, Sample] = {}
        self._next = 0

    def __repr__(self) -> str:
        return f"<Reordering {len(self._waiting)} wait for {self._next}>"

    def push(self, samples: list[Sample]) -> None:
        for sample in samples:
            self._waiting[sample.ordinal] = sample

    def pop(self, at_most: int, *, over_gaps: bool = False) -> list[Sample]:
        """The next samples without a gap; or past gaps, when those will never be filled."""
        if over_gaps:
            ordinals = sorted(self._waiting)[:at_most]
        else:
            following = range(self._next, self._next + at_most)
            ordinals = list(takewhile(self._waiting.__contains__, following))
        if ordinals:
            self._next = ordinals[-1] + 1
        return [self._waiting.pop(ordinal) for ordinal in ordinals]


def _answered(sample: Sample, outcome: Response | Failure) -> Sample:
    if isinstance(outcome, Failure):
        return replace(sample, messages=sample.request.messages, failure=outcome)
    messages = (*sample.request.messages, Message("assistant", outcome.text.strip()))
    return replace(sample, messages=messages, response=outcome)
