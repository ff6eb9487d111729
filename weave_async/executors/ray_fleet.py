"""The workers of one run on a cluster, and the limiter that they share.

Ray places them, spreads them and starts them again. Here they are given shards, and listened to.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from weave_async.errors import RunFolderError, WeaveError
from weave_async.executors.ray_actors import Limiter, Worker
from weave_async.executors.shard_work import Job, Told
from weave_async.executors.totals import Counts, counts_of
from weave_async.metrics.ledger import RunMetrics
from weave_async.run import EXIT_ROWS_MISSING
from weave_async.sharding import Shard

logger = logging.getLogger(__name__)

MOST_RESTARTS = 100
"""Of one worker: machines that are lent for a while come and go, but not without end."""
LOOK_EVERY_S = 0.5
LONGEST_LOOK_S = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stop:
    """Why all workers were stopped, when nobody has asked for it."""

    exit_code: int
    reason: str


class Fleet:
    """Runs all ``shards`` of a job on ``num_workers`` workers; ``probe`` is what each must see."""

    def __init__(self, num_workers: int, shards: Sequence[Shard], job: Job, probe: Path) -> None:
        self.num_workers = num_workers
        self.stopped_by: Stop | None = None
        self.is_stopping = False
        self.ended: list[Told] = []
        self.num_told = 0
        """How often something was told: the counts may have changed since."""
        self._job = job
        self._probe = probe
        self._to_do = deque(shards)
        self._nothing_to_do = asyncio.Event()
        self._running: dict[int, Told] = {}
        self._workers: dict[int, Any] = {}
        self._limiter_name = f"weave-async limiter {uuid.uuid4().hex}"
        self._drops = False
        self._said: set[str] = set()

    def __repr__(self) -> str:
        return f"<Fleet of {self.num_workers}, {len(self._to_do)} shards to do>"

    @property
    def counts(self) -> list[Counts]:
        """Of all shards that were begun."""
        return [told.counts for told in (*self.ended, *self._running.values())]

    @property
    def num_in_flight(self) -> int:
        return sum(told.num_in_flight for told in self._running.values())

    async def run(self) -> None:
        """Until all shards have ended, or were stopped. Raises what keeps workers from working."""
        limiter = self._new_limiter()
        looking = asyncio.create_task(self._look(limiter), name="looking at workers")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.num_workers):
                    group.create_task(self._serve(number))
        except* WeaveError as errors:
            raise errors.exceptions[0] from None
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        if self._to_do:
            raise RunFolderError(
                f"{len(self._to_do)} shards are left, and no worker: they have ended too often. "
                "What was answered is kept; see the cluster's logs, then run the command again"
            )

    def stop(self, because: Stop | None = None, *, drop_in_flight: bool = False) -> None:
        """Have the workers stop asking. What is in flight comes in, or is dropped."""
        self.stopped_by = self.stopped_by or because
        self.is_stopping, self._drops = True, self._drops or drop_in_flight
        self._to_do.clear()
        self._nothing_to_do.set()
        self._tell_workers_to_stop()

    def _tell_workers_to_stop(self) -> None:
        """Once is not enough: one that is started again has not heard of it."""
        for worker in self._workers.values():
            worker.interrupt.options(max_task_retries=0).remote(self._drops)

    def _new_limiter(self) -> Any:
        """Beside the driver, if there is room: it is asked often, and the driver has to live."""
        here = ray.get_runtime_context().get_node_id()
        return (
            ray.remote(Limiter)
            .options(
                name=self._limiter_name,
                num_cpus=0,
                max_restarts=-1,
                max_concurrency=10_000,
                scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=True),
            )
            .remote(self.num_workers)
        )

    def _new_worker(self, number: int) -> Any:
        return (
            ray.remote(Worker)
            .options(
                num_cpus=1,
                scheduling_strategy="SPREAD",
                max_restarts=MOST_RESTARTS,
                max_task_retries=MOST_RESTARTS,
            )
            .remote(number, self.num_workers, self._limiter_name)
        )

    async def _serve(self, number: int) -> None:
        """One worker's time, from its placing until no shard is left."""
        worker = self._new_worker(number)
        shard: Shard | None = None
        try:
            if not await self._is_placed(worker):
                return
            self._workers[number] = worker
            while self._to_do:
                shard = self._next_shard()
                self._running[number] = Told(counts_of(RunMetrics()))
                self._end(number, await _of(worker.run.remote(self._job, shard)))
                shard = None
        except ray.exceptions.RayActorError:
            logger.warning("worker %d has ended too often, and is not started again", number)
            if shard is not None and not self.is_stopping:
                self._to_do.append(shard)
        finally:
            self._workers.pop(number, None)
            self._running.pop(number, None)
            ray.kill(worker)

    async def _is_placed(self, worker: Any) -> bool:
        """Wait until the worker runs, which may be never where the cluster has too few CPUs; or
        until there is nothing to do any more.
        """
        checking = asyncio.ensure_future(
            _of(worker.check.remote(self._probe, version("weave-async")))
        )
        not_needed = asyncio.create_task(self._nothing_to_do.wait())
        try:
            await asyncio.wait({checking, not_needed}, return_when=asyncio.FIRST_COMPLETED)
            if not checking.done():
                return False
        finally:
            checking.cancel()
            not_needed.cancel()
        if (wrong := checking.result()) is not None:
            raise RunFolderError(wrong)
        return True

    def _next_shard(self) -> Shard:
        shard = self._to_do.popleft()
        if not self._to_do:
            self._nothing_to_do.set()
        return shard

    def _end(self, number: int, told: Told) -> None:
        """A shard has ended, or was stopped, or is wrong: in which case the others are, too."""
        del self._running[number]
        self.ended.append(told)
        self._say(told)
        is_wrong = told.exit_code not in (0, EXIT_ROWS_MISSING) and not self.is_stopping
        if told.error is not None or is_wrong:
            self.stop(Stop(told.exit_code, told.error or "a shard has stopped"))

    async def _look(self, limiter: Any) -> None:
        """Listen to the workers, and tell the limiter which of them have nothing to send."""
        while True:
            sending = {number for number, told in self._running.items() if told.sending}
            await _answered(limiter.note_idle.remote(set(range(self.num_workers)) - sending))
            for number in list(self._running):
                if (worker := self._workers.get(number)) is not None:
                    asked = worker.progress.options(max_task_retries=0).remote()
                    told = await _answered(asked)
                    if told is not None and number in self._running:
                        self._running[number] = told
                        self._say(told)
            if self.is_stopping:
                self._tell_workers_to_stop()
            await asyncio.sleep(LOOK_EVERY_S)

    def _say(self, told: Told) -> None:
        """Pass on what was warned of, once for all workers."""
        self.num_told += 1
        for level, text in told.messages:
            if text not in self._said:
                self._said.add(text)
                logger.log(level, "%s", text)


async def _of(awaited: Awaitable[T]) -> T:
    """What Ray hands out is awaitable, and no coroutine."""
    return await awaited


async def _answered(awaited: Awaitable[T]) -> T | None:
    """``None`` where an actor is away, or takes its time: it is asked again soon."""
    try:
        async with asyncio.timeout(LONGEST_LOOK_S):
            return await awaited
    except (TimeoutError, ray.exceptions.RayActorError):
        return None
