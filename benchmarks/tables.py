"""Figures as people read them: aligned, a median with its least and its most."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

NOTHING = "–"
Spread = dict[str, float]


def spread(values: Sequence[float | None]) -> Spread | None:
    """None where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"median": median(known), "min": min(known), "max": max(known)}


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
