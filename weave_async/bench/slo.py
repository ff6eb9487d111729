"""A service level objective: ``ttft_s.p95<0.5, itl_s.p95<0.05, error_rate<0.01``.

``ttft_s.p95<0.5`` holds where at least 95 % of the requests came below half a second, failures
being among those that did not. Whether it holds is told with the interval of that share: where the
interval reaches to both sides, it is unresolved, and more requests are needed to tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from weave_async.bench.attempt import Attempt
from weave_async.bench.load import Window
from weave_async.errors import UsageError
from weave_async.metrics.wilson import Z_975, wilson

Outcome = Literal["met", "missed", "unresolved"]

_TERM = re.compile(
    r"(?P<metric>\w+?)(?:\.p(?P<percent>\d+(?:\.\d+)?))?\s*<\s*(?P<limit>\d*\.?\d+)\s*"
)
_VALUES: dict[str, Callable[[Attempt], float | None]] = {
    "ttft_s": lambda attempt: attempt.ttft_s,
    "tpot_s": lambda attempt: attempt.tpot_s,
    "e2e_s": lambda attempt: attempt.e2e_s,
    "latency_s": lambda attempt: attempt.ended_s - attempt.intended_s,
    "itl_s": lambda attempt: max(attempt.itl_s, default=None),
}
ERROR_RATE = "error_rate"
_EXAMPLE = "as in --slo 'ttft_s.p95<0.5, tpot_s.p95<0.05, error_rate<0.01'"


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: at least ``share`` of the requests below ``limit``."""

    metric: str
    share: float
    limit: float

    def __str__(self) -> str:
        if self.metric == ERROR_RATE:
            return f"error_rate<{self.limit:g}"
        return f"{self.metric}.p{100 * self.share:g}<{self.limit:g}"

    def is_met_by(self, attempt: Attempt) -> bool:
        if not attempt.is_good:
            return False
        if self.metric == ERROR_RATE:
            return True
        if self.metric == "itl_s" and len(attempt.came_s) > 1:
            gaps = attempt.itl_s
            return sum(gap < self.limit for gap in gaps) >= self.share * len(gaps)
        value = _VALUES[self.metric](attempt)
        return value is not None and value < self.limit

    def outcome(self, attempts: Sequence[Attempt]) -> Outcome:
        """Whether it holds of such requests, as far as these tell."""
        num = sum(map(self.is_met_by, attempts))
        low, high = wilson(num, len(attempts))
        if low >= self.share:
            return "met"
        return "missed" if high < self.share else "unresolved"


@dataclass(frozen=True, slots=True)
class Objective:
    """All terms have to hold."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.terms))

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Raises ``UsageError`` that says what is wrong with which term."""
        terms = tuple(_term(term.strip()) for term in text.split(",") if term.strip())
        if not terms:
            raise UsageError(f"--slo holds no condition, {_EXAMPLE}")
        return cls(terms)

    @property
    def fewest_requests(self) -> int:
        """With which all terms can be told to be met, a few of them missing."""
        return max(2 * ceil(Z_975**2 * term.share / (1 - term.share)) for term in self.terms)

    def outcome(self, window: Window) -> Outcome:
        outcomes = {term.outcome(window.measured) for term in self.terms}
        for worst in ("missed", "unresolved"):
            if worst in outcomes:
                return worst
        return "met"

    def is_met_by(self, attempt: Attempt) -> bool:
        """For goodput: a request within all limits."""
        return all(term.is_met_by(attempt) for term in self.terms)


def _term(text: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None:
        raise UsageError(f"--slo: '{text}' is no condition, {_EXAMPLE}")
    metric, limit = match["metric"], float(match["limit"])
    if metric == ERROR_RATE:
        if match["percent"] or not 0 < limit < 1:
            raise UsageError(f"--slo: '{text}': an error rate is a share, {_EXAMPLE}")
        return Term(metric, 1 - limit, limit)
    if metric not in _VALUES:
        known = ", ".join([*_VALUES, ERROR_RATE])
        raise UsageError(f"--slo: unknown metric '{metric}'. Known: {known}")
    if match["percent"] is None or not 0 < float(match["percent"]) < 100:
        raise UsageError(f"--slo: '{text}' names no percentile between 0 and 100, {_EXAMPLE}")
    if limit <= 0:
        raise UsageError(f"--slo: '{text}': a limit is more than 0 seconds")
    return Term(metric, float(match["percent"]) / 100, limit)
