"""Several backends under the same loads, one after the other in turns, so that none has the
machine's, or the day's, better hour.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from time import monotonic, time
from typing import Any

from weave_async.bench.backend import Backend, ConnectTime
from weave_async.bench.capacity import Capacity, capacity_of
from weave_async.bench.client import complaints
from weave_async.bench.load import Duration, Load, Window
from weave_async.bench.metrics import StepFigures, share_within
from weave_async.bench.search import Search, searched
from weave_async.bench.slo import Objective, Outcome
from weave_async.errors import WeaveError

FORMAT = 1
"""Of the JSON: readers refuse others."""
OnStep = Callable[[str, Load, StepFigures | None], None]
OnWindow = Callable[[str, Window], None]


@dataclass(slots=True)
class BackendResult:
    """What was found of one backend. ``problem`` says why there is nothing, or no more."""

    name: str
    provider: str
    model: str
    limits: str
    steps: list[StepFigures] = field(default_factory=list)
    goodput_per_s: list[float | None] = field(default_factory=list)
    outcomes: list[Outcome | None] = field(default_factory=list)
    connect: ConnectTime | None = None
    capacity: Capacity | None = None
    search: Search | None = None
    usd_per_million: tuple[float, float] | None = None
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "provider": self.provider,
            "model": self.model,
            "limits": self.limits,
            "connect": None if self.connect is None else asdict(self.connect),
            "steps": [
                {**step.as_dict(), "goodput_per_s": good, "objective": outcome}
                for step, good, outcome in zip(
                    self.steps, self.goodput_per_s, self.outcomes, strict=True
                )
            ],
            "capacity": None if self.capacity is None else asdict(self.capacity),
            "search": None
            if self.search is None
            else {**asdict(self.search), "in_words": str(self.search)},
            "usd_per_million_tokens": self.usd_per_million
            and dict(zip(("input", "output"), self.usd_per_million, strict=True)),
            "problem": self.problem,
        }


@dataclass(slots=True)
class BenchmarkResult:
    """All of it, with what is needed to believe it."""

    workload: str
    objective: str | None
    seed: int
    begun_at: float
    machine: str
    backends: list[BackendResult]

    def as_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "workload": self.workload,
            "objective": self.objective,
            "seed": self.seed,
            "begun_at": self.begun_at,
            "machine": self.machine,
            "backends": [each.as_dict() for each in self.backends],
        }


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
        self.begun_s = monotonic()
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

    async def run(self) -> BenchmarkResult:
        """To the end, or until cancelled: ``result`` has what there is in either case."""
        pairs = list(zip(self._backends, self.result.backends, strict=True))
        for backend, result in pairs:
            await self._prepare(backend, result)
        if self._plan.searches:
            for backend, result in pairs:
                await self._search(backend, result)
        else:
            for turn, load in enumerate(self._plan.loads):
                for backend, result in _rotated(pairs, turn):
                    if result.problem is None:
                        await self._step(backend, result, load)
        return self.result

    async def _prepare(self, backend: Backend, result: BackendResult) -> None:
        if backend.price is not None:
            price = backend.price
            result.usd_per_million = (price.input_usd * 1e6, price.output_usd * 1e6)
        try:
            await backend.require_model()
        except WeaveError as error:
            result.problem = str(error)
            return
        result.connect = await backend.connect_time()

    async def _step(self, backend: Backend, result: BackendResult, load: Load) -> Outcome | None:
        most = backend.endpoint.max_concurrency
        if load.kind == "closed" and most is not None and load.level > most:
            self._on_step(backend.name, load, None)
            return None
        figures, window = await backend.measured(load, self._plan.duration, seed=self._plan.seed)
        remarks = [*figures.remarks]
        if said := complaints(figures.client):
            remarks.append("CLIENT-BOUND, not the server's figures: " + "; ".join(said))
        figures = replace(figures, remarks=remarks)
        objective, outcome = self._plan.objective, None
        good = None
        if objective is not None:
            outcome = objective.outcome(window)
            num, _, _, _ = share_within(window, objective.is_met_by)
            good = num / window.duration_s if window.duration_s > 0 else 0.0
        result.steps.append(figures)
        result.outcomes.append(outcome)
        result.goodput_per_s.append(good)
        result.capacity = capacity_of([each for each in result.steps if not is_client_bound(each)])
        self._on_window(backend.name, window)
        self._on_step(backend.name, load, figures)
        if window.gave_up:
            example = next(iter(figures.error_examples.values()), "nothing was answered")
            result.problem = f"given up at {load}: {example}"
        return outcome

    async def _search(self, backend: Backend, result: BackendResult) -> None:
        if result.problem is not None:
            return
        first = self._plan.loads[0]
        top = min(self._plan.top, backend.endpoint.max_concurrency or self._plan.top)

        async def tried(level: int) -> Outcome:
            if result.problem is not None:
                return "missed"
            return await self._step(backend, result, Load(first.kind, level)) or "missed"

        result.search = await searched(tried, start=max(1, int(first.level)), top=top)


def is_client_bound(step: StepFigures) -> bool:
    """Whether its figures are the client's."""
    return bool(complaints(step.client))


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
