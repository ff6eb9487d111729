"""What one worker of a cluster does: one shard after another, each as a run of its own.

Nothing here knows where the worker is, or who restarts it: a shard that was begun goes on from its
journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from weave_async.dispatch import Dispatcher
from weave_async.errors import RunFolderError, RunLockedError, WeaveError
from weave_async.executors.totals import Counts, counts_of
from weave_async.metrics.ledger import RunMetrics
from weave_async.recipe import Recipe
from weave_async.run import Run
from weave_async.settings import Settings
from weave_async.sharding import Shard

LOCK_PATIENCE_S, LOOK_AGAIN_S = 60.0, 0.5
"""The worker that had the shard before may not have ended yet."""
MOST_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class Job:
    """What all shards have in common. It travels as it is, and so holds no key: settings are those
    of the worker's own environment, and of ``env_file``, with ``flags`` on top.
    """

    recipe_yaml: str
    recipe_folder: Path
    shards_folder: Path
    samples: int
    flags: Mapping[str, Any] = field(default_factory=dict)
    env_file: Path | None = None
    accept_changes: bool = False
    allow_network_fs: bool = False
    explains_all: bool = False

    def recipe(self) -> Recipe:
        """With one process for stages, where it asks for no other number: there are workers enough,
        and each was given one CPU.
        """
        recipe = Recipe.parse(self.recipe_yaml, folder=self.recipe_folder)
        return recipe.with_changes(stages={"workers": recipe.stages.workers or 1})

    def settings(self) -> Settings:
        return Settings.from_environment(None, self.env_file).with_flags(**self.flags)


@dataclass(frozen=True, slots=True)
class Told:
    """How a shard goes, or has ended. Each of the ``messages`` is told once: (level, text).

    One that is not yet ``sending`` reads its rows and its journal.
    """

    counts: Counts
    sending: bool = False
    num_in_flight: int = 0
    cost_usd: float | None = None
    exit_code: int = 0
    error: str | None = None
    messages: tuple[tuple[int, str], ...] = ()


class ShardWork:
    """Runs shards, one at a time."""

    def __init__(self, new_dispatcher: Callable[..., Dispatcher]) -> None:
        self._new_dispatcher = new_dispatcher
        self._run: Run | None = None
        self._is_stopped = self._drops = False
        self._messages = _Messages()
        for name in ("weave_async", "providers"):
            logging.getLogger(name).addHandler(self._messages)

    def see(self, probe: Path) -> None:
        """Raises ``RunFolderError`` where this is not the storage on which the driver wrote it."""
        if not probe.is_file():
            raise RunFolderError(
                f"a worker does not see {probe.parent}, which the driver has just written: choose "
                "a folder with -o that all machines share at the same path"
            )

    async def run(self, job: Job, shard: Shard) -> Told:
        """Bring one shard to its end, or to where it is stopped. What is wrong with it is told;
        a bug of ours is raised.
        """
        try:
            async with AsyncExitStack() as stack:
                run = await self._entered(job, shard, stack)
                if self._is_stopped:
                    run.interrupt(drop_in_flight=self._drops)
                summary = await run.finish()
        except WeaveError as error:
            return replace(self._told(), exit_code=error.exit_code, error=f"shard {shard}: {error}")
        return replace(
            self._told(),
            exit_code=summary.exit_code,
            error=summary.error,
            cost_usd=summary.cost_usd,
        )

    def progress(self) -> Told:
        return self._told()

    def interrupt(self, *, drop_in_flight: bool = False) -> None:
        """May be said again and again: who says it does not know whether it was heard."""
        is_news = not self._is_stopped or (drop_in_flight and not self._drops)
        self._is_stopped, self._drops = True, self._drops or drop_in_flight
        if is_news and self._run is not None:
            self._run.interrupt(drop_in_flight=drop_in_flight)

    async def _entered(self, job: Job, shard: Shard, stack: AsyncExitStack) -> Run:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + LOCK_PATIENCE_S
        while True:
            try:
                self._run = run = self._new_run(job, shard)
                return await stack.enter_async_context(run)
            except RunLockedError:
                if loop.time() > until_s:
                    raise
                await asyncio.sleep(LOOK_AGAIN_S)

    def _new_run(self, job: Job, shard: Shard) -> Run:
        return Run(
            job.recipe(),
            output_dir=job.shards_folder / shard.folder_name,
            samples=job.samples,
            settings=job.settings(),
            accept_changes=job.accept_changes,
            allow_network_fs=job.allow_network_fs,
            explains_all=job.explains_all,
            shard=shard,
            new_dispatcher=self._new_dispatcher,
        )

    def _told(self) -> Told:
        run, messages = self._run, self._messages.taken()
        if run is None:
            return Told(counts_of(RunMetrics()), messages=messages)
        return Told(
            counts_of(run.metrics),
            sending=bool(run.dispatchers),
            num_in_flight=run.num_in_flight,
            messages=messages,
        )


class _Messages(logging.Handler):
    """Keeps what was warned of, until it is told; of too many the last ones."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[tuple[int, str]] = deque(maxlen=MOST_MESSAGES)

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append((record.levelno, record.getMessage()))

    def taken(self) -> tuple[tuple[int, str], ...]:
        taken = tuple(self._kept)
        self._kept.clear()
        return taken
