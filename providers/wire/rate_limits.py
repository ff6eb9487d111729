"""What an endpoint says of its limits, in the headers of a success.

Three spellings are known. Most endpoints use none, and a hot path pays for looking: one header of
each spelling is enough to tell (0.1 µs each).
"""

from __future__ import annotations

from collections.abc import Mapping

from weave_async.records import RateLimits

from .durations import Clock, Header, duration_s, number, plausible, server_now, until_s, utc_now

_EPOCH_S, _EPOCH_MS = 1e9, 1e12
"""Larger numbers are no spans but moments: seconds, or milliseconds, since 1970."""


def _spelled(form: str) -> tuple[str, ...]:
    """Header names in the order of the fields of ``RateLimits``."""
    return tuple(
        form.format(what=what, of=of)
        for of in ("requests", "tokens")
        for what in ("limit", "remaining", "reset")
    )


_OPENAI = _spelled("x-ratelimit-{what}-{of}")  # Azure and Groq too
_ANTHROPIC = _spelled("anthropic-ratelimit-{of}-{what}")
_TOGETHER = (
    *("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),  # OpenRouter too
    *("x-tokenlimit-limit", "x-tokenlimit-remaining", "x-tokenlimit-reset"),
)
_SIGNS: Mapping[str, tuple[str, ...]] = {
    "x-ratelimit-remaining-requests": _OPENAI,
    "x-ratelimit-remaining-tokens": _OPENAI,
    "anthropic-ratelimit-requests-remaining": _ANTHROPIC,
    "x-ratelimit-remaining": _TOGETHER,
}


def rate_limits(header: Header, now: Clock = utc_now) -> RateLimits | None:
    """The limits as far as they can be believed; ``None`` where the headers say nothing of them.

    A limit of 0 on a success and a reset in no time (Azure's -1 and 0) say nothing either.
    """
    for sign, names in _SIGNS.items():
        if header(sign) is not None:
            return _read(names, header, now)
    return None


def _read(names: tuple[str, ...], header: Header, now: Clock) -> RateLimits:
    values = [header(name) or "" for name in names]
    return RateLimits(
        number(values[0]) or None,
        number(values[1]),
        _reset_s(values[2], header, now),
        number(values[3]) or None,
        number(values[4]),
        _reset_s(values[5], header, now),
    )


def _reset_s(value: str, header: Header, now: Clock) -> float | None:
    value = value.strip()
    amount = number(value)
    if amount is None:
        return duration_s(value) or until_s(value, header, now) or None
    if amount < _EPOCH_S:
        return plausible(amount) or None
    epoch_s = amount / 1000 if amount >= _EPOCH_MS else amount
    return plausible(epoch_s - server_now(header, now).timestamp()) or None
