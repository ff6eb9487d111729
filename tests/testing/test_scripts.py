"""The ready-made faults, against a provider that must survive them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter
from typing import get_args

import pytest

from one_request import REQUEST, collect, complete, error_of, stream, use
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import ProviderError, QuotaError, RateLimitError
from weave_async.records import Chunk
from weave_async.testing import scripts
from weave_async.testing.scripted_endpoint import Reply, ScriptedEndpoint

SHORT_S = {"timeout_s": 0.5, "deadline_s": 1.5}
ODD_STREAMS = {
    "without [DONE]": lambda: scripts.stream_without_done("a b c"),
    "with comments": lambda: scripts.stream_with_comments("a b c"),
    "role first": lambda: scripts.stream_with_role_first("a b c", 0.05),
    "left open": lambda: scripts.stream_left_open("a b c"),
    "slow": lambda: scripts.slow_stream("a b c", 0.01),
}


@pytest.mark.parametrize("name", scripts.BREAKDOWNS)
@pytest.mark.parametrize("ask", [complete, stream])
def test_a_breakdown_is_retryable_and_never_an_answer(name: str, ask: object) -> None:
    reply = scripts.BREAKDOWNS[name]
    error = error_of(lambda: ask(lambda request: reply(), **SHORT_S))  # type: ignore[operator]
    assert error.retryable, error
    assert not error.stops_endpoint, error


@pytest.mark.parametrize("name", ODD_STREAMS)
def test_an_odd_stream_is_the_whole_answer(name: str) -> None:
    chunks = stream([ODD_STREAMS[name]()])
    assert "".join(chunk.text for chunk in chunks) == "a b c"
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert [chunk.usage.output_tokens for chunk in chunks if chunk.usage] == [3]


@pytest.mark.parametrize(
    "reply",
    [scripts.blank_lines_first("hi", pause_s=0.01), scripts.slow_first_byte(0.05, "hi")],
)
def test_a_late_answer_is_an_answer(reply: Reply) -> None:
    assert complete([reply]).text == "hi"


@pytest.mark.parametrize("hint", get_args(scripts.Hint))
def test_a_burst_of_429s_says_when_to_come_again_and_then_answers(hint: scripts.Hint) -> None:
    async def until_answered(provider: OpenAICompatibleProvider) -> list[float | None]:
        waits: list[float | None] = []
        while True:
            try:
                await provider.complete(REQUEST)
                return waits
            except RateLimitError as error:
                waits.append(error.retry_after_s)

    with ScriptedEndpoint(scripts.rate_limited_burst(3, 20.0, hint)) as server:
        waits = use(server.base_url, until_answered)
    assert len(waits) == 3
    known = [wait for wait in waits if wait is not None]
    assert all(10.0 <= wait <= 20.0 for wait in known), waits  # a date's grows shorter
    if hint not in ("none", "openai", "anthropic"):  # what a reset means for us is not said there
        assert len(known) == 3


def test_no_waiting_mends_a_spent_quota() -> None:
    error = error_of(lambda: complete([scripts.out_of_quota()]))
    assert isinstance(error, QuotaError)
    assert error.stops_endpoint


def test_the_role_is_not_the_first_token() -> None:
    async def first_text_s(provider: OpenAICompatibleProvider) -> float:
        started = perf_counter()
        chunks: AsyncIterator[Chunk] = provider.stream(REQUEST)
        async for chunk in chunks:
            if chunk.text or chunk.reasoning:
                break
        elapsed_s = perf_counter() - started
        await collect(chunks)
        return elapsed_s

    with ScriptedEndpoint([scripts.stream_with_role_first("a b", 0.3)]) as server:
        assert use(server.base_url, first_text_s) >= 0.3


def test_a_redirect_is_not_followed() -> None:
    with ScriptedEndpoint() as elsewhere:
        error = error_of(lambda: complete([scripts.redirect(elsewhere.base_url)]))
        assert isinstance(error, ProviderError)
        assert elsewhere.num_connections == 0


def test_a_dropped_connection_costs_only_its_own_request() -> None:
    drops = [scripts.dropped_before_headers(), scripts.reset_mid_body()]

    async def ask_four(provider: OpenAICompatibleProvider) -> list[object]:
        asking = (provider.complete(REQUEST) for _ in range(4))
        return [*await asyncio.gather(*asking, return_exceptions=True)]

    with ScriptedEndpoint(drops) as server:
        outcomes = use(server.base_url, ask_four)
    assert sum(isinstance(outcome, ProviderError) for outcome in outcomes) == 2
