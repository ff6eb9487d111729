"""How much an endpoint can do at most, and from where on more at once brings nothing more.

By the asymptotic bounds of closed systems (Denning and Buzen, 1978): of N requests in flight, each
taking R seconds when alone, at most min(N / R, capacity) are answered per second. The two lines
meet at the knee, N* = capacity × R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weave_async.bench.metrics import StepFigures

SATURATED = 0.9
"""Of the best throughput: steps that reach so much of it tell the capacity."""
STILL_RISES = 1.1
"""By how much the last step must not exceed the one before it, at twice the load, for a plateau."""
LINEAR = 0.85
"""Of N / R: what a step must reach to be below the knee."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """``knee`` is in requests in flight; ``is_reached`` says whether there was a plateau: without
    one, ``requests_per_s`` is only what was seen.
    """

    requests_per_s: float
    knee: float | None
    is_reached: bool

    def __str__(self) -> str:
        if not self.is_reached:
            return (
                f"more than {self.requests_per_s:,.1f} requests/s: it still rose at the last step"
            )
        knee = "" if self.knee is None else f", from {self.knee:.0f} in flight on"
        return f"{self.requests_per_s:,.1f} requests/s{knee}"


def capacity_of(steps: Sequence[StepFigures]) -> Capacity | None:
    """From the steps of a closed loop; ``None`` where fewer than two say something."""
    told = (
        sorted(
            (step.load.level, step.requests_per_s.value, step)
            for step in steps
            if step.load.kind == "closed" and step.requests_per_s.value
        )
        if steps
        else []
    )
    points = [(level, rate) for level, rate, _ in told if rate]
    if len(points) < 2:
        return None
    best = max(rate for _, rate in points)
    plateau = [rate for level, rate in points if rate >= SATURATED * best]
    rise = points[-1][1] / points[-2][1]
    is_reached = rise < STILL_RISES and points[-1][0] >= 1.5 * points[-2][0]
    if not is_reached:
        return Capacity(best, None, False)
    capacity = sum(plateau) / len(plateau)
    alone_s = _alone_s([step for _, _, step in told])
    return Capacity(capacity, None if alone_s is None else capacity * alone_s, True)


def _alone_s(steps: Sequence[StepFigures]) -> float | None:
    """Seconds that a request takes where it waits for no other: at the lowest load."""
    first = steps[0]
    return first.load.level / first.requests_per_s.value if first.requests_per_s.value else None
