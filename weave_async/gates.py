"""What a recipe requires of a finished dataset: ``require: {vendi: ">= 40"}``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"(>=|<=|>|<)\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,2})?)")
OF_THE_RUN: Mapping[str, str] = {
    "rows": "written samples",
    "acceptance": "share of the samples with an answer that were written",
}
"""Figures that the ledger tells, beside those of the dataset in ``metrics.catalogue``."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a dataset, with its 95 % interval where there is one; or why there is none."""

    value: float | None
    interval: tuple[float, float] | None = None
    missing_because: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"cannot be told, {self.missing_because}"
        if self.interval is None:
            return shown(self.value)
        low, high = self.interval
        return f"{shown(self.value)} ({shown(low)}–{shown(high)})"


@dataclass(frozen=True, slots=True)
class Gate:
    """A figure's least or most. Its interval is told, and does not decide."""

    metric: str
    comparison: str
    bound: float

    @classmethod
    def parsed(cls, metric: str, condition: str) -> Gate:
        """Raises ``ValueError`` where ``condition`` is no comparison with a number."""
        match = _CONDITION.fullmatch(condition.strip())
        if match is None:
            raise ValueError('expected a comparison with a number, as ">= 40" or "<= 0.05"')
        return cls(metric, match[1], float(match[2]))

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound:g}"

    def passes(self, value: float) -> bool:
        return _COMPARISONS[self.comparison](value, self.bound)

    def judged(self, figure: Figure) -> Judged:
        met = figure.value is not None and self.passes(figure.value)
        return Judged(self, figure, met)


@dataclass(frozen=True, slots=True)
class Judged:
    """A requirement beside the figure. A figure that cannot be told does not meet it."""

    required: Gate
    found: Figure
    met: bool

    def __str__(self) -> str:
        found, value = str(self.found), self.found.value
        if value is not None and self.required.passes(float(f"{value:.3g}")) != self.met:
            found = f"{value:.8g}"  # three digits would tell the contrary
        return f"require {self.required}: {found}, {'met' if self.met else 'missed'}"


def shown(value: float) -> str:
    """Three digits that count, and whole numbers whole: ``0.0421``, ``41.2``, ``12,345``."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
