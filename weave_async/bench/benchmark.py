"""Several backends under the same loads, one after the other in turns, so that none has the
machine's, or the day's, better hour.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic, time

from weave_async.bench.backend import Backend
from weave_async.bench.capacity import capacity_of
from weave_async.bench.client import complaints, lag_remark, reuse_complaint
from weave_async.bench.load import Duration, Load, Window
from weave_async.bench.metrics import StepFigures, goodput_per_s
from weave_async.bench.result import BackendResult, BenchmarkResult, is_client_bound
from weave_async.bench.search import searched
from weave_async.bench.slo import Objective, Outcome
from weave_async.errors import WeaveError

OnStep = Callable[[str, Load, StepFigures], None]
OnWindow = Callable[[str, Window], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: ``loads`` in order, or a search for the highest load that meets ``objective``,
    from the first load's level up to ``top``.
    """

    loads: Sequence[Load]
    duration: Duration
    objective: Objective | None = None
    searches: bool = False
    top: int = 512
    seed: int = 0

    @property
    def most_in_flight(self) -> int:
        """Of its closed loops."""
        levels = [int(load.level) for load in self.loads if load.kind == "closed"]
        return max([*levels, self.top if self.searches else 0, MOST_IDLE])


MOST_IDLE = 256
"""Connections that are kept of an open loop, where nobody knows how many it needs."""


class Benchmark:
    """Runs a plan on backends. What one of them does wrong is noted, and the others go on."""

    def __init__(
        self,
        backends: Sequence[Backend],
        plan: Plan,
        *,
        on_step: OnStep | None = None,
        on_window: OnWindow | None = None,
    ) -> None:
        self._backends = list(backends)
        self._plan = plan
        self._on_step = on_step or (lambda name, load, figures: None)
        self._on_window = on_window or (lambda name, window: None)
        self._interrupt = asyncio.Event()
        self.begun_s = monotonic()
        self.under_way: Backend | None = None
        self.result = BenchmarkResult(
            workload=backends[0].workload.description if backends else "",
            objective=None if plan.objective is None else str(plan.objective),
            seed=plan.seed,
            begun_at=round(time(), 3),
            machine=machine(),
            backends=[
                BackendResult(each.name, each.endpoint.provider, each.endpoint.model, each.limits)
                for each in self._backends
            ],
        )

    def __repr__(self) -> str:
        return f"<Benchmark of {', '.join(each.name for each in self._backends)}>"

    @property
    def is_interrupted(self) -> bool:
        return self._interrupt.is_set()

    def interrupt(self) -> None:
        """End now, with what was measured so far."""
        self._interrupt.set()

    async def run(self) -> BenchmarkResult:
        pairs = list(zip(self._backends, self.result.backends, strict=False))
        await asyncio.gather(*(self._prepare(backend, result) for backend, result in pairs))
        if self._plan.searches:
            for backend, result in pairs:
                await self._search(backend, result)
        else:
            for turn, load in enumerate(self._plan.loads):
                for backend, result in _rotated(pairs, turn):
                    if result.problem is None and not self._interrupt.is_set():
                        await self._step(backend, result, load)
        self.under_way = None
        self.result.interrupted = self._interrupt.is_set()
        return self.result

    async def _prepare(self, backend: Backend, result: BackendResult) -> None:
        if backend.price is not None:
            price = backend.price
            result.usd_per_million = (price.input_usd * 1e6, price.output_usd * 1e6)
        reasons = [backend.too_much(load) for load in self._plan.loads]
        if all(reasons):
            loads = ", ".join(map(str, self._plan.loads))
            result.problem = f"none of {loads}: its limits do not allow {reasons[0]}"
            return
        result.left_out = [
            f"{load}: its limits do not allow {reason}"
            for load, reason in zip(self._plan.loads, reasons, strict=True)
            if reason
        ]
        asking = asyncio.create_task(backend.require_answer())
        interrupted = asyncio.create_task(self._interrupt.wait())
        await asyncio.wait((asking, interrupted), return_when=asyncio.FIRST_COMPLETED)
        interrupted.cancel()
        if not asking.done():
            asking.cancel()
            result.problem = "interrupted before it had answered anything"
            return
        try:
            asking.result()
        except WeaveError as error:
            result.problem = str(error)
            return
        result.connect = await backend.connect_time()

    async def _step(self, backend: Backend, result: BackendResult, load: Load) -> Outcome | None:
        if backend.too_much(load):
            return None
        self.under_way = backend
        figures, window = await backend.measured(
            load, self._plan.duration, seed=self._plan.seed, interrupt=self._interrupt
        )
        self._on_window(backend.name, window)
        if window.interrupted and not window.measured:
            return None
        figures = replace(figures, remarks=[*figures.remarks, *_of_client(figures)])
        objective = self._plan.objective
        outcome = None if objective is None else objective.outcome(window)
        goodput = None if objective is None else goodput_per_s(window, objective.is_met_by)
        result.add(figures, outcome, goodput)
        result.capacity = capacity_of([each for each in result.steps if not is_client_bound(each)])
        self._on_step(backend.name, load, figures)
        if window.gave_up and not self._plan.searches:
            example = next(iter(figures.error_examples.values()), "nothing was answered")
            result.problem = f"given up at {load}: {example}"
        return outcome

    async def _search(self, backend: Backend, result: BackendResult) -> None:
        if result.problem is not None:
            return
        first = self._plan.loads[0]
        top = self._plan.top
        if first.kind == "closed":
            top = min(top, backend.endpoint.max_concurrency or top)
        elif (rpm := backend.endpoint.requests_per_minute) is not None:
            top = min(top, int(rpm / 60))
        if top < 1:
            result.problem = "no rate to search: its limits do not allow one request per second"
            return

        async def tried(level: int) -> Outcome | None:
            if self._interrupt.is_set():
                return None
            return await self._step(backend, result, Load(first.kind, level))

        result.search = await searched(tried, start=max(1, int(first.level)), top=top)


def _of_client(figures: StepFigures) -> Iterator[str]:
    if said := complaints(figures.client, figures.latency("ttft_s")):
        yield "CLIENT-BOUND, not the server's figures: " + "; ".join(said)
    elif (late := lag_remark(figures.client)) is not None:
        yield late
    if (connections := reuse_complaint(figures.client)) is not None:
        yield connections


def _rotated(
    pairs: Sequence[tuple[Backend, BackendResult]], turn: int
) -> Iterator[tuple[Backend, BackendResult]]:
    first = turn % len(pairs) if pairs else 0
    yield from (*pairs[first:], *pairs[:first])


def machine() -> str:
    """What the figures were taken on."""
    return (
        f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
