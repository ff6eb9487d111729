"""The OpenAI-compatible provider against real sockets on loopback."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

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
    ResponseTooLargeError,
    ServerError,
)
from weave_async.interfaces import Provider
from weave_async.records import Chunk, Endpoint, Message, Request, Response, SamplingParams, Usage
from weave_async.testing.conformance import Check, checks, over_http
from weave_async.testing.scripted_endpoint import (
    Reply,
    Script,
    ScriptedEndpoint,
    chat_chunks,
    chat_completion,
    chat_reply,
    dripped,
    echo,
    error_reply,
    json_reply,
    silence,
    sse_reply,
)

T = TypeVar("T")

KEY = "sk-canary-0123456789abcdef"
REQUEST = Request("r1", "scripted-model", (Message("user", "hello"),), SamplingParams(seed=1))
PROVIDER_CLASS: type[Provider] = OpenAICompatibleProvider  # mypy holds it to the protocol


def endpoint_at(base_url: str | None, **fields: Any) -> Endpoint:
    return Endpoint("test", "openai_compatible", "scripted-model", base_url, **fields)


def use(base_url: str, act: Callable[[OpenAICompatibleProvider], Awaitable[T]], **fields: Any) -> T:
    """Run ``act`` with an entered provider."""

    async def scenario() -> T:
        async with OpenAICompatibleProvider(endpoint_at(base_url, **fields)) as provider:
            return await act(provider)

    return asyncio.run(scenario())


def complete(script: Script, **fields: Any) -> Response:
    with ScriptedEndpoint(script) as server:
        return use(server.base_url, lambda provider: provider.complete(REQUEST), **fields)


def stream(script: Script, **fields: Any) -> list[Chunk]:
    with ScriptedEndpoint(script) as server:
        return use(server.base_url, lambda provider: collect(provider.stream(REQUEST)), **fields)


async def collect(chunks: AsyncIterator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in chunks]


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


def test_stream_chunks_arrive_as_they_are_sent() -> None:
    async def act(provider: OpenAICompatibleProvider) -> list[float]:
        started = time.perf_counter()
        return [time.perf_counter() - started async for _ in provider.stream(REQUEST)]

    with ScriptedEndpoint([sse_reply(chat_chunks("a b"), pause_s=0.1)]) as server:
        arrivals = use(server.base_url, act)
    assert arrivals[0] < arrivals[1] - 0.05
    assert arrivals[1] < arrivals[2] - 0.05


def test_done_ends_a_stream_whose_socket_stays_open() -> None:
    body = [*sse_reply(chat_chunks("a b")).body, 60.0]
    started = time.perf_counter()
    chunks = stream([Reply(body=body)])
    assert "".join(chunk.text for chunk in chunks) == "a b"
    assert time.perf_counter() - started < 2


def test_connection_lost_after_the_answer_loses_nothing() -> None:
    reply = sse_reply(chat_chunks("a b")[:-1], done=False, reset=True)
    assert "".join(chunk.text for chunk in stream([reply])) == "a b"


def test_server_that_does_not_stream_still_answers() -> None:
    (chunk,) = stream([chat_reply("all at once")])
    assert (chunk.text, chunk.finish_reason) == ("all at once", "stop")


def test_models_of_a_server_without_a_list_is_an_error_of_ours() -> None:
    with ScriptedEndpoint([error_reply(500)]) as server, pytest.raises(ServerError):
        use(server.base_url, lambda p: p.models())


# --- errors


BOTH = pytest.mark.parametrize("ask", [complete, stream])


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
def test_redirect_is_not_followed_with_the_key(ask: Callable[..., Any]) -> None:
    with ScriptedEndpoint() as elsewhere:
        reply = Reply(status=307, headers={"location": f"{elsewhere.base_url}/chat/completions"})
        with pytest.raises(ModelNotFoundError, match="redirects to"):
            ask([reply], api_key=SecretStr(KEY))
    assert elsewhere.requests == []


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
    assert 0.25 < time.perf_counter() - started < 1.3


def test_silence_between_chunks_ends_at_the_timeout() -> None:
    first = sse_reply(chat_chunks("a b")[:2], done=False).body
    with pytest.raises(DeadlineError, match=r"timeout_s=0\.3"):
        stream([Reply(body=[*first, *silence()])], timeout_s=0.3, deadline_s=30)


@BOTH
def test_drip_ends_at_the_deadline(ask: Callable[..., Any]) -> None:
    started = time.perf_counter()
    with pytest.raises(DeadlineError, match=r"deadline_s=0\.7"):
        ask([Reply(body=dripped(b"data: " + b"x" * 100, 0.2))], timeout_s=0.5, deadline_s=0.7)
    assert 0.65 < time.perf_counter() - started < 1.7


@BOTH
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_endless_body_is_refused_in_bounded_memory(
    ask: Callable[..., Any], content_type: str
) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    endless = Reply(headers={"content-type": content_type}, body=itertools.repeat(b"x" * 65_536))
    with pytest.raises(ResponseTooLargeError, match="16777216"):
        ask([endless])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 96 * 1024


def test_compressed_body_is_not_inflated() -> None:
    body = gzip.compress(b'{"choices": [{"message": {"content": "inflated"}}]}')
    with pytest.raises(BadResponseError, match="not JSON"):
        complete([Reply(headers={"content-encoding": "gzip"}, body=body)])


def test_refused_connection_says_what_to_do() -> None:
    with pytest.raises(ConnectError) as caught:
        use("http://127.0.0.1:9/v1", lambda p: p.complete(REQUEST))
    text = str(caught.value)
    assert "cannot connect to http://127.0.0.1:9/v1" in text
    assert "refused" in text
    assert "WEAVE_ASYNC_ENDPOINTS__TEST__BASE_URL" in text
    assert caught.value.__cause__ is not None


def test_unknown_host_is_a_connect_error() -> None:
    with pytest.raises(ConnectError, match=r"nosuch\.invalid"):
        use("http://nosuch.invalid/v1", lambda p: p.models())


def test_full_backlog_is_a_connect_error_at_the_timeout() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with pytest.raises((ConnectError, DeadlineError)):
            use(base_url, lambda p: p.complete(REQUEST), timeout_s=0.3)


def test_plain_http_behind_an_https_address_is_named_as_tls() -> None:
    async def scenario() -> None:
        def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            endpoint = endpoint_at(f"https://127.0.0.1:{port}/v1")
            async with OpenAICompatibleProvider(endpoint) as provider:
                with pytest.raises(ConnectError, match="no TLS with"):
                    await provider.complete(REQUEST)

    asyncio.run(scenario())


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


def test_cancel_storm_leaves_a_whole_pool_and_no_sockets() -> None:
    async def act(provider: OpenAICompatibleProvider) -> list[Response]:
        for wave in range(25):
            tasks = [asyncio.create_task(provider.complete(REQUEST)) for _ in range(20)]
            await asyncio.sleep(0.002 * (wave % 8))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        fresh = await asyncio.gather(*(provider.complete(REQUEST) for _ in range(20)))
        await asyncio.sleep(0.1)
        open_connections.append(server.num_open_connections)
        return fresh

    open_connections: list[int] = []
    with ScriptedEndpoint(lambda request: chat_reply("hi", head_delay_s=0.005)) as server:
        fresh = use(server.base_url, act, max_concurrency=20)
    assert [response.text for response in fresh] == ["hi"] * 20
    assert open_connections[0] <= 20


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


def test_proxy_of_the_environment_is_used_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedEndpoint(lambda request: chat_reply("through the proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        response = use("http://models.invalid/v1", lambda p: p.complete(REQUEST))
    assert response.text == "through the proxy"
    assert proxy.requests[0].path == "http://models.invalid/v1/chat/completions"


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
    with pytest.raises(RecipeError, match=r"unknown option 'extra'.*known: extra_body"):
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
