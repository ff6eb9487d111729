"""Rows 31 to 35: how long to wait, and how fast to go, by headers, words or nothing at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from one_request import BOTH, complete, error_of
from weave_async.errors import (
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
)
from weave_async.estimate import TokenEstimate
from weave_async.flow.admission import Admission
from weave_async.records import Message, RateLimits, Request, SamplingParams
from weave_async.testing.scripted_endpoint import chat_reply, error_reply, json_reply
from weave_async.testing.virtual_time import run_in_virtual_time

NOON = "Thu, 01 Jan 2026 12:00:00 GMT"


@BOTH
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:09 GMT", "date": NOON}, 9.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 7.0),
        ({"retry-after": "soon", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "3600"}, 3_600.0),  # too long for the SDK; dispatch caps it, and says so
        ({"retry-after": "-5"}, None),
        ({"retry-after": "garbage"}, None),
        ({"retry-after": "999999999"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_quirk_31_retry_after_is_read_in_every_form(
    ask: Callable[..., Any], headers: dict[str, str], wait_s: float | None
) -> None:
    error = error_of(lambda: ask([error_reply(429, headers=headers)]))
    assert type(error) is RateLimitError
    assert error.retry_after_s == wait_s


@BOTH
@pytest.mark.parametrize(
    ("status", "should_retry", "headers", "kind"),
    [
        (500, "false", {}, RequestRefusedError),
        (500, "true", {}, ServerError),
        (429, "false", {}, QuotaError),
        (429, "false", {"retry-after": "7"}, RateLimitError),  # the server says when
        (429, "true", {}, RateLimitError),
        (400, "true", {}, ServerError),
        (400, "false", {}, RequestRefusedError),
        (500, "perhaps", {}, ServerError),
    ],
)
def test_quirk_31_x_should_retry_outranks_the_status(
    ask: Callable[..., Any],
    status: int,
    should_retry: str,
    headers: dict[str, str],
    kind: type[ProviderError],
) -> None:
    headers = {"x-should-retry": should_retry, **headers}
    assert type(error_of(lambda: ask([error_reply(status, headers=headers)]))) is kind


def _openai(**reset: str) -> dict[str, str]:
    limits = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    return limits | {f"x-ratelimit-reset-{of}": value for of, value in reset.items()}


@pytest.mark.parametrize(
    ("headers", "reset_s"),
    [
        (_openai(requests="1s"), 1.0),
        (_openai(requests="6m0s"), 360.0),
        (_openai(requests="12ms"), 0.012),
        (_openai(requests="2m59.56s"), 179.56),
        (_openai(requests="17"), 17.0),  # Azure
        (_openai(requests="-1"), None),  # Azure
        (_openai(requests="0"), None),
        (_openai(requests="2026-01-01T12:00:30Z") | {"date": NOON}, 30.0),
        (_openai(requests="1767268830") | {"date": NOON}, 30.0),
        (_openai(requests="1767268830000") | {"date": NOON}, 30.0),
        (_openai(requests="99d"), None),
        (_openai(), None),
    ],
)
def test_quirk_32_resets_are_read_in_every_form_and_absurd_ones_in_none(
    headers: dict[str, str], reset_s: float | None
) -> None:
    response = complete([chat_reply("hi", headers=headers)])
    assert response.rate_limits == RateLimits(60, 59, reset_s)


@BOTH
@pytest.mark.parametrize(
    ("document", "wait_s"),
    [
        ({"error": {"message": "Rate limit reached. Please try again in 5.289s."}}, 5.289),
        ({"error": {"message": "Please retry after 37 seconds."}}, 37.0),
        ({"error": {"message": "try again in 1m2s"}}, 62.0),
        (
            [{"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34s"}]}}],
            34.0,
        ),
        ({"error": {"message": "try again later"}}, None),
    ],
)
def test_quirk_33_a_wait_that_stands_in_the_words_only_is_found(
    ask: Callable[..., Any], document: Any, wait_s: float | None
) -> None:
    error = error_of(lambda: ask([json_reply(document, 429)]))
    assert error.retry_after_s == wait_s
    header = {"retry-after": "2"}
    assert error_of(lambda: ask([json_reply(document, 429, headers=header)])).retry_after_s == 2.0


def test_quirk_34_max_tokens_is_reserved_and_what_was_not_used_given_back() -> None:
    """As Azure counts: the prompt and ``max_tokens``, over a span of seconds."""
    request = Request("r", "m", (Message("user", "x" * 400),), SamplingParams(max_tokens=900))

    async def scenario() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        # 1,000 tokens a second, of which two such requests cannot be reserved in one.
        admission = Admission(max_concurrency=8, tokens_per_minute=60_000, refunds_tokens=True)
        reserved = TokenEstimate().tokens(request)
        assert reserved >= 1_000
        async with admission.slot(tokens=reserved) as slot:
            slot.settle(100)
        started_s = loop.time()
        async with admission.slot(tokens=reserved) as slot:
            refunded_s = loop.time() - started_s
            slot.settle(reserved)
        async with admission.slot(tokens=reserved) as slot:
            slot.settle(reserved)
        return refunded_s, loop.time() - started_s - refunded_s

    refunded_s, charged_s = run_in_virtual_time(scenario())
    assert refunded_s < 0.5
    assert charged_s > 0.8


def test_quirk_35_a_429_without_any_hint_slows_down_everybody_once() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        admission = Admission(start_concurrency=16)
        async with admission.slot(tokens=1) as first, admission.slot(tokens=1) as second:
            before = admission.concurrency.limit
            first.throttled(None)
            paused_s, after = admission.paused_for_s, admission.concurrency.limit
            assert paused_s > 0
            assert after < before
            second.throttled(None)
            assert admission.concurrency.limit == after  # one burst, one step down
        paused_at_s = loop.time()
        async with admission.slot(tokens=1) as third:  # which was not refused itself
            assert loop.time() - paused_at_s >= 0.99 * paused_s
            third.settle(1)

    error = error_of(lambda: complete([error_reply(429)]))
    assert (type(error), error.retry_after_s) == (RateLimitError, None)
    run_in_virtual_time(scenario())


def test_quirk_31_a_date_is_measured_from_the_servers_clock_and_not_from_ours() -> None:
    then = time.time() + 90_000  # its clock is a day ahead
    headers = {
        "date": formatdate(then, usegmt=True),
        "retry-after": formatdate(then + 5, usegmt=True),
    }
    assert error_of(lambda: complete([error_reply(429, headers=headers)])).retry_after_s == 5.0
