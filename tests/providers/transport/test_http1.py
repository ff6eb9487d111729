"""Our own transport at servers that misbehave on the connection itself, on both event loops."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from malformed_responses import MALFORMED
from one_request import REQUEST, collect, endpoint_at, use
from providers import endpoint
from providers.openai_compatible import OpenAICompatibleProvider
from providers.transport import connection
from weave_async.errors import (
    BadResponseError,
    ConnectError,
    DeadlineError,
    ProviderError,
    RequestRefusedError,
)
from weave_async.records import Message, Request, SamplingParams
from weave_async.testing.scripted_endpoint import (
    Reply,
    ScriptedEndpoint,
    chat_chunks,
    chat_completion,
    chat_reply,
    json_reply,
    reset_connection,
    sse_reply,
)

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

BIG = Request("big", "m", (Message("user", "x" * 1_000_000),), SamplingParams())


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run[Any]:
    if request.param == "asyncio":
        return asyncio.run
    uvloop = pytest.importorskip("uvloop")

    def run_on_uvloop(coroutine: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(coroutine)

    return run_on_uvloop


def raw_answer(text: str) -> bytes:
    body = json_reply(chat_completion(text)).body
    assert isinstance(body, bytes)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Peer:
    """One connection, from the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        return await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def left(self) -> None:
        """Wait until the client has hung up."""
        while await self.reader.read(65_536):
            pass


class Server:
    """Does with its n-th connection what ``behaviour`` says; then the connection ends."""

    def __init__(self, behaviour: Callable[[Peer, int], Awaitable[None]]) -> None:
        self._behaviour = behaviour
        self.num_connections = 0
        self.num_open = 0
        self.base_url = ""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        self.num_open += 1
        try:
            await self._behaviour(Peer(reader, writer), self.num_connections)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has left
        finally:
            self.num_open -= 1
            writer.close()


@asynccontextmanager
async def asked(
    behaviour: Callable[[Peer, int], Awaitable[None]], **fields: Any
) -> AsyncIterator[tuple[OpenAICompatibleProvider, Server]]:
    server = Server(behaviour)
    listening = await asyncio.start_server(server.accept, "127.0.0.1", 0, limit=2**21)
    async with listening:
        server.base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        async with OpenAICompatibleProvider(endpoint_at(server.base_url, **fields)) as provider:
            yield provider, server
        async with asyncio.timeout(5):  # whoever was left hanging would wait here for ever
            while server.num_open:
                await asyncio.sleep(0.005)


async def answers_for_ever(peer: Peer, number: int) -> None:
    while True:
        await peer.request()
        await peer.send(raw_answer(f"from {number}"))


async def text_of(provider: OpenAICompatibleProvider) -> str:
    return (await provider.complete(REQUEST)).text


# --- what is no answer


def test_malformed_response_is_an_error_and_the_end_of_its_connection(run: Run[None]) -> None:
    responses = list(MALFORMED.values())

    async def behaviour(peer: Peer, number: int) -> None:
        await peer.request()
        if number > len(responses):
            await peer.send(raw_answer("well-formed"))
        else:
            await peer.send(responses[number - 1])
        await peer.left()

    async def scenario() -> None:
        async with asked(behaviour, timeout_s=5) as (provider, server):
            for name in MALFORMED:
                with pytest.raises(BadResponseError, match="is not HTTP"):
                    pytest.fail(f"{name}: {await text_of(provider)}")
            assert await text_of(provider) == "well-formed"
            assert server.num_connections == len(responses) + 1

    assert len(responses) >= 40
    run(scenario())


@pytest.mark.parametrize("framing", ["content-length", "chunked", "close"])
def test_no_shortened_answer_is_taken_for_an_answer(framing: Any) -> None:
    whole = json_reply(chat_completion("whole")).body
    assert isinstance(whole, bytes)
    cuts = range(0, len(whole), 7)
    replies = [
        Reply(body=[whole], framing=framing, content_length=len(whole), cut_after=cut)
        for cut in cuts
        if cut
    ]

    async def act(provider: OpenAICompatibleProvider) -> None:
        for _ in replies:
            with pytest.raises(BadResponseError):
                await provider.complete(REQUEST)

    with ScriptedEndpoint(replies) as server:
        use(server.base_url, act)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sizes=st.lists(st.integers(1, 400), max_size=12), streamed=st.booleans())
