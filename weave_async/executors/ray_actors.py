"""What runs on the cluster: one limiter, and workers that run shards. Ray places and restarts them.

They are plain classes, which ``ray.remote`` makes actors of.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

from weave_async.errors import RunFolderError
from weave_async.executors.leased import Leases
from weave_async.executors.shard_work import Job, ShardWork, Told
from weave_async.flow.leasing import Ask, Grant, LessorUnreachableError
from weave_async.flow.lessor import Lessors
from weave_async.sharding import Shard


class Limiter(Lessors):
    """The lessors of all endpoints, where all workers can ask them."""


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
        except ray.exceptions.RayError as error:
            raise LessorUnreachableError from error
        return grant
