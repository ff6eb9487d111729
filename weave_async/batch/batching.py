"""Batch APIs: another way to fill the journal, before the engine begins.

::

    plan ──▶ files of requests ──▶ uploaded ──▶ a batch each ──▶ … a day … ──▶ files of answers
                                                                                    │
    engine ◀── journal (durable, as if they had been asked for one by one) ◀────────┘

What is asked, and with it the name of every answer, is the same as with live requests: the engine
then finds the answers as those of an earlier run. Calls stand in the journal only once they have
come back, together with their outcome: while they are out, the ledger answers for them, since a
batch outlives the process that has sent it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import cast

import orjson

from weave_async.batch.answers import LINES_IN_ONE_GO, Answers
from weave_async.batch.collection import Collection
from weave_async.batch.lane import Lane
from weave_async.batch.ledger import BatchRecord, Ledger
from weave_async.batch.requests import RequestsFile, custom_id_of, custom_ids_in, ordinals_of
from weave_async.blame import failure_of
from weave_async.engine import COLLECTED
from weave_async.errors import BudgetError, ModelNotFoundError, RequestRefusedError, RunFolderError
from weave_async.flow.budget import Cost
from weave_async.interfaces import BatchState
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.plan import Plan
from weave_async.records import Sample
from weave_async.rundir import requests_of

logger = logging.getLogger(__name__)

ROUNDS = 3
"""How often a request goes out in one run, where batches end without its answer."""
FIRST_POLL_S, LONGEST_POLL_S, POLL_GROWTH = 5.0, 60.0, 1.5
SAMPLES_TO_SYNC = 256
"""Answers that may wait for the disk: memory stays flat, however many come at once."""


class Batching:
    """Has the samples of endpoints with a batch API answered, and marks them in ``places``.

    ``lanes`` stand by the name of their endpoint. ``fill`` once; cancel it to leave: what is out
    stays out, and the next run collects it.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        *,
        ledger: Ledger,
        folder: Path,
        plan: Plan,
        journal: Journal,
        metrics: RunMetrics,
        max_requests: int,
        max_bytes: int,
        require_ours: Callable[[], None],
        accept_changes: bool = False,
    ) -> None:
        self._lanes = lanes
        self._ledger = ledger
        self._folder = folder
        self._plan = plan
        self._journal = journal
        self._metrics = metrics
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._require_ours = require_ours
        self._asks = blake2b(orjson.dumps(plan.asks()), digest_size=8).hexdigest()
        self._out: list[BatchRecord] = []
        self._is_out = bytearray(plan.num_samples)
        self._open_files: dict[str, RequestsFile] = {}
        self._told: dict[int, BatchState] = {}
        self._last_number = self._last_number_before = ledger.last_number
        self._budget_error: BudgetError | None = None
        self._accept_changes = accept_changes
        self._take_up()

    def __repr__(self) -> str:
        return f"<Batching at {', '.join(self._lanes)}, {len(self._out)} batches out>"

    async def fill(self, places: bytearray) -> None:
        """Return when every sample of these endpoints has its answer or its failure in the journal.

        Raises what no further batch could mend, with all that did come back in the journal.
        """
        async with AsyncExitStack() as stack:
            for lane in self._lanes.values():
                await stack.enter_async_context(lane.api)
            commits = cast("AsyncGenerator[list[Sample]]", self._journal.commits())
            recorder = _Recorder(self._journal, await stack.enter_async_context(aclosing(commits)))
            try:
                for round_number in range(1, ROUNDS + 1):
                    await self._send_rest(places, recorder)
                    if not self._out:
                        break
                    await self._collect_all(places, recorder, is_last=round_number == ROUNDS)
            except asyncio.CancelledError:
                self._tell_of_what_stays_out()
                raise
        if self._budget_error is not None:
            raise self._budget_error

    def _take_up(self) -> None:
        """What an earlier run has left: batches that are out, and files that never went out."""
        for record in self._ledger.unfinished():
            lane = self._lanes.get(record.endpoint)
            asks_alike = record.asks == self._asks
            if not record.may_exist and (lane is None or not asks_alike):
                self._ledger.note(record, "dropped")
            elif lane is None:
                logger.warning(
                    "batch %s is out at %s, which is asked live now: its %d answers are left "
                    "there, and may be billed",
                    record,
                    record.endpoint,
                    record.num_requests,
                )
            elif not (asks_alike or self._accept_changes):
                raise RunFolderError(
                    f"batch {record} is out at {record.endpoint} with {record.num_requests} "
                    "requests that this recipe does not make: run with the recipe as it was to "
                    "collect it, or pass --accept-changes to leave what does not fit"
                )
            else:
                self._owe(record, lane)

    def _owe(self, record: BatchRecord, lane: Lane) -> None:
        """From now on, what it may cost is set aside, and its samples are in nobody else's file."""
        custom_ids = self._custom_ids_of(record, lane)
        for ordinal in ordinals_of(custom_ids, self._plan.sample_ids()):
            self._is_out[ordinal] = True
        if lane.dispatcher.budget is not None:
            lane.dispatcher.budget.owe(record.worst_cost)
        self._out.append(record)

    # --- out -------------------------------------------------------------------------------------

    async def _send_rest(self, places: bytearray, recorder: _Recorder) -> None:
        """Submit what an earlier run had not come to, and then all that is in no batch yet."""
        for record in self._out:
            await self._lanes[record.endpoint].submit(record)
        if self._budget_error is not None:
            return
        wanted = self._plan.samples(lambda at: not (places[at] or self._is_out[at]))
        for number, sample in enumerate(wanted):
            if number % LINES_IN_ONE_GO == 0:
                await asyncio.sleep(0)
            lane = self._lanes.get(sample.endpoint)
            if lane is None:
                continue
            try:
                await self._pack(sample, lane)
            except RequestRefusedError as error:
                await recorder.put(sample.answered(failure_of(error, attempts=0)), places)
            except BudgetError as error:
                self._budget_error = error
                break
        await recorder.settle(places)
        for lane in self._lanes.values():
            await self._send(lane)

    async def _pack(self, sample: Sample, lane: Lane) -> None:
        """Put the sample into its lane's file; a full one is sent first."""
        line = lane.api.request_line(sample.request, custom_id_of(sample))
        _, cost = lane.dispatcher.worst_case(sample.request)
        _require_room(lane, self._open_files.values(), cost)
        file = self._open_files.get(lane.name)
        if file is not None and not file.has_room_for(line):
            await self._send(lane)
            file = None
        if file is None:
            file = self._open_files[lane.name] = self._new_file(lane)
        file.write(line, cost)
        self._is_out[sample.ordinal] = True

    def _new_file(self, lane: Lane) -> RequestsFile:
        self._last_number += 1
        path = requests_of(self._folder, self._last_number)
        return RequestsFile(
            path,
            max_requests=min(self._max_requests, lane.api.max_requests),
            max_bytes=min(self._max_bytes, lane.api.max_bytes),
        )

    async def _send(self, lane: Lane) -> None:
        """Close the lane's file, if it has one, and have it answered."""
        file = self._open_files.pop(lane.name, None)
        if file is None:
            return
        file.close()
        tokens, usd = file.cost
        record = self._ledger.note_written(
            number=int(file.path.name.partition(".")[0]),
            endpoint=lane.name,
            num_requests=file.num_requests,
            digest=file.digest,
            tokens=tokens,
            usd=usd,
            asks=self._asks,
        )
        if lane.dispatcher.budget is not None:
            lane.dispatcher.budget.owe(record.worst_cost)
        self._out.append(record)
        self._journal.keep()
        await lane.submit(record)

    # --- back ------------------------------------------------------------------------------------

    async def _collect_all(self, places: bytearray, recorder: _Recorder, *, is_last: bool) -> None:
        """Wait for the batches that are out, and take in each as it ends."""
        wait_s = FIRST_POLL_S
        while True:
            for record in list(self._out):
                lane = self._lanes[record.endpoint]
                try:
                    state = await lane.state(record)
                    self._tell(record, state)
                    if not state.has_ended:
                        continue
                    paths = await lane.download(record, state)
                except ModelNotFoundError as error:
                    self._give_up(record, lane, error)
                    continue
                collection = Collection(
                    record, lane, state, self._journal, self._metrics, is_last=is_last
                )
                await self._collect(collection, paths, places, recorder)
                wait_s = FIRST_POLL_S
            if not self._out:
                return
            self._require_ours()
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * POLL_GROWTH, LONGEST_POLL_S)

    async def _collect(
        self,
        collection: Collection,
        paths: Sequence[Path],
        places: bytearray,
        recorder: _Recorder,
    ) -> None:
        """Journal what came of one batch; what did not is asked again, unless this was the last
        round. Raises the error that one of its answers, or its refusal, holds for all requests.
        """
        record, lane = collection.record, collection.lane
        custom_ids = self._custom_ids_of(record, lane)
        named = ordinals_of(custom_ids, self._plan.sample_ids())
        collection.heed_faults(custom_ids)
        with Answers(paths, lane.api.custom_id_in) as answers:
            await answers.find_all(frozenset(custom_ids))
            wanted = self._plan.samples(lambda at: at in named and not places[at])
            for number, sample in enumerate(wanted):
                custom_id = custom_id_of(sample)
                if named[sample.ordinal] == custom_id:
                    ended = collection.end_of(sample, custom_id, answers.line_of(custom_id))
                    if ended is not None:
                        await recorder.put(ended, places)
                if number % LINES_IN_ONE_GO == 0:
                    await asyncio.sleep(0)
            await recorder.settle(places)
            if faults := answers.faults():
                logger.warning("batch %s came back with %s", record, faults)
        self._end(record, lane, "collected", named, collection.spent)
        logger.info("batch %s at %s: %s", record, lane.name, collection)
        if collection.stops_because is not None:
            raise collection.stops_because

    def _give_up(self, record: BatchRecord, lane: Lane, error: ModelNotFoundError) -> None:
        """The provider has lost the batch, or its answers. Raises, unless that has been accepted,
        which is said of batches that were out before: what one was asked may have been billed.
        """
        if not self._accept_changes or record.number > self._last_number_before:
            raise ModelNotFoundError(
                f"{error}. If batch {record} is gone for good, pass --accept-changes to ask its "
                f"{record.num_requests} requests anew",
                status_code=error.status_code,
            )
        logger.warning("batch %s at %s is given up: %s", record, lane.name, error)
        named = ordinals_of(self._custom_ids_of(record, lane), self._plan.sample_ids())
        self._end(record, lane, "dropped", named, record.worst_cost)

    def _end(
        self,
        record: BatchRecord,
        lane: Lane,
        step: str,
        ordinals: Iterable[int],
        spent: Cost,
    ) -> None:
        """Nothing more will come of it: its samples, and what was set aside for it, are free."""
        for ordinal in ordinals:
            self._is_out[ordinal] = False
        if lane.dispatcher.budget is not None:
            lane.dispatcher.budget.settle(record.worst_cost, spent)
        self._ledger.note(record, step)
        self._out.remove(record)

    def _custom_ids_of(self, record: BatchRecord, lane: Lane) -> list[str]:
        return custom_ids_in(requests_of(self._folder, record.number), lane.api.custom_id_in)

    # --- for people ------------------------------------------------------------------------------

    def _tell(self, record: BatchRecord, state: BatchState) -> None:
        """How it stands, whenever that has changed."""
        before, self._told[record.number] = self._told.get(record.number), state
        if before is not None and replace(state, faults=()) == replace(before, faults=()):
            return
        logger.info(
            "batch %s at %s: %s, %d of %d answered, %d failed",
            record,
            record.endpoint,
            state.status,
            state.num_completed,
            state.num_requests or record.num_requests,
            state.num_failed,
        )

    def _tell_of_what_stays_out(self) -> None:
        out = [record for record in self._out if record.may_exist]
        if out:
            logger.warning(
                "%d requests stay out, in %s: run the same command again to collect them",
                sum(record.num_requests for record in out),
                ", ".join(f"batch {record} at {record.endpoint}" for record in out),
            )


