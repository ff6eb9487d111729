"""How long a server asks us to wait, in the many ways in which servers say so."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 86_400.0
"""A longer wait than a day is a mistake of the server's, or its way to say never."""

Header = Callable[[str], str | None]
"""Looks up a header by its name, in any case."""

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]*)?")
_IN_TEXT = re.compile(
    r"(?:try again|retry) (?:in|after) ([0-9]{1,6}(?:\.[0-9]{1,6})?)"
    r" ?(ms|s\b|seconds?|m\b|minutes?)",
    re.IGNORECASE,
)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0}


def retry_after_s(header: Header, now: datetime) -> float | None:
    """Seconds to wait by the headers; garbage, negative and absurd values count as none at all.

    A date is measured from the server's own ``Date``, so that a wrong clock here does not matter.
    """
    if (value := header("retry-after")) is not None:
        wait_s = _seconds(value, 1.0)
        if wait_s is None:
            wait_s = _until(_date(value), _date(header("date")) or now)
        if wait_s is not None:
            return wait_s
    if (value := header("retry-after-ms")) is not None:
        return _seconds(value, 0.001)
    return None


def retry_after_in_text(message: str) -> float | None:
    """Seconds to wait by the message ("try again in 5.289s"): Groq and Azure say it only there."""
    found = _IN_TEXT.search(message)
    if found is None:
        return None
    unit = found[2].lower()
    return _plausible(float(found[1]) * (_UNITS_S.get(unit) or _UNITS_S[unit[0]]))


def _seconds(value: str, unit_s: float) -> float | None:
    value = value.strip()
    return _plausible(float(value) * unit_s) if _NUMBER.fullmatch(value) else None


def _until(moment: datetime | None, now: datetime) -> float | None:
    return _plausible((moment - now).total_seconds()) if moment else None


def _plausible(wait_s: float) -> float | None:
    return wait_s if 0.0 <= wait_s <= MAX_RETRY_AFTER_S else None


def _date(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
