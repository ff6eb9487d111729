"""The fan-out: a fixed pool of workers pulls samples from one iterator, in order.

::

    plan ──▶ workers ──▶ journal ──▶ back in order ──▶ stages ──▶ deliver
               │  (a group each)        (durable)         ▲
               └── window: samples in memory ─────────────┘

No task per row and no list of rows: the window is the one bound, and memory follows it. Answers
come and are journalled in any order; stages and outputs see them in the order of asking, so that
the dataset does not depend on timing.

A group are the samples that may share a request: one, unless the recipe asks for ``n`` completions
of a prompt. What of it is left without an answer is asked for next, by as many workers as are free.

A sample that waits for an earlier one waits in memory or, when that takes long, in the journal
alone; from there it comes back just as the answers of an earlier run do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil

from weave_async.asking.asker import Asker
from weave_async.asking.consulting import Consultations
from weave_async.controller.controller import Controller
from weave_async.dispatch import Dispatcher
from weave_async.errors import RunFolderError, Unsent, WeaveError
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.records import Sample
from weave_async.stages.batches import BatchesUnderWay
from weave_async.stages.pipeline import Pipeline

BATCH = 128
"""Samples that go through the stages together, at most: the loop belongs to the network again
after a few milliseconds."""
SHARE_BEFORE_SHELVING = 0.75
"""Of the window, filled by samples that wait for an earlier one."""
RECALLED, SHELVED, COLLECTED = 1, 2, 3
"""Where an answer is that is not in memory: in the journal, of an earlier run or of this one; or
of this one, since before the engine began."""

Plan = Callable[[Callable[[int], object]], Iterator[Sample]]
"""Samples in their order; only those whose ordinal is wanted."""
Recall = Callable[[Sample], Sample]
"""A sample as asked, to the same one with the answer that the journal holds."""


class Engine:
    """Takes samples from ``plan`` to ``deliver``. Runs once."""

    def __init__(
        self,
        plan: Plan,
        *,
        places: bytearray,
        asker: Asker,
        dispatchers: Mapping[str, Dispatcher],
        consultations: Consultations | None = None,
        journal: Journal,
        pipeline: Pipeline,
        deliver: Callable[[Sample], None],
        hand_on: Callable[[], Awaitable[None]],
        metrics: RunMetrics,
        max_concurrency: int,
        window: int,
        accept: int | None = None,
        most_per_answer: int = 1,
        group_size: int = 1,
        controller: Controller | None = None,
    ) -> None:
        """``places`` holds a byte per sample: ``RECALLED`` or ``COLLECTED``, or 0 where it has to
        be asked for.

        ``deliver`` takes each sample to its end; ``hand_on`` is awaited after some of them, and may
        take its time: a slow reader slows the asking. ``accept`` samples are wanted, and up to
        ``most_per_answer`` become of one answer. ``group_size`` samples of the plan, from the first
        one on, are a group. A ``controller`` is told what became of samples, and nothing is drawn
        before it has decided how.
        """
        self._places = places
        self._to_ask = plan(lambda ordinal: not places[ordinal])
        self._asker = asker
        self._dispatchers = dispatchers
        self._consultations = consultations
        self._journal = journal
        self._pipeline = pipeline
        self._deliver = deliver
        self._hand_on = hand_on
        self._metrics = metrics
        self._num_workers = max_concurrency
        self._window_size = window
        self._window = asyncio.Semaphore(window)
        self._group_size = group_size
        self._controller = controller
        self._left: deque[Sequence[Sample]] = deque()  # of groups that were answered in part
        self._may_look = asyncio.Semaphore(1)  # one for each of these, and one for the plan
        self._num_asking = 0
        self._is_all_asked = False
        self._accept = accept
        self._most_per_answer = most_per_answer
        self._ordered = Reordering(places, plan, self._recall)
        self._num_out = 0  # asked for, and not delivered or shelved
        self._num_staged = 0  # on their way through the stages
        self._num_replaying = 0  # from the journal, on their way through the stages
        self._held: Sample | None = None  # the next one to ask for, looked at already
        self._cursor = 0
        self._num_ahead = _num_there_at_first(places)  # from ``_cursor`` on
        self._arrived = asyncio.Event()
        self._delivered = asyncio.Event()
        self._gaps_are_final = False
        self._workers: list[asyncio.Task[None]] = []
        self._staging = BatchesUnderWay[Batch](self._process, pipeline.max_batches)
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
        """Return when every started sample is delivered, or has been given up by ``abandon``.

        Raises what makes delivering impossible, once the answers that were on their way are in the
        journal: they are paid for.
        """
        async with asyncio.TaskGroup() as group:
            delivering = group.create_task(self._deliver_or_stop())
            committing = group.create_task(self._commit())
            async with asyncio.TaskGroup() as pool:
                self._workers = [pool.create_task(self._work()) for _ in range(self._num_workers)]
            self._journal.finish()
            await committing
            self._gaps_are_final = True
            self._arrived.set()
        if (error := delivering.result()) is not None:
            raise error

    def stop(self, because: WeaveError | None = None) -> None:
        """Send nothing more; what is in flight still comes in and is delivered.

        Workers that wait, for room, for admission or to try again, are let go: their samples stay
        pending. None of them holds an answer.
        """
        self.stopping = True
        self.stopped_by = self.stopped_by or because
        for dispatcher in self._dispatchers.values():
            dispatcher.stop()
        if self._consultations is not None:
            self._consultations.stop()
        for worker in self._workers:
            if not self._is_sending(worker):
                worker.cancel()

    def abandon(self) -> None:
        """Drop what is in flight too: its samples stay pending, and its answers may be billed."""
        self.stop()
        self._abandoned = True
        for worker in self._workers:
            worker.cancel()
        if self._consultations is not None:
            self._consultations.abandon()
        self._staging.drop()

    def _is_sending(self, worker: asyncio.Task[None]) -> bool:
        dispatchers = self._dispatchers.values()
        return any(dispatcher.admission.is_sending(worker) for dispatcher in dispatchers)

    async def _work(self) -> None:
        while not self.stopping:  # else a full window, behind a gap, would hold us for ever
            try:
                group = await self._next_group()
                if not group:
                    return
                await self._answer(group)
            except Unsent:
                return
            except WeaveError as error:
                self.stop(because=error)
                return

    async def _next_group(self) -> Sequence[Sample]:
        """What was left of a group, or the next one to ask for, once it may be needed; none when
        there are no more.
        """
        if self._group_size > 1:
            return await self._next_of_several()
        if self._left:  # by this very worker, just now
            return self._left.popleft()
        await self._window.acquire()
        return await self._next_samples()

    async def _next_of_several(self) -> Sequence[Sample]:
        """One worker at a time takes from the plan: else many might each hold a part of the room
        for a group, and wait for the rest. The others wait here for what is left of groups.
        """
        while True:
            await self._may_look.acquire()
            if self._left:
                return self._left.popleft()
            if self._is_all_asked:
                return []
            for _ in range(self._group_size):
                await self._window.acquire()
            group = await self._next_samples()
            self._make_room(self._group_size - len(group))
            if group:
                self._may_look.release()
                return group
            self._is_all_asked = True
            self._let_go_at_the_end()

    def _let_go_at_the_end(self) -> None:
        """Once nothing can be left any more, for which workers would wait."""
        if self._is_all_asked and not self._num_asking and not self._left:
            for _ in self._workers:
                self._may_look.release()

    async def _next_samples(self) -> list[Sample]:
        while not self.stopping:
            if self._held is None:
                if self._controller is not None and not self._is_decided(self._controller):
                    await self._delivered.wait()
                    continue
                self._held = next(self._to_ask, None)
                if self._held is None:
                    return []
                if (ordinal := self._held.ordinal) > self._cursor:
                    passed_over = self._places[self._cursor : ordinal]
                    self._num_ahead -= _num_there_at_first(passed_over)
                self._cursor = ordinal + 1
            if self._may_need_more:
                group, self._held = [self._held], None
                if self._group_size > 1:
                    group += islice(self._to_ask, self._num_wanted_beside(group[0].ordinal))
                self._num_out += len(group)
                self._metrics.started += len(group)
                return group
            await self._delivered.wait()
        return []

    def _is_decided(self, controller: Controller) -> bool:
        """Whether it is known how the next sample to ask for is drawn; or there is none."""
        next_group = ceil(self._cursor / self._group_size) * self._group_size
        return self._places.find(0, next_group) < controller.num_decided

    def _num_wanted_beside(self, ordinal: int) -> int:
        """Samples to ask for that stand behind this one in its group."""
        end = ordinal - ordinal % self._group_size + self._group_size
        return self._places[ordinal + 1 : end].count(0)

    async def _answer(self, group: Sequence[Sample]) -> None:
        self._num_asking += 1
        try:
            answered, left = await self._asker.ask(group)
            for sample in answered:
                self._metrics.count_answer(sample)
                self._journal.record(sample)
            for rest in left:
                self._left.append(rest)
                self._may_look.release()
        finally:
            self._num_asking -= 1
            if self._is_all_asked:
                self._let_go_at_the_end()

    def _recall(self, sample: Sample) -> Sample:
        answered = self._journal.recall(sample)
        if answered is None:
            raise self._lost(sample)
        if self._places[sample.ordinal] == RECALLED:
            self._count_earlier_success(answered.endpoint)
        return answered

    def _lost(self, sample: Sample) -> RunFolderError:
        if self._controller is None:
            return RunFolderError(f"the journal has lost its answer to {sample.sample_id}")
        return RunFolderError(
            f"the journal's answer to {sample.sample_id} is to another request than "
            "decisions.jsonl leads to: restore that file from a copy, or pass --accept-changes to "
            "ask for what changed"
        )

    def _count_earlier_success(self, endpoint: str) -> None:
        """An endpoint that has answered before is waited for longer. It may be in no mix now."""
        if (dispatcher := self._dispatchers.get(endpoint)) is not None:
            dispatcher.count_success()

    async def _commit(self) -> None:
        async for samples in self._journal.commits():
            self._ordered.push(samples)
            if self._ordered.num_waiting > SHARE_BEFORE_SHELVING * self._window_size:
                shelved = self._ordered.shelve()
                self._journal.shelve(shelved)
                self._num_out -= len(shelved)
                self._make_room(len(shelved))
            self._arrived.set()

    async def _deliver_or_stop(self) -> Exception | None:
        """Deliver, or return what prevents it, as where the outputs' disk is full."""
        try:
            await self._deliver_in_order()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self.stop()  # nobody has cancelled us: something that we called has let one through
            return RuntimeError(f"delivering was cancelled from inside: {error!r}")
        except Exception as error:
            self.stop(because=error if isinstance(error, WeaveError) else None)
            return error
        finally:
            await self._staging.close()
        return None

    async def _deliver_in_order(self) -> None:
        while True:
            gaps_are_final = self._gaps_are_final
            self._arrived.clear()
            self._begin_batches()
            if self._staging:
                staged = await self._staging.first_or(self._arrived)
                if staged is not None:
                    await self._deliver_batch(*staged)
            elif gaps_are_final:
                await self._deliver_held()
                return
            else:
                await self._arrived.wait()
            if self._has_enough:
                self._staging.drop()
                if not self.stopping:
                    self.stop()

    async def _process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples after the stages; what those could not be asked about stays pending."""
        try:
            return await self._pipeline.process(samples)
        except WeaveError as error:
            self.stop(because=error)
            return []

    def _begin_batches(self) -> None:
        """Send as many batches on their way through the stages as are ready, and have room."""
        while self._staging.has_room and (batch := self._next_batch()).samples:
            self._num_staged += len(batch.samples)
            self._num_replaying += batch.num_from_journal
            self._staging.begin(batch, batch.samples)

    async def _deliver_batch(self, batch: Batch, samples: Sequence[Sample]) -> None:
        selected = await self._pipeline.selection.select(samples)
        await self._end(selected)
        self._metrics.held = self._pipeline.selection.num_held
        if self._controller is not None:
            await self._controller.observe(samples, selected)
        self._num_out -= batch.num_from_memory
        self._num_staged -= len(batch.samples)
        self._num_replaying -= batch.num_from_journal
        self._delivered.set()
        self._delivered.clear()
        self._make_room(batch.num_from_memory)
        await asyncio.sleep(0)  # many batches may be ready: the network has its turn too

    async def _deliver_held(self) -> None:
        """Those that a final selector has decided about, now that there are no more."""
        held = await self._pipeline.selection.held()
        while batch := list(islice(held, BATCH)):
            self._metrics.held -= len(batch)
            await self._end(batch)
            await asyncio.sleep(0)

    async def _end(self, samples: Sequence[Sample]) -> None:
        with self._metrics.stage_times.timed("output", len(samples)):
            for sample in samples:
                if not self._has_enough:
                    is_recalled = self._places[sample.ordinal] == RECALLED
                    self._metrics.recalled += is_recalled and not sample.copy
                    self._deliver(sample)
        await self._hand_on()

    def _next_batch(self) -> Batch:
        at_most = min(BATCH, self._most_to_stage)
        if at_most < 1:
            return Batch()
        # A stopped run leaves gaps; once nothing can fill them, they hold nobody up.
        return self._ordered.pop(
            at_most, over_gaps=self._gaps_are_final, from_journal=not self._abandoned
        )

    @property
    def _most_to_stage(self) -> int:
        """How many more answers may be needed. Where stages ask nobody it does not matter, as what
        is too much costs nothing.
        """
        if self._accept is None:
            return BATCH
        left = self._accept - self._metrics.written
        if self._consultations is None:
            return BATCH if left > 0 else 0
        return ceil(left / self._most_per_answer) - self._num_staged

    def _make_room(self, num_samples: int) -> None:
        for _ in range(num_samples):
            self._window.release()

    @property
    def _may_need_more(self) -> bool:
        """Whether there would be too few even if all before the next one to ask were accepted, and
        had as many copies as there can be.

        What was recalled from behind it does not count: it can be delivered only after that one.
        """
        if self._accept is None:
            return True
        in_journal = self._ordered.num_shelved - self._num_ahead
        under_way = self._num_out + self._num_replaying + in_journal
        return self._metrics.written + under_way * self._most_per_answer < self._accept

    @property
    def has_left_answers_behind(self) -> bool:
        """Whether ``abandon`` came before all that the journal holds was delivered."""
        is_behind = self._ordered.num_shelved > 0 or self._staging.num_dropped > 0
        return self._abandoned and not self._has_enough and is_behind

    @property
    def _has_enough(self) -> bool:
        """Whether as many samples were accepted as wanted: later ones are left in the journal."""
        return self._accept is not None and self._metrics.written >= self._accept


def _num_there_at_first(places: bytearray) -> int:
    """Answers that the journal held before the engine began."""
    return places.count(RECALLED) + places.count(COLLECTED)


@dataclass(slots=True)
class Batch:
    """Samples whose turn it is."""

    samples: list[Sample] = field(default_factory=list)
    num_from_memory: int = 0

    @property
    def num_from_journal(self) -> int:
        return len(self.samples) - self.num_from_memory


class Reordering:
    """Samples in any order in, in the order of their ordinals out.

    Those that wait behind a gap can be shelved: their memory is freed, and when their turn comes
    they are made again, from the source and the journal.
    """

    def __init__(self, places: bytearray, plan: Plan, recall: Recall) -> None:
        self._places = places
        self._replayed = plan(places.__getitem__)
        self._recall = recall
        self._waiting: dict[int, Sample] = {}
        self._next = 0
        self.num_shelved = _num_there_at_first(places)
        self._high_water = self.num_shelved  # when the last gap was closed
        self._was_stuck = False  # at the last ``pop``

    def __repr__(self) -> str:
        return (
            f"<Reordering {len(self._waiting)} in memory and {self.num_shelved} in the journal "
            f"wait for {self._next}>"
        )

    @property
    def num_waiting(self) -> int:
        """Samples in memory."""
        return len(self._waiting)

    def push(self, samples: list[Sample]) -> None:
        for sample in samples:
            self._waiting[sample.ordinal] = sample

    def pop(self, at_most: int, *, over_gaps: bool, from_journal: bool = True) -> Batch:
        """The next samples without a gap; or past gaps, when those will never be filled."""
        batch, num_shelved = Batch(), self.num_shelved
        while len(batch.samples) < at_most and self._next < len(self._places):
            if (sample := self._waiting.pop(self._next, None)) is not None:
                batch.num_from_memory += 1
            elif self._places[self._next] and from_journal:
                sample = self._replay()
            if sample is not None:
                batch.samples.append(sample)
            elif not over_gaps:
                break
            self._next += 1
        if batch.samples and self._was_stuck:
            self._high_water = num_shelved
        self._was_stuck = not batch.samples
        return batch

    def shelve(self) -> list[Sample]:
        """Take the samples in memory out of it, if they would wait there for long; they must be
        durable, and found by ``recall`` from now on.

        While a gap is open, any number is put away, so that one slow answer does not hold up all
        others. Afterwards no more than there are already: whoever is slow then is the reader, and
        the asking has to wait for it.
        """
        if not self._is_behind_a_gap() and self.num_shelved >= self._high_water:
            return []
        shelved = list(self._waiting.values())
        for ordinal in self._waiting:
            self._places[ordinal] = SHELVED
        self.num_shelved += len(shelved)
        self._waiting = {}
        return shelved

    def _is_behind_a_gap(self) -> bool:
        is_over = self._next == len(self._places)
        return not is_over and self._next not in self._waiting and not self._places[self._next]

    def _replay(self) -> Sample:
        sample = next(self._replayed)
        self.num_shelved -= 1
        return self._recall(sample)
