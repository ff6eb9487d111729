"""Amounts as people read them at a glance."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``45 s``, ``2:05``, ``3:07:10``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}" if minutes else f"{seconds} s"


def rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}"


def short(number: float) -> str:
    """``8,500``, ``81.2k``, ``1.3M``."""
    if number < 1e4:
        return f"{number:,.0f}"
    for unit, name in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        rounded = float(f"{number / unit:.3g}")
        if rounded < 1000:
            return f"{rounded:g}{name}"
    return f"{number:.3g}"


def dollars(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:,.4f}"
