"""What runs on the cluster: one limiter, and workers that run shards. Ray places and restarts them.

They are plain classes, which ``ray.remote`` makes actors of.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

from weave_async.errors import RunFolderError
from weave_async.executors.leased import Leases
from weave_async.executors.shard_work import Job, ShardWork, Told
from weave_async.flow.leasing import Ask, Grant, LessorUnreachableError
from weave_async.flow.lessor import Lessor
from weave_async.sharding import Shard


class Limiter:
    """The one lessor of each endpoint; workers tell it what the limits are."""

    def __init__(self, num_workers: int) -> None:
        self._num_workers = num_workers
        self._idle: tuple[int, ...] = ()
        self._lessors: dict[str, Lessor] = {}

    async def lease(self, endpoint: str, ask: Ask) -> Grant:
        lessor = self._lessors.get(endpoint)
        if lessor is None or lessor.limits != ask.limits:
            lessor = self._lessors[endpoint] = Lessor(ask.limits, self._num_workers)
            lessor.note_idle(self._idle)
        return await lessor.lease(ask)

    async def note_idle(self, workers: Collection[int]) -> None:
        self._idle = tuple(workers)
        for lessor in self._lessors.values():
            lessor.note_idle(self._idle)


class Worker:
    """Runs one shard after another. Restarted, it is given the same shard again, which goes on.

    (It is given the limiter's name: a restart is to depend on nothing that Ray keeps elsewhere.)
    """

    def __init__(self, number: int, num_workers: int, limiter: str) -> None:
        self._limiter: Any = ray.get_actor(limiter)
        self._work = ShardWork(Leases(number, num_workers, self._ask).dispatcher)

    async def check(self, probe: Path, version_of_driver: str) -> str | None:
        """What keeps this worker from its work, if anything does."""
        if (here := version("weave-async")) != version_of_driver:
            return f"a worker has weave-async {here}, and the driver {version_of_driver}"
        try:
            self._work.see(probe)
        except RunFolderError as error:
            return str(error)
        return None

    async def run(self, job: Job, shard: Shard) -> Told:
        return await self._work.run(job, shard)

    async def progress(self) -> Told:
        return self._work.progress()

    async def interrupt(self, drop_in_flight: bool) -> None:
        self._work.interrupt(drop_in_flight=drop_in_flight)

    async def pid(self) -> int:
        return os.getpid()

    async def _ask(self, endpoint: str, ask: Ask) -> Grant:
        try:
            grant: Grant = await self._limiter.lease.remote(endpoint, ask)
        except ray.exceptions.RayActorError as error:
            raise LessorUnreachableError from error
        return grant
