"""What headers say of limits, as far as it can be believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.rate_limits import rate_limits
from weave_async.records import RateLimits
from wire_shapes import NOW


def reset_s(value: str, **more: str) -> float | None:
    headers = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": value, **more}
    limits = rate_limits(headers.get, lambda: NOW)
    assert limits is not None
    return limits.reset_requests_s


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"content-type": "application/json", "x-request-id": "r"}, None),
        (
            {
                "x-ratelimit-limit-requests": "10000",
                "x-ratelimit-remaining-requests": "9999",
                "x-ratelimit-reset-requests": "6ms",
                "x-ratelimit-limit-tokens": "2000000",
                "x-ratelimit-remaining-tokens": "1999800",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            RateLimits(10_000, 9_999, 0.006, 2_000_000, 1_999_800, 360),
        ),
        ({"x-ratelimit-remaining-tokens": "0"}, RateLimits(remaining_tokens=0)),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2026-01-01T12:00:02Z",
                "anthropic-ratelimit-tokens-limit": "20000",
            },
            RateLimits(50, 49, 2, 20_000),
        ),
        (
            {
                "x-ratelimit-limit": "60",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1767268805000",
            },
            RateLimits(60, 0, 5),
        ),
        (
            {"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": "-1"},
            RateLimits(),
        ),
    ],
)
def test_limits_are_read_in_every_spelling(
    headers: dict[str, str], expected: RateLimits | None
) -> None:
    assert rate_limits(headers.get, lambda: NOW) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("250ms", 0.25),
        (" 12ms ", 0.012),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3_723.0),
        ("1d", 86_400.0),
        ("7", 7.0),
        ("0.5", 0.5),
        ("2026-01-01T12:00:30Z", 30.0),
        ("2026-01-01T13:00:30.5+01:00", 30.5),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("1767268830", 30.0),
        ("1767268830.25", 30.25),
        ("1767268830000", 30.0),
        *[(absurd, None) for absurd in ("", "0", "-1", "0s", "soon", "nan", "inf", "1e999", "25h")],
        *[(absurd, None) for absurd in ("9" * 400, "9" * 15, "1s2", "s", "1s;DROP", "٣", "1.2.3s")],
        *[(past, None) for past in ("2026-01-01T11:00:00Z", "1767268800", "1467268800000")],
    ],
)
def test_reset_is_read_in_every_form_and_absurd_ones_in_none(
    value: str, expected: float | None
) -> None:
    assert reset_s(value) == expected


def test_reset_at_a_moment_is_measured_from_the_servers_own_date() -> None:
    date = "Thu, 01 Jan 2026 12:00:20 GMT"
    assert reset_s("2026-01-01T12:00:30Z", date=date) == 10.0
    assert reset_s("1767268830", date=date) == 10.0


@given(st.text() | st.from_regex(r"[0-9]{0,30}[.:TZ+smhd -]{0,3}[0-9]{0,20}[a-zµ]{0,3}"))
def test_no_header_breaks_the_reader(value: str) -> None:
    for sign in ("x-ratelimit-remaining", "anthropic-ratelimit-requests-remaining"):
        reset = "x-ratelimit-reset" if sign.startswith("x") else "anthropic-ratelimit-tokens-reset"
        limits = rate_limits({sign: value, reset: value, "date": value}.get, lambda: NOW)
        assert limits is not None
        seconds = limits.reset_requests_s or limits.reset_tokens_s
        assert seconds is None or 0 < seconds <= 86_400