def test_answer_is_the_same_however_it_is_cut_on_the_wire(sizes: list[int], streamed: bool) -> None:
    events = b"".join(p for p in sse_reply(chat_chunks("a ü c")).body if isinstance(p, bytes))
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    raw = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(events), events)
    raw = raw if streamed else raw_answer("a ü c")

    async def behaviour(peer: Peer, number: int) -> None:
        await peer.request()
        left = raw
        for size in sizes:
            await peer.send(left[:size])
            left = left[size:]
            await asyncio.sleep(0)
        await peer.send(left)
        await peer.left()

    async def scenario() -> str:
        async with asked(behaviour) as (provider, _):
            if streamed:
                return "".join(chunk.text for chunk in await collect(provider.stream(REQUEST)))
            return await text_of(provider)

    assert asyncio.run(scenario()) == "a ü c"


# --- whose answer it is


@pytest.mark.parametrize("pause_s", [0.0, 0.05], ids=["in one go", "late"])
@pytest.mark.parametrize("surplus", [b"X", b"\r\n", raw_answer("of somebody else")])
def test_what_nobody_asked_for_answers_nothing(
    run: Run[None], surplus: bytes, pause_s: float
) -> None:
    async def behaviour(peer: Peer, number: int) -> None:
        await peer.request()
        first = raw_answer(f"from {number}")
        if pause_s:
            await peer.send(first)
            await asyncio.sleep(pause_s)
            await peer.send(surplus)
        else:
            await peer.send(first + surplus)
        await peer.left()

    async def scenario() -> None:
        async with asked(behaviour) as (provider, _):
            for number in (1, 2, 3):
                assert await text_of(provider) == f"from {number}"
                await asyncio.sleep(2 * pause_s)

    run(scenario())


def test_surplus_that_the_loop_has_not_seen_yet_answers_nothing(run: Run[None]) -> None:
    """It lies in the socket when the next request is about to be sent."""
    whole, foreign = raw_answer("whole"), raw_answer("of somebody else")
    body = whole.partition(b"\r\n\r\n")[2]
    reply = Reply(body=[body, 0.02, foreign], framing="content-length", content_length=len(body))

    async def scenario(base_url: str) -> None:
        async with OpenAICompatibleProvider(endpoint_at(base_url)) as provider:
            for _ in range(3):
                assert await text_of(provider) == "whole"
                time.sleep(0.1)  # noqa: ASYNC251 - the loop is to be busy

    with ScriptedEndpoint([reply] * 3) as server:
        run(scenario(server.base_url))


def test_server_of_another_protocol_that_speaks_first_is_no_server(run: Run[None]) -> None:
    async def behaviour(peer: Peer, number: int) -> None:
        await peer.send(b"220 mail ready\r\n")
        await peer.left()

    async def scenario() -> None:
        async with asked(behaviour) as (provider, _):
            with pytest.raises(BadResponseError, match="is not HTTP"):
                await provider.complete(REQUEST)

    run(scenario())


# --- used connections


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_stale_connection_is_replaced_at_once_and_uncounted(run: Run[None], reset: bool) -> None:
    async def behaviour(peer: Peer, number: int) -> None:
        await peer.request()
        await peer.send(raw_answer(f"from {number}"))
        await peer.request()  # on which it closes, as if it had before
        if reset:
            reset_connection(peer.writer)

    async def scenario() -> None:
        async with asked(behaviour) as (provider, server):
            for number in (1, 2, 3):
                assert await text_of(provider) == f"from {number}"
            assert server.num_connections == 3

    run(scenario())


def test_fresh_connection_that_ends_is_not_replaced(run: Run[None]) -> None:
    async def behaviour(peer: Peer, number: int) -> None:
        await peer.request()
        if number == 1:
            await peer.send(raw_answer("first"))
            await peer.request()

    async def scenario() -> None:
        async with asked(behaviour) as (provider, server):
            await text_of(provider)
            with pytest.raises(ConnectError, match="hung up") as caught:
                await text_of(provider)
            assert caught.value.may_be_billed
            assert server.num_connections == 2

    run(scenario())


