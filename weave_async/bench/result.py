"""What a benchmark has found, and its form as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from weave_async.bench.backend import ConnectTime
from weave_async.bench.capacity import Capacity
from weave_async.bench.client import complaints
from weave_async.bench.metrics import StepFigures
from weave_async.bench.search import Search
from weave_async.bench.slo import Outcome
from weave_async.errors import InputError

FORMAT = 1
"""Of the JSON: readers refuse others."""


@dataclass(slots=True)
class BackendResult:
    """What was found of one backend. ``problem`` says why there is nothing, or no more;
    ``goodput_per_s`` and ``outcomes`` belong to the steps, one each.
    """

    name: str
    provider: str = ""
    model: str = ""
    limits: str = ""
    steps: list[StepFigures] = field(default_factory=list)
    goodput_per_s: list[float | None] = field(default_factory=list)
    outcomes: list[Outcome | None] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    connect: ConnectTime | None = None
    capacity: Capacity | None = None
    search: Search | None = None
    usd_per_million: tuple[float, float] | None = None
    problem: str | None = None

    def add(self, step: StepFigures, outcome: Outcome | None, goodput_per_s: float | None) -> None:
        self.steps.append(step)
        self.outcomes.append(outcome)
        self.goodput_per_s.append(goodput_per_s)

    @property
    def answered_nothing(self) -> bool:
        """Under some load that it was to bear; a search goes beyond that on purpose."""
        return self.search is None and any(not step.num_answered for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        steps = zip(self.steps, self.goodput_per_s, self.outcomes, strict=True)
        return {
            "name": self.name,
            "provider": self.provider,
            "model": self.model,
            "limits": self.limits,
            "connect": None if self.connect is None else asdict(self.connect),
            "steps": [
                {
                    **step.as_dict(),
                    "goodput_per_s": goodput_per_s,
                    "objective": outcome,
                    "is_client_bound": is_client_bound(step),
                }
                for step, goodput_per_s, outcome in steps
            ],
            "left_out": self.left_out,
            "capacity": _in_words(self.capacity),
            "search": _in_words(self.search),
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
    interrupted: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "workload": self.workload,
            "objective": self.objective,
            "seed": self.seed,
            "begun_at": self.begun_at,
            "machine": self.machine,
            "interrupted": self.interrupted,
            "backends": [each.as_dict() for each in self.backends],
        }


def is_client_bound(step: StepFigures) -> bool:
    """Whether its figures are the client's."""
    return bool(complaints(step.client, step.latency("ttft_s")))


def read_result(path: Path) -> Mapping[str, Any]:
    """A result as it was written. Raises ``InputError`` where it is none, or of another format."""
    try:
        result: dict[str, Any] = orjson.loads(path.read_bytes())
        found = result["format"]
        _ = result["workload"]
        for backend in result["backends"]:
            for step in backend["steps"]:
                _ = backend["name"], step["load"]["kind"], step["load"]["level"]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no result of `weave-async bench --output`: {type(error).__name__}: {error}"
        ) from error
    if found != FORMAT:
        raise InputError(f"{path} has format {found}; this version reads {FORMAT}: measure anew")
    return result


def _in_words(found: Capacity | Search | None) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found), "in_words": str(found)}
