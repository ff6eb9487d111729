"""Spans of time as servers write them: ``7``, ``2m59.56s``, ``37 seconds``, a date, an epoch.

Whatever a header holds is hostile: what is not understood, negative, or longer than a day is as if
it were not there. A date is measured from the server's own ``Date``, so that a wrong clock here
does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

LONGEST_S = 86_400.0
"""A longer wait than a day is a mistake of the server's, or its way to say never."""

_UNIT = r"(?:ms|milliseconds?|[uµn]s|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
PATTERN = rf"(?:[0-9]{{1,9}}(?:\.[0-9]{{1,9}})? ?{_UNIT} ?){{1,6}}"
"""A number with a unit, or several in a row. To be matched without regard to case."""

Header = Callable[[str], str | None]
"""Looks up a header by its name, in any case."""

Clock = Callable[[], datetime]

_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{0,15})?")
_DURATION = re.compile(PATTERN, re.IGNORECASE)
_PART = re.compile(r"([0-9.]+) ?([a-zµ]+)")
_UNITS_S = {"ms": 1e-3, "mi": 60.0, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_LONG_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def utc_now() -> datetime:
    return datetime.now(UTC)


def number(value: str) -> float | None:
    """A plain number that is not negative: no sign, no exponent, no ``nan``."""
    if len(value) <= 15 and value.isascii() and value.isdigit():  # mostly, and faster
        return float(value)
    value = value.strip()
    return float(value) if _NUMBER.fullmatch(value) else None


@lru_cache(maxsize=1024)  # "6ms" comes with every answer, and a match costs microseconds
def duration_s(value: str) -> float | None:
    """Seconds in ``2m59.56s`` and kin."""
    if not _DURATION.fullmatch(value):
        return None
    return plausible(sum(float(n) * _unit_s(unit) for n, unit in _PART.findall(value.lower())))


def until_s(value: str, header: Header, now: Clock) -> float | None:
    """Seconds until the date in ``value``, by RFC 9110 or RFC 3339."""
    moment = _moment(value)
    return plausible((moment - server_now(header, now)).total_seconds()) if moment else None


def server_now(header: Header, now: Clock) -> datetime:
    return _moment(header("date") or "") or now()


def plausible(wait_s: float) -> float | None:
    return wait_s if 0.0 <= wait_s <= LONGEST_S else None


def _unit_s(unit: str) -> float:
    if unit.startswith("milli"):
        return 1e-3
    return _UNITS_S.get(unit[:2]) or _LONG_UNITS_S[unit[0]]


def _moment(value: str) -> datetime | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(value.strip())
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None
