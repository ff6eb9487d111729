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
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import yaml

from weave_async.dispatch import Dispatcher
from weave_async.errors import BudgetError, RecipeError
from weave_async.executors.ray_cluster import cluster
from weave_async.executors.ray_fleet import Fleet, Stop
from weave_async.executors.shard_folders import ShardFolders
from weave_async.executors.shard_work import Job
from weave_async.executors.totals import count_all
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
        self._settings = Settings.from_environment().with_flags(**(flags or {}))
        self._folders = ShardFolders(self.folder)
        self._samples = samples
        self._flags = dict(flags or {})
        self._address = address
        self._num_workers = num_workers
        self._allow_unauthenticated = allow_unauthenticated
        self._accept_changes = accept_changes
        self._allow_network_fs = allow_network_fs
        self._explains_all = explains_all
        self._stack = ExitStack()
        self._totals = RunMetrics()
        self._num_counted = 0
        self._shards: list[Shard] = []
        self._fleet: Fleet | None = None
        self._merged: Run | None = None
        self._interrupt_code: int | None = None

    def __repr__(self) -> str:
        return f"<RayRun {self.recipe.name} in {self.folder.path}, {self._fleet!r}>"

    # --- what a Run shows ------------------------------------------------------------------------

    @property
    def metrics(self) -> RunMetrics:
        """The sums over all workers."""
        fleet = self._fleet
        if fleet is not None and fleet.num_told != self._num_counted:
            self._num_counted = fleet.num_told
            count_all(fleet.counts, self._totals, num_samples=self._num_samples)
        return self._totals

    @property
    def num_in_flight(self) -> int:
        return 0 if self._fleet is None else self._fleet.num_in_flight

    @property
    def is_stopping(self) -> bool:
        return self._fleet is not None and self._fleet.is_stopping

    @property
    def cost_usd(self) -> float | None:
        """Of the shards that have ended, by list price; ``None`` where one is not known."""
        if self._fleet is None or not self._fleet.ended:
            return None
        costs = [told.cost_usd for told in self._fleet.ended]
        known = [cost for cost in costs if cost is not None]
        return round(sum(known), 6) if len(known) == len(costs) else None

    # --- its course ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Check recipe, settings and input, and join or start the cluster, which takes seconds."""
        require_divisible(self.recipe)
        self._require_no_budget()
        refuse_own_source(self.recipe, self.folder)
        most_workers = _most_workers(self._plan())
        with ExitStack() as stack:
            num_workers = stack.enter_context(
                cluster(
                    self._address,
                    num_workers=self._num_workers,
                    allow_unauthenticated=self._allow_unauthenticated,
                )
            )
            num_workers = min(num_workers, most_workers)
            self._shards = self._folders.open(
                max(1, min(SHARDS_PER_WORKER * num_workers, self._num_samples))
            )
            probe = stack.enter_context(self._folders.probe())
            self._fleet = Fleet(num_workers, self._shards, self._job(), probe)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._stack.close()

    async def finish(self) -> RunSummary:
        """Have all shards run, then merge them. Raises only what prevents that."""
        assert self._fleet is not None, "it was entered"
        self._totals.start()
        if (wall_s := self.recipe.budget.wall) is not None:
            loop = asyncio.get_running_loop()
            self._stack.callback(loop.call_later(wall_s, self._time_is_over, wall_s).cancel)
        try:
            await self._fleet.run()
        finally:
            self._totals.stop()
            self._stack.close()  # the merge needs no cluster
        if self._fleet.is_stopping:
            return self._summary_of_shards(self._fleet.stopped_by)
        return await self._merge()

    def interrupt(self, *, drop_in_flight: bool = False, exit_code: int = EXIT_INTERRUPTED) -> None:
        """Stop asking; the same run can be continued. What is in flight comes in, or is dropped."""
        self._interrupt_code = exit_code
        if self._merged is not None:
            self._merged.interrupt(drop_in_flight=drop_in_flight, exit_code=exit_code)
        elif self._fleet is not None:
            self._fleet.stop(drop_in_flight=drop_in_flight)

    def _plan(self) -> list[Endpoint]:
        """Count the samples, and find what is wrong with recipe, settings and input."""
        if self.recipe.prompts.source == "-":
            raise RecipeError("workers cannot read this process's standard input: name a file")
        with ExitStack() as stack:
            source = source_of(self.recipe, stack)
            endpoints = endpoints_of(
                self.recipe.generate.mix,
                self._settings,
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

    def _job(self) -> Job:
        return Job(
            recipe_yaml=yaml.safe_dump(self.recipe.with_absolute_paths().resolved()),
            recipe_folder=self.recipe.folder.absolute(),
            shards_folder=self._folders.path,
            samples=self._num_samples,
            flags=self._flags,
            env_file=Path.cwd() / ".env",
            accept_changes=self._accept_changes,
            allow_network_fs=self._allow_network_fs,
            explains_all=self._explains_all,
        )

    def _time_is_over(self, wall_s: float) -> None:
        error = BudgetError(f"the budget's time, {wall_s:g} s, is over: run again to continue")
        if self._fleet is not None:
            self._fleet.stop(Stop(error.exit_code, str(error)))

    # --- the end ---------------------------------------------------------------------------------

    async def _merge(self) -> RunSummary:
        totals = self.metrics
        async with AsyncExitStack() as stack:
            if totals.asked_now == 0 and self._folders.is_merged():
                run = Run(
                    self.recipe,
                    output_dir=self.folder.path,
                    samples=self._samples,
                    settings=self._settings,
                    allow_network_fs=self._allow_network_fs,
                    only_recalls=True,
                )
            else:
                logger.info("all %d shards have ended: merging them", len(self._shards))
                self._folders.make_room_for_merge(self._shards)
                merged = merging(
                    self._folders.paths(self._shards),
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
            cost_usd=self.cost_usd,
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

    def _summary_of_shards(self, stop: Stop | None) -> RunSummary:
        """Of what was stopped: nothing is merged, and so nothing published."""
        totals = self.metrics
        return RunSummary(
            status="interrupted" if stop is None else "stopped",
            exit_code=(self._interrupt_code or EXIT_INTERRUPTED)
            if stop is None
            else stop.exit_code,
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
            cost_usd=self.cost_usd,
            elapsed_s=round(totals.elapsed_s, 3),
            answers_per_s=round(totals.answers_per_s, 2),
            files={},
            error=None if stop is None else stop.reason,
        )


def _most_workers(endpoints: list[Endpoint]) -> int:
    """More than these would be more than an endpoint's ``max_concurrency`` has parts for."""
    most = [e.max_concurrency for e in endpoints if e.max_concurrency is not None]
    return min(most, default=1 << 20)
