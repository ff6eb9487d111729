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
MUCH_MORE = 1.5
"""A plateau is where so many times the load brings less than ``STILL_RISES`` times the answers."""


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
    points = sorted(
        (step.load.level, step.requests_per_s.value)
        for step in steps
        if step.load.kind == "closed" and step.requests_per_s.value
    )
    if len(points) < 2:
        return None
    best = max(rate for _, rate in points)
    last_level, last_rate = points[-1]
    before = [rate for level, rate in points if MUCH_MORE * level <= last_level]
    if not before or last_rate >= STILL_RISES * before[-1]:
        return Capacity(best, None, False)
    plateau = [rate for _, rate in points if rate >= SATURATED * best]
    capacity = sum(plateau) / len(plateau)
    lowest_level, lowest_rate = points[0]
    alone_s = lowest_level / lowest_rate  # where it waits for few others (Little, 1961)
    return Capacity(capacity, capacity * alone_s, True)
