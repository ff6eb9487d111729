"""How a run has gone of late: speeds over seconds, use of limits over a minute, a trend over rows.

The ledger's own rates are of the whole run, and hide that one has come to stand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from weave_async.dispatch import Dispatcher
from weave_async.metrics.ledger import RunMetrics

SPEED_OVER_S, LIMITS_OVER_S = 10.0, 60.0
LEAST_OF_A_MINUTE_S = 5.0
SHORTEST_BETWEEN_MARKS_S = 1.0
TREND_OVER = 0.2
"""A figure is compared with what it was before the last fifth of the rows: diversity grows with
rows, ever more slowly, and so the trend of one that has come to its end is nought at any size."""
SMALLEST_STEP = 1.01
"""Rows between two figures that are kept: so few are kept of a run of any length."""


class Use(NamedTuple):
    """What has counted against an endpoint's limits."""

    requests: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """The counts at one time."""

    at_s: float
    answers: int
    output_tokens: int
    used: Mapping[str, Use]


class Recent:
    """Takes note of the counts, at most once a second, and tells rates between then and now."""

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque()
        self._now: Mark | None = None

    def note(
        self, metrics: RunMetrics, dispatchers: Mapping[str, Dispatcher], now_s: float
    ) -> None:
        used = {
            name: Use(each.admission.requests_used, each.admission.tokens_used)
            for name, each in dispatchers.items()
        }
        now = self._now = Mark(now_s, metrics.asked_now, metrics.output_tokens, used)
        marks = self._marks
        if not marks or now_s - marks[-1].at_s >= SHORTEST_BETWEEN_MARKS_S:
            marks.append(now)
        while marks[0].at_s < now_s - LIMITS_OVER_S - SHORTEST_BETWEEN_MARKS_S:
            marks.popleft()

    @property
    def answers_per_s(self) -> float:
        then, now, elapsed_s = self._since(SPEED_OVER_S)
        return (now.answers - then.answers) / elapsed_s

    @property
    def output_tokens_per_s(self) -> float:
        then, now, elapsed_s = self._since(SPEED_OVER_S)
        return (now.output_tokens - then.output_tokens) / elapsed_s

    def used_per_minute(self, endpoint: str) -> Use | None:
        """``None`` in the first seconds, of which a minute cannot be told."""
        then, now, elapsed_s = self._since(LIMITS_OVER_S)
        if elapsed_s < LEAST_OF_A_MINUTE_S:
            return None
        before, used = then.used.get(endpoint, Use()), now.used.get(endpoint, Use())
        minutes = elapsed_s / 60
        requests = max(0.0, used.requests - before.requests)  # some may have been given back
        return Use(requests / minutes, max(0.0, used.tokens - before.tokens) / minutes)

    def _since(self, seconds: float) -> tuple[Mark, Mark, float]:
        """The mark of so long ago, or the first one; that of now; and the time between them."""
        assert self._now is not None, "something is noted before anything is told"
        now = self._now
        then = next((m for m in self._marks if m.at_s >= now.at_s - seconds), now)
        return then, now, max(now.at_s - then.at_s, SHORTEST_BETWEEN_MARKS_S / 4)


class Change(NamedTuple):
    """By how much a figure has changed, over so many rows."""

    amount: float
    num_rows: int


class Trend:
    """The figures of a dataset beside what they were a fifth of its rows ago."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Mapping[str, float]]] = deque()
        self._last: tuple[int, Mapping[str, float]] = (0, {})

    def note(self, num_rows: int, figures: Mapping[str, float]) -> None:
        kept = self._kept
        self._last = (num_rows, figures)
        if not kept or num_rows >= SMALLEST_STEP * kept[-1][0] + 1:
            kept.append(self._last)
        while len(kept) > 1 and kept[1][0] <= (1 - TREND_OVER) * num_rows:
            kept.popleft()

    def change(self, name: str) -> Change | None:
        """``None`` where there is nothing yet to compare with."""
        if not self._kept:
            return None
        (before_rows, before), (num_rows, figures) = self._kept[0], self._last
        if before_rows > (1 - TREND_OVER) * num_rows or name not in before or name not in figures:
            return None
        return Change(figures[name] - before[name], num_rows - before_rows)