class _Recorder:
    """Puts ended samples into the journal, and marks their places once they are durable there."""

    def __init__(self, journal: Journal, commits: AsyncGenerator[list[Sample]]) -> None:
        self._journal = journal
        self._commits = commits
        self._num_unsettled = 0

    async def put(self, sample: Sample, places: bytearray) -> None:
        self._journal.record(sample)
        self._num_unsettled += 1
        if self._num_unsettled >= SAMPLES_TO_SYNC:
            await self.settle(places)

    async def settle(self, places: bytearray) -> None:
        """Wait until all that was put is durable."""
        while self._num_unsettled:
            samples = await anext(self._commits)
            self._journal.shelve(samples)
            for sample in samples:
                places[sample.ordinal] = COLLECTED
            self._num_unsettled -= len(samples)


def _require_room(lane: Lane, open_files: Iterable[RequestsFile], cost: Cost) -> None:
    """Raises ``BudgetError`` where ``cost`` does not fit beside what is in files yet to be sent."""
    budget = lane.dispatcher.budget
    if budget is None:
        return
    costs = [cost, *(file.cost for file in open_files)]
    total = Cost(sum(each.tokens for each in costs), sum(each.usd for each in costs))
    if not budget.has_room_for(total):
        raise budget.refusal(cost)
