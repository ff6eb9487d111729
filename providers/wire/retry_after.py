"""How long a server asks us to wait, in the many ways in which servers say so."""

from __future__ import annotations

import re

from .durations import PATTERN, Clock, Header, duration_s, number, plausible, until_s, utc_now

_IN_TEXT = re.compile(rf"(?:try again|retry) (?:in|after) ({PATTERN})", re.IGNORECASE)


def retry_after_s(header: Header, now: Clock = utc_now) -> float | None:
    """Seconds to wait by the headers, ``None`` where they say nothing that can be believed."""
    if (value := header("retry-after")) is not None:
        wait_s = _as_number(value, 1.0)
        if wait_s is None:
            wait_s = duration_s(value.strip())
        if wait_s is None:
            wait_s = until_s(value, header, now)
        if wait_s is not None:
            return wait_s
    if (value := header("retry-after-ms")) is not None:
        return _as_number(value, 0.001)
    return None


def retry_after_in_text(message: str) -> float | None:
    """Seconds to wait by the message ("try again in 5.289s"): Groq and Azure say it only there."""
    found = _IN_TEXT.search(message)
    return duration_s(found[1].strip()) if found else None


def _as_number(value: str, unit_s: float) -> float | None:
    amount = number(value)
    return None if amount is None else plausible(amount * unit_s)
