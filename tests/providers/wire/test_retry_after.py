"""How long a server asks us to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.retry_after import retry_after_in_text, retry_after_s
from providers.wire.text import SurrogateJoiner
from wire_shapes import NOW, reply_error


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        (
            {
                "retry-after": "Thu, 01 Jan 2026 12:00:30 GMT",
                "date": "Thu, 01 Jan 2026 12:00:20 GMT",
            },
            10.0,
        ),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, None),
        ({"retry-after": "Thu, 01 Jan 2036 12:00:00 GMT"}, None),
        ({"retry-after": "Thu, 99 Foo 99999 99:99:99 GMT"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1000000000"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "soon", "retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "9" * 400}, None),
        ({"retry-after": "2026-01-01T12:00:30Z"}, 30.0),
        ({"retry-after": "34s"}, 34.0),
        ({"retry-after": "2m59.56s"}, 179.56),
        ({"retry-after": "9" * 400}, None),
    ],
)
def test_retry_after_headers(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers.get, lambda: NOW) == expected


@given(st.text())
def test_no_retry_after_header_breaks_the_parser(value: str) -> None:
    wait_s = retry_after_s({"retry-after": value, "retry-after-ms": value}.get, lambda: NOW)
    assert wait_s is None or 0 <= wait_s <= 86_400


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Please try again in 5.289s. Visit", 5.289),
        ("Please retry after 37 seconds.", 37.0),
        ("try again in 250ms", 0.25),
        ("try again in 2 minutes", 120.0),
        ("Please try again in 2m59.56s. Visit", 179.56),
        ("Please try again in 1h0m3s.", 3603.0),
        ("retry in 1 hour 5 minutes", 3900.0),
        ("Please retry in 34.074824224s.", 34.074824224),
        ("try again in 20s. Contact us", 20.0),
        ("try again in 5 cents", None),
        ("try again later", None),
        ("try again in 999999 minutes", None),
    ],
)
def test_retry_after_in_words(message: str, expected: float | None) -> None:
    assert retry_after_in_text(message) == expected


def test_header_outranks_the_words() -> None:
    body = {"error": {"message": "try again in 5s"}}
    assert reply_error(429, body, {"retry-after": "9"}).retry_after_s == 9.0
    assert reply_error(429, body).retry_after_s == 5.0


def test_retry_delay_of_gemini_is_read() -> None:
    body = [{"error": {"code": 429, "details": [{"@type": "x.RetryInfo", "retryDelay": "34s"}]}}]
    assert reply_error(429, body).retry_after_s == 34.0


def test_surrogate_half_that_stays_alone_is_replaced() -> None:
    joiner = SurrogateJoiner()
    assert joiner.feed("a\ud83d") + joiner.feed("b") + joiner.close() == "a\ufffdb"
