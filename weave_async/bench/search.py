"""The highest load that meets an objective: doubled until it is missed, then bisected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from weave_async.bench.slo import Outcome

Try = Callable[[int], Awaitable[Outcome | None]]
"""Runs a step at a level, and says whether it met the objective; ``None`` ends the search."""

CLOSE_ENOUGH = 0.05
"""Between the last level that met it and the first that missed it, in parts of that."""


@dataclass(slots=True)
class Search:
    """What was tried, in order. ``best`` is the highest level that has met the objective with
    nothing missed below it; ``unresolved`` are levels that were too close to call.
    """

    tried: dict[int, Outcome] = field(default_factory=dict)
    best: int | None = None
    missed_at: int | None = None
    reached_the_top: bool = False
    was_ended: bool = False

    @property
    def unresolved(self) -> list[int]:
        return sorted(level for level, outcome in self.tried.items() if outcome == "unresolved")

    def __str__(self) -> str:
        """In words that claim no more than was seen."""
        if self.was_ended:
            return f"ended early: {self._found()}"
        return self._found()

    def _found(self) -> str:
        if self.best is None:
            if self.unresolved and self.missed_at is None:
                return "unresolved: too few requests to tell whether it is met at all"
            return f"missed at {self.missed_at} already" if self.missed_at else "nothing was tried"
        if self.was_ended and self.missed_at is None:
            return f"met at {self.best}"
        if self.reached_the_top:
            return f"met up to {self.best}, the highest that was tried"
        between = [level for level in self.unresolved if level > self.best]
        if between:
            return f"met at {self.best}; too close to call at {', '.join(map(str, between))}"
        return f"met at {self.best}, missed at {self.missed_at}"


async def searched(attempt: Try, *, start: int, top: int) -> Search:
    """``attempt`` levels from ``start`` on, none above ``top``.

    Where to go on is decided as if an unresolved level were missed; it is told as unresolved.
    """
    search = Search()

    async def outcome_at(level: int) -> Outcome | None:
        outcome = await attempt(level)
        if outcome is None:
            search.was_ended = True
            return None
        search.tried[level] = outcome
        if outcome == "met":
            search.best = max(level, search.best or 0)
        elif outcome == "missed":
            search.missed_at = min(level, search.missed_at or level)
        return outcome

    low, high = 0, min(start, top)
    while (outcome := await outcome_at(high)) == "met":
        if high == top:
            search.reached_the_top = True
            return search
        low, high = high, min(2 * high, top)
    while outcome is not None and high - low > max(1, CLOSE_ENOUGH * high):
        middle = (low + high) // 2
        outcome = await outcome_at(middle)
        if outcome == "met":
            low = middle
        else:
            high = middle
    return search
