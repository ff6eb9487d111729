"""Figures as people read them: percentiles, a median with its least and its most, aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

NOTHING = "–"
Spread = dict[str, float]


def spread(values: Sequence[float | None]) -> Spread | None:
    """None where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"median": median(known), "min": min(known), "max": max(known)}


@dataclass(frozen=True, slots=True)
class Latencies:
    """Percentiles of send to answer. ``settled`` leaves out what began while connections did."""

    p50_s: float
    p99_s: float
    settled_p99_s: float | None

    @classmethod
    def of(cls, e2e_s: Sequence[float], in_flight: int) -> Latencies:
        """``e2e_s`` in the order of the answers, of which the first two per connection settle."""
        settled_s = e2e_s[2 * in_flight :]
        return cls(
            p50_s=percentile(e2e_s, 50),
            p99_s=percentile(e2e_s, 99),
            settled_p99_s=percentile(settled_s, 99) if settled_s else None,
        )


def percentile(values: Sequence[float], percentile: int) -> float:
    return quantiles([*values, values[0]], n=100, method="inclusive")[percentile - 1]


def shown(figure: Spread | float | None, decimals: int = 0, *, with_range: bool = False) -> str:
    """``12,345``, or ``12,345 [12,001–12,777]``."""
    if figure is None:
        return NOTHING
    if not isinstance(figure, dict):
        return f"{figure:,.{decimals}f}"
    text = f"{figure['median']:,.{decimals}f}"
    if not with_range:
        return text
    return f"{text} [{figure['min']:,.{decimals}f}–{figure['max']:,.{decimals}f}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column left, the others right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
