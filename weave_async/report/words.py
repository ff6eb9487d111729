"""Figures as the page writes them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Literal

from weave_async.visible import cut

Kind = Literal["share", "number", "usd", "seconds"]
MAX_BRIEF_CHARS = 300
UNKNOWN = "–"


def count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """To a tenth; what is not zero does not look so."""
    if share is None:
        return UNKNOWN
    return f"{100 * share:.1f} %" if not 0 < abs(share) < 0.0005 else f"{100 * share:.2g} %"


def points(share: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{100 * share:.1f} points" if not 0 < share < 0.0005 else f"{100 * share:.2g} points"


def number(value: float | None) -> str:
    """To three or four digits that count."""
    if value is None:
        return UNKNOWN
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else UNKNOWN
    decimals = min(6, max(0, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:,.{decimals}f}"


def seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    decimals = 1 if value >= 100 else 2 if value >= 10 else 3 if value >= 0.001 or not value else 6
    return f"{value:,.{decimals}f}"


def duration(value_s: float | None) -> str:
    """With the unit that fits."""
    if value_s is None:
        return UNKNOWN
    for least, per, unit in ((3600, 3600, "h"), (120, 60, "min"), (1, 1, "s"), (1e-3, 1e-3, "ms")):
        if value_s >= least:
            return f"{value_s / per:.3g} {unit}"
    return f"{value_s * 1e6:.3g} µs" if value_s else "0"


def usd(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.3g}"


def shown(value: float | None, kind: Kind) -> str:
    return {"share": percent, "number": number, "usd": usd, "seconds": seconds}[kind](value)


def interval(figure: Any, kind: Kind) -> str:
    """Of whatever has a ``low`` and a ``high``; empty where nobody knows them."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{shown(figure.low, kind)} to {shown(figure.high, kind)}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "brief": lambda text: cut(str(text), MAX_BRIEF_CHARS),
    "count": count,
    "duration": duration,
    "interval": interval,
    "percent": percent,
    "percent_short": lambda share: f"{share:.0%}".replace("%", " %"),
    "quoted": shlex.quote,
    "seconds": seconds,
    "shown": shown,
}
