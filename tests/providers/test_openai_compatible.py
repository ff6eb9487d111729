"""The OpenAI-compatible provider against real sockets on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from one_request import BOTH, KEY, REQUEST, collect, complete, endpoint_at, stream, use
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import (
    AuthenticationError,
    BadResponseError,
    ConnectError,
    DeadlineError,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    RecipeError,
    RequestRefusedError,
    ServerError,
)
from weave_async.interfaces import Provider
from weave_async.records import Message, RateLimits, Request, SamplingParams, Usage
from weave_async.testing.conformance import Check, checks, over_http
from weave_async.testing.scripted_endpoint import (
    Reply,
    ScriptedEndpoint,
    chat_chunks,
    chat_completion,
    chat_reply,
    dripped,
    echo,
    error_reply,
    json_reply,
    sse_reply,
)

pytestmark = pytest.mark.usefixtures("transport")
PROVIDER_CLASS: type[Provider] = OpenAICompatibleProvider  # mypy holds it to the protocol


@pytest.mark.parametrize("check", checks(), ids=str)
def test_conforms(check: Check) -> None:
    with over_http(OpenAICompatibleProvider) as provider_for:
        asyncio.run(check(provider_for))


# --- what is sent


def test_request_carries_key_and_asks_for_no_compression() -> None:
    with ScriptedEndpoint() as server:
        use(server.base_url, lambda p: p.complete(REQUEST), api_key=SecretStr(f" {KEY}\n"))
    (sent,) = server.requests
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["content-type"] == "application/json"
    assert "referer" not in sent.headers
    assert sent.body["seed"] == 1
    assert "stream" not in sent.body


def test_without_key_no_authorization_is_sent() -> None:
    with ScriptedEndpoint() as server:
        use(server.base_url, lambda p: p.complete(REQUEST))
    assert "authorization" not in server.requests[0].headers


def test_each_attempt_is_named_to_the_server() -> None:
    with ScriptedEndpoint() as server:
        use(server.base_url, lambda p: p.complete(replace(REQUEST, attempt_id="r1-2")))
        use(server.base_url, lambda p: collect(p.stream(replace(REQUEST, attempt_id="r1-3"))))
        use(server.base_url, lambda p: p.complete(REQUEST))
    named = [request.headers.get("x-client-request-id") for request in server.requests]
    assert named == ["r1-2", "r1-3", None]


def test_name_of_an_attempt_that_is_no_header_is_refused_and_nothing_sent() -> None:
    with ScriptedEndpoint() as server, pytest.raises(RequestRefusedError, match="header"):
        use(server.base_url, lambda p: p.complete(replace(REQUEST, attempt_id="a\r\nb: c")))
    assert server.num_connections == 0


def test_extra_body_is_merged_over_the_request() -> None:
    with ScriptedEndpoint() as server:
        extra = {"extra_body": {"seed": 2, "reasoning_effort": "low"}}
        use(server.base_url, lambda p: p.complete(REQUEST), options=extra)
    assert server.requests[0].body["seed"] == 2
    assert server.requests[0].body["reasoning_effort"] == "low"


def test_completions_api_uses_its_own_path() -> None:
    request = Request("r", "m", (Message("user", "abc"),), SamplingParams(), api="completions")
    with ScriptedEndpoint() as server:
        response = use(server.base_url, lambda p: p.complete(request))
        chunks = use(server.base_url, lambda p: collect(p.stream(request)))
    assert server.requests[0].path == "/v1/completions"
    assert response.text.startswith("You said: abc")
    assert "".join(chunk.text for chunk in chunks) == response.text


def test_connections_are_used_again_also_after_streams() -> None:
    async def act(provider: OpenAICompatibleProvider) -> None:
        for _ in range(5):
            await provider.complete(REQUEST)
            await collect(provider.stream(REQUEST))

    with ScriptedEndpoint() as server:
        use(server.base_url, act)
    assert len(server.requests) == 10
    assert server.num_connections == 1


# --- what comes back


def test_answer_is_lifted() -> None:
    response = complete([chat_reply("hi there")])
    assert (response.text, response.finish_reason, response.model) == (
        "hi there",
        "stop",
        "scripted-model",
    )
    assert response.usage == Usage(19, 2)
    assert response.e2e_s is not None
    assert 0 < response.e2e_s < 5


def test_limits_come_with_the_answer() -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    response = complete([chat_reply("hi", headers=headers)])
    assert response.rate_limits == RateLimits(limit_requests=60, remaining_requests=59)
    assert complete([chat_reply("hi")]).rate_limits is None


def test_header_that_is_not_text_is_as_if_it_were_not_there() -> None:
    names = ("content-type", "x-ratelimit-remaining", "retry-after", "location", "date")
    stray = b"".join(b"%b: \xff\xfe\r\n" % name.encode() for name in names)
    event = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    assert stream([Reply(raw=b"HTTP/1.1 200 OK\r\n" + stray + b"\r\n" + event)])[0].text == "hi"
    for status, kind in ((200, BadResponseError), (302, ModelNotFoundError), (429, RateLimitError)):
        with pytest.raises(kind):
            complete([Reply(raw=b"HTTP/1.1 %d X\r\n%b\r\n" % (status, stray))])


def test_stream_chunks_arrive_as_they_are_sent() -> None:
    async def act(provider: OpenAICompatibleProvider) -> list[float]:
        started = time.perf_counter()
        return [time.perf_counter() - started async for _ in provider.stream(REQUEST)]

    with ScriptedEndpoint([sse_reply(chat_chunks("a b"), pause_s=0.1)]) as server:
        arrivals = use(server.base_url, act)
    assert arrivals[0] < arrivals[1] - 0.05
    assert arrivals[1] < arrivals[2] - 0.05


def test_server_that_does_not_stream_still_answers() -> None:
    (chunk,) = stream([chat_reply("all at once")])
    assert (chunk.text, chunk.finish_reason) == ("all at once", "stop")


def test_models_of_a_server_without_a_list_is_an_error_of_ours() -> None:
    with ScriptedEndpoint([error_reply(500)]) as server, pytest.raises(ServerError):
        use(server.base_url, lambda p: p.models())


# --- errors


@BOTH
def test_retry_after_comes_with_the_rate_limit(ask: Callable[..., Any]) -> None:
    with pytest.raises(RateLimitError) as caught:
        ask([error_reply(429, headers={"retry-after": "7"})])
    assert (caught.value.retry_after_s, caught.value.status_code) == (7.0, 429)


@BOTH
def test_refused_key_names_the_variable_and_not_the_key(ask: Callable[..., Any]) -> None:
    with pytest.raises(AuthenticationError) as caught:
        ask([error_reply(401, f"bad key {KEY}")], api_key=SecretStr(KEY))
    assert "set WEAVE_ASYNC_ENDPOINTS__TEST__API_KEY" in str(caught.value)
    assert "canary" not in str(caught.value)


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html><title>Hello</title></html>", headers={"content-type": "text/html"}),
        Reply(body=b""),
        Reply(body=b'{"choices": ['),
        json_reply({"choices": []}),
        Reply(raw=b"\x00garbage\r\n\r\n"),
        Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n"),
        Reply(body=b'{"choices"', content_length=500),
        Reply(body=[b"data: {}\n\n", b"x" * 50], cut_after=30),
        Reply(body=[b"data: {}\n\n", 0.05, b"x" * 50], cut_after=30, reset=True),
        Reply(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    ],
)
def test_broken_answer_is_a_bad_response(ask: Callable[..., Any], reply: Reply) -> None:
    with pytest.raises(BadResponseError, match=r"http://127.0.0.1"):
        ask([reply])


@BOTH
def test_hanging_up_before_the_answer_is_a_connect_error(ask: Callable[..., Any]) -> None:
    with pytest.raises(ConnectError, match="hung up"):
        ask([Reply(raw=b"")])


@BOTH
@pytest.mark.parametrize("reply", [Reply(head_delay_s=60), Reply(body=[b"data:", 60.0])])
def test_silence_ends_at_the_timeout(ask: Callable[..., Any], reply: Reply) -> None:
    started = time.perf_counter()
    with pytest.raises(DeadlineError, match=r"timeout_s=0\.3"):
        ask([reply], timeout_s=0.3, deadline_s=30)
    assert 0.25 < time.perf_counter() - started < 10


@BOTH
def test_drip_ends_at_the_deadline(ask: Callable[..., Any]) -> None:
    started = time.perf_counter()
    with pytest.raises(DeadlineError, match=r"deadline_s=0\.7"):
        ask([Reply(body=dripped(b"data: " + b"x" * 100, 0.2))], timeout_s=0.5, deadline_s=0.7)
    assert 0.65 < time.perf_counter() - started < 10


def test_refused_connection_says_what_to_do() -> None:
    with pytest.raises(ConnectError) as caught:
        use("http://127.0.0.1:9/v1", lambda p: p.complete(REQUEST))
    text = str(caught.value)
    assert "cannot connect to http://127.0.0.1:9/v1" in text
    assert "refused" in text
    assert "WEAVE_ASYNC_ENDPOINTS__TEST__BASE_URL" in text
    assert caught.value.__cause__ is not None


def test_unknown_host_is_a_connect_error() -> None:
    for host in ("nosuch.invalid", "a" * 70 + ".invalid"):
        with pytest.raises(ConnectError, match=host):
            use(f"http://{host}/v1", lambda p: p.models())


def test_leaving_while_a_request_flies_is_a_connect_error() -> None:
    async def scenario() -> None:
        with ScriptedEndpoint([Reply(head_delay_s=60)]) as server:
            async with OpenAICompatibleProvider(endpoint_at(server.base_url)) as provider:
                task = asyncio.create_task(provider.complete(REQUEST))
                await asyncio.sleep(0.1)
            with pytest.raises(ConnectError, match="closed"):
                await task

    asyncio.run(scenario())


# --- cancellation


def test_closing_a_stream_early_hangs_up() -> None:
    async def act(provider: OpenAICompatibleProvider) -> int:
        async with aclosing(provider.stream(REQUEST)) as chunks:
            async for _chunk in chunks:
                break
        for _ in range(100):
            if server.num_open_connections == 0:
                break
            await asyncio.sleep(0.02)
        return server.num_open_connections

    body = [*sse_reply(chat_chunks("a b")[:2], done=False).body, 60.0]
    with ScriptedEndpoint([Reply(body=body)]) as server:
        assert use(server.base_url, act) == 0


# --- proxies


def test_loopback_bypasses_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert complete([chat_reply("direct")]).text == "direct"


# --- construction


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "localhost:8000/v1",
        "ftp://host/v1",
        "http://",
        "http://host:port/v1",
        "http://[::1/v1",
        "https://user:pw@host/v1",
        "https://host/v1?key=1",
        "https://host/v1#top",
        "https://host/v1/chat/completions",
        "https://exa mple/v1",
        "https://1.2.3.4.5/v1",
    ],
)
def test_unusable_base_url_is_refused_at_construction(base_url: str) -> None:
    with pytest.raises(RecipeError, match="base_url") as caught:
        OpenAICompatibleProvider(endpoint_at(base_url))
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "x.localhost"])
def test_key_may_travel_in_clear_to_this_machine(host: str) -> None:
    OpenAICompatibleProvider(endpoint_at(f"http://{host}:1/v1", api_key=SecretStr(KEY)))


def test_key_does_not_travel_in_clear_elsewhere() -> None:
    with pytest.raises(RecipeError, match=r"in clear to http://10.0.0.1/v1"):
        OpenAICompatibleProvider(endpoint_at("http://10.0.0.1/v1", api_key=SecretStr(KEY)))
    OpenAICompatibleProvider(endpoint_at("http://10.0.0.1/v1"))


def test_key_alone_means_openai() -> None:
    provider = OpenAICompatibleProvider(endpoint_at(None, api_key=SecretStr(KEY)))
    assert "https://api.openai.com/v1" in repr(provider)
    assert KEY not in repr(provider)


def test_neither_address_nor_key_names_the_variables() -> None:
    with pytest.raises(RecipeError, match="WEAVE_ASYNC_BASE_URL or OPENAI_BASE_URL"):
        OpenAICompatibleProvider(endpoint_at(None))


def test_key_with_a_line_break_inside_is_refused_unseen() -> None:
    with pytest.raises(RecipeError) as caught:
        OpenAICompatibleProvider(endpoint_at("https://host/v1", api_key=SecretStr("sk-a\r\nb: c")))
    assert "sk-a" not in str(caught.value)


def test_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"unknown option 'extra'. Known: .*extra_body"):
        OpenAICompatibleProvider(endpoint_at("https://host/v1", options={"extra": 1}))


def test_use_outside_of_the_context_is_a_programming_error() -> None:
    provider = OpenAICompatibleProvider(endpoint_at("http://127.0.0.1:9/v1"))
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(provider.complete(REQUEST))


def test_every_broken_reply_ends_as_a_provider_error_and_spoils_nothing() -> None:
    replies = [
        Reply(status=status, body=body)
        for status in (200, 204, 302, 400, 404, 500, 599)
        for body in (b"", b"{}", b"null", b"\xff\xfe", b'{"error": null}', b"[[]]")
    ]
    replies.append(chat_reply("still whole"))

    async def act(provider: OpenAICompatibleProvider) -> str:
        for _ in replies[:-1]:
            with pytest.raises(ProviderError):
                await provider.complete(REQUEST)
        return (await provider.complete(REQUEST)).text

    with ScriptedEndpoint(replies) as server:
        assert use(server.base_url, act) == "still whole"
    assert len(server.requests) == len(replies)


def test_default_script_is_about_the_size_of_a_real_answer() -> None:
    with ScriptedEndpoint(echo) as server:
        use(server.base_url, lambda p: p.complete(REQUEST))
    body = echo(server.requests[0]).body
    assert isinstance(body, bytes)
    assert 900 < len(body) < 1_500
    assert set(chat_completion("x")) >= {"choices", "usage", "model"}


def test_value_of_an_option_that_may_be_a_secret_is_not_shown() -> None:
    options = {"extra_body": '{"token": "t-canary-0123456789"}'}
    with pytest.raises(RecipeError, match=r"extra_body: .*valid dictionary, got str$"):
        OpenAICompatibleProvider(endpoint_at("http://127.0.0.1:9/v1", options=options))
