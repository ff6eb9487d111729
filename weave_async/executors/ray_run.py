"""A run on a Ray cluster: shards on workers, one rate limit for all, and a merge at the end.

::

    recipe ─▶ shards ─▶ workers (each the same engine) ─▶ RUN/shards/* ─▶ merge ─▶ RUN
                            └── leases of rates ◀── the limiter

Where workers are, what moves between machines and what is started again is Ray's business. Ours is
that nothing is lost or bought twice when it does: a shard's journal tells what has been answered.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections import deque
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar

import ray
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from weave_async.dispatch import Dispatcher
from weave_async.errors import BudgetError, RecipeError, RunFolderError, WeaveError
from weave_async.executors.ray_actors import Limiter, Worker
from weave_async.executors.ray_cluster import cluster
from weave_async.executors.shard_folders import ShardFolders
from weave_async.executors.shard_work import Job, Told
from weave_async.executors.totals import Counts, count_all, counts_of
from weave_async.flow.budget import Budget
from weave_async.merging import merging
from weave_async.metrics.ledger import RunMetrics
from weave_async.parts.endpoints import endpoints_of
from weave_async.parts.reading import examples_source_of, refuse_own_source, source_of
from weave_async.parts.staging import require_divisible
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint
from weave_async.run import EXIT_INTERRUPTED, EXIT_ROWS_MISSING, Run
from weave_async.rundir import RunFolder
from weave_async.settings import Settings
from weave_async.sharding import Shard
from weave_async.summary import RunSummary

logger = logging.getLogger(__name__)

SHARDS_PER_WORKER = 8
"""So that no worker is left alone with a large rest, and a restart reads a small journal."""
MOST_RESTARTS = 100
"""Of one worker: machines that are lent for a while come and go, but not without end."""
LOOK_EVERY_S = 0.5
LONGEST_LOOK_S = 2.0

T = TypeVar("T")


class RayRun:
    """Made like a ``Run``, and driven like one; ``finish`` gives the summary of the merged run.

    ``flags`` are those of ``Settings.with_flags``. Keys come from each worker's own environment.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        output_dir: str | Path | None = None,
        samples: int | None = None,
        flags: Mapping[str, Any] | None = None,
        address: str | None = None,
        num_workers: int | None = None,
        allow_unauthenticated: bool = False,
        accept_changes: bool = False,
        allow_network_fs: bool = False,
        explains_all: bool = False,
    ) -> None:
        self.recipe = recipe
        self.folder = RunFolder(
            Path(output_dir or Path("out") / recipe.name), allow_network_fs=allow_network_fs
        )
        self.dispatchers: Mapping[str, Dispatcher] = {}
        """None are here: they are on the workers."""
        self.budget: Budget | None = None
        self._shards = ShardFolders(self.folder)
        self._samples = samples
        self._flags = dict(flags or {})
        self._address = address
        self._num_workers = num_workers
        self._allow_unauthenticated = allow_unauthenticated
        self._accept_changes = accept_changes
        self._allow_network_fs = allow_network_fs
        self._explains_all = explains_all
        self._limiter_name = f"weave-async limiter {uuid.uuid4().hex}"
        self._stack = ExitStack()
        self._totals = RunMetrics()
        self._ended: list[Counts] = []
        self._running: dict[int, Told] = {}
        self._said: set[str] = set()
        self._nothing_to_do = asyncio.Event()
        self._to_do: deque[Shard] = deque()
        self._all: list[Shard] = []
        self._workers: dict[int, Any] = {}
        self._merged: Run | None = None
        self._interrupt_code: int | None = None
        self._is_stopping = self._drops = False
        self._error: tuple[int, str] | None = None

    def __repr__(self) -> str:
        return f"<RayRun {self.recipe.name} in {self.folder.path}, {len(self._to_do)} shards to do>"

    # --- what a Run shows ------------------------------------------------------------------------

    @property
    def metrics(self) -> RunMetrics:
        """The sums over all workers; in the end those of the merged run."""
        return self._totals if self._merged is None else self._merged.metrics

    @property
    def num_in_flight(self) -> int:
        return sum(told.num_in_flight for told in self._running.values())

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    @property
    def cost_usd(self) -> float | None:
        return None if self._merged is None else self._merged.cost_usd

    # --- its course ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Check recipe, settings and input, and join or start the cluster, which takes seconds."""
        require_divisible(self.recipe)
        self._require_no_budget()
        refuse_own_source(self.recipe, self.folder)
        with ExitStack() as stack:
            settings = Settings.from_environment().with_flags(**self._flags)
            endpoints = self._plan(settings)
            self._settings = settings
            self._num_workers = stack.enter_context(
                cluster(
                    self._address,
                    num_workers=self._num_workers,
                    allow_unauthenticated=self._allow_unauthenticated,
                )
            )
            self._num_workers = num = min(self._num_workers, *_most_workers(endpoints))
            self._all = self._shards.open(max(1, min(SHARDS_PER_WORKER * num, self._num_samples)))
            self._to_do = deque(self._all)
            self._probe = stack.enter_context(self._shards.probe())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._stack.close()

    async def finish(self) -> RunSummary:
        """Have all shards run, then merge them. Raises only what prevents that."""
        self._totals.start()
        try:
            await self._run_shards()
        finally:
            self._totals.stop()
            self._stack.close()  # the merge needs no cluster
        if self._interrupt_code is not None or self._error is not None:
            return self._summary_of_shards()
        return await self._merge()

    def interrupt(self, *, drop_in_flight: bool = False, exit_code: int = EXIT_INTERRUPTED) -> None:
        """Have the workers stop asking. What is in flight comes in, or is dropped."""
        self._interrupt_code = exit_code
        if self._merged is not None:
            self._merged.interrupt(drop_in_flight=drop_in_flight, exit_code=exit_code)
        self._stop_workers(drop_in_flight=drop_in_flight)

    def _stop_workers(self, *, drop_in_flight: bool = False) -> None:
        self._to_do.clear()
        self._nothing_to_do.set()
        self._is_stopping, self._drops = True, self._drops or drop_in_flight
        self._tell_workers_to_stop()

    def _tell_workers_to_stop(self) -> None:
        """Once is not enough: one that is started again has not heard of it."""
        for worker in self._workers.values():
            worker.interrupt.options(max_task_retries=0).remote(self._drops)

    def _plan(self, settings: Settings) -> list[Endpoint]:
        """Count the samples, and find what is wrong with recipe, settings and input."""
        with ExitStack() as stack:
            if self.recipe.prompts.source == "-":
                raise RecipeError("workers cannot read this process's standard input: name a file")
            source = source_of(self.recipe, stack)
            endpoints = endpoints_of(
                self.recipe.generate.mix,
                settings,
                default_model=getattr(source, "model", None),
            )
            plan = Plan(
                self.recipe,
                source,
                endpoints,
                num_samples=self._samples,
                examples=examples_source_of(self.recipe),
            )
            self._num_samples = self._totals.asked = plan.num_samples
        return endpoints

    def _require_no_budget(self) -> None:
        budget = self.recipe.budget
        if budget.usd is not None or budget.tokens is not None:
            raise RecipeError(
                "a budget of money or tokens is kept by one process, and here several spend it: "
                "leave it out, and bound what is asked for with --samples or --budget-wall"
            )

    # --- workers ---------------------------------------------------------------------------------

    async def _run_shards(self) -> None:
        assert self._num_workers is not None
        limiter = self._new_limiter(self._num_workers)
        job = Job(
            recipe_yaml=yaml.safe_dump(self.recipe.with_absolute_paths().resolved()),
            recipe_folder=self.recipe.folder.absolute(),
            shards_folder=self._shards.path,
            samples=self._num_samples,
            flags=self._flags,
            dotenv=Path.cwd() / ".env",
            accept_changes=self._accept_changes,
            allow_network_fs=self._allow_network_fs,
            explains_all=self._explains_all,
        )
        if (wall_s := self.recipe.budget.wall) is not None:
            loop = asyncio.get_running_loop()
            self._stack.callback(loop.call_later(wall_s, self._time_is_over, wall_s).cancel)
        looking = asyncio.create_task(self._look(limiter), name="looking at workers")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._num_workers):
                    group.create_task(self._serve(number, job))
        except* WeaveError as errors:
            raise errors.exceptions[0] from None
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        if self._to_do and self._error is None:
            raise RunFolderError(
                f"{len(self._to_do)} shards are left, and no worker: they have ended too often. "
                "What was answered is kept; see the cluster's logs, then run the command again"
            )

    async def _serve(self, number: int, job: Job) -> None:
        """One worker's time, from its placing until no shard is left."""
        options = {
            "num_cpus": 1,
            "scheduling_strategy": "SPREAD",
            "max_restarts": MOST_RESTARTS,
            "max_task_retries": MOST_RESTARTS,
        }
        worker = (
            ray.remote(Worker)
            .options(**options)
            .remote(number, self._num_workers, self._limiter_name)
        )
        shard: Shard | None = None
        try:
            if not await self._is_placed(worker):
                return
            self._workers[number] = worker
            while self._to_do:
                shard = self._next_shard()
                self._running[number] = Told(counts_of(RunMetrics()))
                self._end(number, await _of(worker.run.remote(job, shard)))
                shard = None
        except ray.exceptions.RayActorError:
            logger.warning("worker %d has ended too often, and is not started again", number)
            if shard is not None:
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
        needed = asyncio.create_task(self._nothing_to_do.wait())
        try:
            await asyncio.wait({checking, needed}, return_when=asyncio.FIRST_COMPLETED)
            if not checking.done():
                return False
        finally:
            checking.cancel()
            needed.cancel()
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
        self._ended.append(told.counts)
        self._say(told)
        is_wrong = told.exit_code not in (0, EXIT_ROWS_MISSING) and self._interrupt_code is None
        if told.error is not None or is_wrong:
            if self._error is None:
                self._error = (told.exit_code, told.error or "a shard has stopped")
            self._stop_workers()

    async def _look(self, limiter: Any) -> None:
        """Sum up what the workers tell, and tell the limiter who has nothing to send."""
        while True:
            sending = {number for number, told in self._running.items() if told.sending}
            idle = set(range(self._num_workers or 0)) - sending
            await _answered(limiter.note_idle.remote(idle))
            for number in list(self._running):
                if number in self._workers:
                    progress = self._workers[number].progress.options(max_task_retries=0)
                    told = await _answered(progress.remote())
                    if told is not None and number in self._running:
                        self._running[number] = told
                        self._say(told)
            parts = [*self._ended, *(told.counts for told in self._running.values())]
            count_all(parts, self._totals, num_samples=self._num_samples)
            if self._is_stopping:
                self._tell_workers_to_stop()
            await asyncio.sleep(LOOK_EVERY_S)

    def _say(self, told: Told) -> None:
        """Pass on what was warned of, once for all workers."""
        for level, text in told.messages:
            if text not in self._said:
                self._said.add(text)
                logger.log(level, "%s", text)

    def _time_is_over(self, wall_s: float) -> None:
        error = BudgetError(f"the budget's time, {wall_s:g} s, is over: run again to continue")
        self._error = (error.exit_code, str(error))
        self._stop_workers()

    def _new_limiter(self, num_workers: int) -> Any:
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
            .remote(num_workers)
        )

    # --- the end ---------------------------------------------------------------------------------

    async def _merge(self) -> RunSummary:
        totals = self._totals
        count_all(self._ended, totals, num_samples=self._num_samples)
        async with AsyncExitStack() as stack:
            if totals.asked_now == 0 and self._shards.is_merged():
                run = Run(
                    self.recipe,
                    output_dir=self.folder.path,
                    samples=self._samples,
                    settings=self._settings,
                    allow_network_fs=self._allow_network_fs,
                    only_recalls=True,
                )
            else:
                self._shards.make_room_for_merge(self._all)
                merged = merging(
                    self._shards.paths(self._all),
                    self.folder.path,
                    recipe=self.recipe,
                    settings=self._settings,
                    allow_network_fs=self._allow_network_fs,
                )
                run = await asyncio.to_thread(stack.enter_context, merged)
            await stack.enter_async_context(run)
            self._merged = run
            summary = await run.finish()
        if totals.failed and summary.error is not None:  # those are the answers that it misses
            summary = self._with_failures(summary)
        return replace(
            summary,
            recalled=totals.recalled,
            asked_now=totals.asked_now,
            retries=dict(totals.retries),
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
            elapsed_s=round(totals.elapsed_s + summary.elapsed_s, 3),
            answers_per_s=round(totals.answers_per_s, 2),
        )

    def _with_failures(self, summary: RunSummary) -> RunSummary:
        """The merge knows of answers alone; what failed is in its shard's ``failed.jsonl``."""
        totals = self._totals
        return replace(
            summary,
            status="incomplete",
            exit_code=EXIT_ROWS_MISSING,
            failed=totals.failed.total(),
            pending=max(0, summary.pending - totals.failed.total()),
            failed_by_error=dict(totals.failed.most_common()),
            failure_examples=dict(totals.failure_examples),
            worth_another_try=totals.num_retryable_failures > 0,
            error=None,
        )

    def _summary_of_shards(self) -> RunSummary:
        """Of what was stopped: nothing is merged, and so nothing published."""
        totals = self._totals
        count_all(self._ended, totals, num_samples=self._num_samples)
        code, error = self._error or (self._interrupt_code or EXIT_INTERRUPTED, None)
        return RunSummary(
            status="interrupted" if error is None else "stopped",
            exit_code=code,
            output_dir=os.fsencode(self.folder.path).decode(errors="replace"),
            asked=totals.asked,
            copies=totals.copies,
            written=totals.written,
            rejected=totals.rejected.total(),
            failed=totals.failed.total(),
            pending=totals.pending,
            recalled=totals.recalled,
            asked_now=totals.asked_now,
            unused=0,
            rejected_by_reason=dict(totals.rejected.most_common()),
            unvaried={},
            failed_by_error=dict(totals.failed.most_common()),
            idle_rules=(),
            failure_examples=dict(totals.failure_examples),
            worth_another_try=totals.num_retryable_failures > 0,
            retries=dict(totals.retries),
            rows_read=0,
            rows_skipped=0,
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
            cost_usd=None,
            elapsed_s=round(totals.elapsed_s, 3),
            answers_per_s=round(totals.answers_per_s, 2),
            files={},
            error=error,
        )


def _most_workers(endpoints: list[Endpoint]) -> list[int]:
    """More than these would be more than an endpoint's ``max_concurrency`` has parts for."""
    return [e.max_concurrency for e in endpoints if e.max_concurrency is not None] or [1 << 30]


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