@pytest.mark.parametrize("begun", [b"", b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_server_that_had_begun_on_a_request_is_not_asked_again_uncounted(
    run: Run[None], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(connection, "STALE_WITHIN_S", 0.05 if not begun else 5.0)

    async def behaviour(peer: Peer, number: int) -> None:
        await peer.request()
        await peer.send(raw_answer("first"))
        await peer.request()
        await peer.send(begun)
        await asyncio.sleep(0.1)

    async def scenario() -> None:
        async with asked(behaviour) as (provider, server):
            await text_of(provider)
            with pytest.raises(ConnectError, match="hung up"):
                await text_of(provider)
            assert server.num_connections == 1

    run(scenario())


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_connection_that_ended_while_idle_is_not_used(run: Run[None], reset: bool) -> None:
    num_requests = 0

    async def behaviour(peer: Peer, number: int) -> None:
        nonlocal num_requests
        await peer.request()
        num_requests += 1
        await peer.send(raw_answer(f"from {number}"))
        await asyncio.sleep(0.01)
        if reset:
            reset_connection(peer.writer)

    async def scenario() -> None:
        async with asked(behaviour) as (provider, _):
            for number in (1, 2, 3):
                assert await text_of(provider) == f"from {number}"
                await asyncio.sleep(0.05)
        assert num_requests == 3

    run(scenario())


def test_idle_connections_are_closed_before_the_server_does(
    run: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "IDLE_CONNECTION_S", 0.6)

    async def scenario() -> None:
        async with asked(answers_for_ever) as (provider, server):
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(text_of(provider))
            await asyncio.sleep(0.3)
            await text_of(provider)
            assert server.num_open == 5
            await asyncio.sleep(0.45)
            assert server.num_open == 1
            await asyncio.sleep(0.5)
            assert server.num_open == 0

    run(scenario())


def test_connection_that_grew_old_while_the_loop_was_busy_is_not_used(
    run: Run[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "IDLE_CONNECTION_S", 0.05)

    async def scenario() -> None:
        async with asked(answers_for_ever) as (provider, _):
            assert await text_of(provider) == "from 1"
            time.sleep(0.1)  # noqa: ASYNC251
            assert await text_of(provider) == "from 2"

    run(scenario())


def test_there_are_no_more_connections_than_requests_in_flight(run: Run[None]) -> None:
    async def scenario() -> None:
        async with asked(answers_for_ever) as (provider, server):
            for _ in range(5):
                async with asyncio.TaskGroup() as group:
                    for _ in range(20):
                        group.create_task(text_of(provider))
            assert server.num_connections == 20

    run(scenario())


# --- time


def test_each_exchange_on_a_connection_has_all_of_the_time(run: Run[None]) -> None:
    async def behaviour(peer: Peer, number: int) -> None:
        for _ in range(4):
            await peer.request()
            await asyncio.sleep(0.2)
            await peer.send(raw_answer("in time"))
        await peer.request()
        await peer.left()

    async def scenario() -> None:
        async with asked(behaviour, timeout_s=0.6, deadline_s=0.7) as (provider, server):
            for _ in range(4):
                assert await text_of(provider) == "in time"
            started = time.perf_counter()
            with pytest.raises(DeadlineError, match=r"timeout_s=0\.6"):
                await text_of(provider)
            assert time.perf_counter() - started > 0.55
            assert server.num_connections == 1

    run(scenario())


def test_head_that_drips_ends_at_the_deadline(run: Run[None]) -> None:
    async def behaviour(peer: Peer, number: int) -> None:
        await peer.request()
        for byte in raw_answer("never"):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.05)

    async def scenario() -> None:
        async with asked(behaviour, timeout_s=0.5, deadline_s=0.7) as (provider, _):
            started = time.perf_counter()
            with pytest.raises(DeadlineError, match=r"deadline_s=0\.7"):
                await text_of(provider)
            assert time.perf_counter() - started < 3  # all of it would take longer

    run(scenario())


def test_reader_that_lags_behind_slows_the_server_and_is_not_late(run: Run[None]) -> None:
    event = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"x" * 60_000)
    num_sent = 0

    async def behaviour(peer: Peer, number: int) -> None:
        nonlocal num_sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        for num_sent in range(1, 201):  # noqa: B007 - 12 MB
            await peer.send(event)
        await peer.send(b"data: [DONE]\n\n")

    async def scenario() -> int:
        async with asked(behaviour, timeout_s=0.2) as (provider, _):
            chunks = provider.stream(REQUEST)
            num_chars = len((await anext(chunks)).text)
            await asyncio.sleep(0.5)
            assert num_sent < 190
            async for chunk in chunks:
                num_chars += len(chunk.text)
            return num_chars

    assert run(scenario()) == 200 * 60_000  # type: ignore[func-returns-value]


# --- large requests


def test_large_request_goes_to_a_server_that_reads_slowly(run: Run[None]) -> None:
    async def behaviour(peer: Peer, number: int) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        left = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while left:
            left -= len(await peer.reader.read(16_384))
            await asyncio.sleep(0.001)
        await peer.send(raw_answer("all read"))
        await peer.left()

    async def scenario() -> None:
        async with asked(behaviour) as (provider, _):
            assert (await provider.complete(BIG)).text == "all read"

    run(scenario())


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
def test_early_answer_to_a_large_request_is_heard(run: Run[None], leaves: bool) -> None:
    refusal = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n"

    async def behaviour(peer: Peer, number: int) -> None:
        if number > 1:
            await answers_for_ever(peer, number)
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(refusal)
        if not leaves:
            await asyncio.sleep(2)

    async def scenario() -> None:
        big = Request("big", "m", (Message("user", "x" * 20_000_000),), SamplingParams())
        async with asked(behaviour) as (provider, _):
            with pytest.raises(RequestRefusedError):
                await provider.complete(big)
            async with asyncio.timeout(1.5):  # and not behind the rest of the large one
                assert await text_of(provider) == "from 2"

    run(scenario())


# --- connecting


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Names lead to these addresses; gives the names that were looked up."""
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **more: Any) -> list[Any]:
        if host[0].isdigit() or ":" in host:
            return real(host, port, *args, **more)
        looked_up.append(host)
        return [info for address in addresses for info in real(address, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


def test_addresses_of_a_name_are_tried_in_turn_and_asked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up = resolves_to(monkeypatch, "::1", "127.0.0.2", "127.0.0.1")

    async def act(provider: OpenAICompatibleProvider) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(provider.complete(REQUEST))

    with ScriptedEndpoint() as server:
        use(server.base_url.replace("127.0.0.1", "models.localhost"), act)
        assert server.num_connections == 20
        assert server.requests[0].headers["host"].startswith("models.localhost:")
    assert looked_up == ["models.localhost"]


def test_name_without_an_address_that_answers_is_a_connect_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolves_to(monkeypatch, "127.0.0.2", "127.0.0.3")
    with pytest.raises(ConnectError, match="refused"):
        use("http://models.localhost:9/v1", text_of)


# --- leaving


def test_five_thousand_early_ends_at_a_slow_server_leave_a_whole_pool(run: Run[None]) -> None:
    async def leave_early(provider: OpenAICompatibleProvider, wave: int) -> None:
        tasks = [asyncio.create_task(text_of(provider)) for _ in range(40)]
        tasks += [asyncio.create_task(first_chunk(provider)) for _ in range(10)]
        await asyncio.sleep(0.001 * (wave % 10))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def scenario(server: ScriptedEndpoint) -> None:
        num_sockets = count_sockets()
        async with OpenAICompatibleProvider(
            endpoint_at(server.base_url, max_concurrency=20)
        ) as provider:
            for wave in range(100):
                await leave_early(provider, wave)
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(text_of(provider))
            async with asyncio.timeout(10):  # both ends are in this process
                while count_sockets() - num_sockets > 2 * 20:
                    await asyncio.sleep(0.01)

    def answer_late(request: Any) -> Reply:
        return chat_reply("late", head_delay_s=0.004)

    with ScriptedEndpoint(answer_late) as server:
        run(scenario(server))


async def first_chunk(provider: OpenAICompatibleProvider) -> str:
    return await anext(chunk.text async for chunk in provider.stream(REQUEST))


def count_sockets() -> int:
    num = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            num += "socket" in os.readlink(f"/proc/self/fd/{name}")
    return num


def test_provider_is_left_at_once_with_requests_out_and_connections_idle(run: Run[None]) -> None:
    async def behaviour(peer: Peer, number: int) -> None:
        await peer.request()
        if number == 1:
            await peer.send(raw_answer("first"))
        await peer.left()

    async def scenario() -> None:
        async with asked(behaviour) as (provider, _):
            await text_of(provider)
            tasks = [asyncio.create_task(text_of(provider)) for _ in range(3)]
            await asyncio.sleep(0.05)
            started = time.perf_counter()
            await provider.__aexit__()
            assert time.perf_counter() - started < 2  # nobody answers, or leaves, before that
            for task in tasks:
                with pytest.raises(ProviderError, match="closed"):
                    await task

    run(scenario())
