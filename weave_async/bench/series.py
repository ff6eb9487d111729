"""What the plots of a benchmark are drawn of: lines through the steps of a result.

A result is a mapping here, as ``BenchmarkResult.as_dict()`` has it: a page can be made of one that
was read from a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from weave_async.bench.load import Kind, Load
from weave_async.visible import printable

Result = Mapping[str, Any]
Step = Mapping[str, Any]
Family = Literal["closed", "open"]
"""Loads of one family can share an axis: requests in flight, or requests per second."""

TAILS = ("p99", "p95", "p90")
_KIND_IN_WORDS: Mapping[Kind, str] = {
    "closed": "closed loop",
    "constant": "constant rate",
    "poisson": "Poisson",
    "ramp": "ramp",
}
MOST_NAME_CHARS = 40


class Bar(NamedTuple):
    """A point with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Series:
    """The steps of one backend under one kind of load, from the lowest level to the highest.

    ``number`` is its place among all, from 0: what its style is chosen by.
    """

    name: str
    number: int
    kind: Kind
    steps: Sequence[Step]
    capacity: Mapping[str, Any] | None

    @property
    def family(self) -> Family:
        return "closed" if self.kind == "closed" else "open"

    @property
    def knee(self) -> tuple[float, float] | None:
        """Requests in flight and per second from where on more load brings no more."""
        found = self.capacity
        if self.kind != "closed" or found is None or not found["is_reached"] or not found["knee"]:
            return None
        return found["knee"], found["requests_per_s"]


def series_of(result: Result) -> list[Series]:
    """Those that have any step. Where a backend was under several kinds of load, each is one."""
    told: list[Series] = []
    for backend in result["backends"]:
        kinds = list(dict.fromkeys(step["load"]["kind"] for step in backend["steps"]))
        for kind in kinds:
            steps = [step for step in backend["steps"] if step["load"]["kind"] == kind]
            steps.sort(key=lambda step: float(step["load"]["level"]))
            name = short(backend["name"])
            if len(kinds) > 1:
                name = f"{name} ({_KIND_IN_WORDS[kind]})"
            told.append(Series(name, len(told), kind, steps, backend["capacity"]))
    return told


def tail_of(series: Sequence[Series]) -> str | None:
    """The highest percentile that at least half of the steps have had enough requests for; else
    the lowest, if any has had.
    """
    steps = [step for each in series for step in each.steps]
    told = ""
    for name in TAILS:
        of_name = (step["latencies"].get("e2e_s", {}).get(name) for step in steps)
        num = sum(bar_of(figure) is not None for figure in of_name)
        if 2 * num >= len(steps):
            return name
        told = name if num else told
    return told or None


def bar_of(figure: Mapping[str, Any] | None) -> Bar | None:
    """``None`` where there were too few requests to tell it, or it is without end."""
    if figure is None or not isinstance(figure["value"], int | float):
        return None
    value = float(figure["value"])
    low, high = figure["low"], figure["high"]
    return Bar(
        value,
        min(value, low) if isinstance(low, int | float) else value,
        max(value, high) if isinstance(high, int | float) else value,
    )


def load_of(step: Step) -> Load:
    return Load(step["load"]["kind"], step["load"]["level"])


def failing(result: Result) -> Iterator[tuple[str, Step]]:
    """The steps with failures, each with its backend's name."""
    for backend in result["backends"]:
        for step in backend["steps"]:
            if step["failed"]:
                yield backend["name"], step


def short(name: str, most: int = MOST_NAME_CHARS) -> str:
    """For a legend: its end, too, since models of a family differ there."""
    name = " ".join(printable(name).split())
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2) :]}"
