"""Clients that go away, and clients that must: over a real socket, with an engine that takes notes.

Nothing is generated here, so nothing but the client's leaving can end a request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from .fake_engine import FakeEngine, say
from .in_process import END_ID, chat_body, listening

CHAT = "/v1/chat/completions"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def open_request(client: httpx.AsyncClient, *, stream: bool) -> AsyncIterator[None]:
    """A raw connection with a request sent, which is dropped at the end."""
    request = client.build_request("POST", CHAT, json=chat_body(stream=stream, n=2))
    assert client.base_url.port is not None
    _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(request.content)}"
    writer.write(head.encode() + b"\r\n\r\n" + request.content)
    try:
        yield
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("running", [False, True])
def test_a_client_that_is_gone_is_cancelled_before_another_token(
    stream: bool, running: bool
) -> None:
    engine = FakeEngine()

    async def talk() -> None:
        async with listening(engine) as client:
            async with open_request(client, stream=stream):
                await until(lambda: len(engine.generations) == 2)
                if running:
                    say(engine.generations[0], [5])
                    await asyncio.sleep(0.02)
                assert not engine.cancelled
            await until(lambda: len(engine.cancelled) == 2)
            assert engine.num_open == 0
            metrics = (await client.get("/metrics")).text
            assert 'weave_async_requests_total{outcome="cancelled"} 2' in metrics

    asyncio.run(talk())


def test_a_stop_string_ends_the_generation_at_once() -> None:
    engine = FakeEngine()

    async def talk() -> None:
        async with listening(engine) as client:
            asking = asyncio.create_task(client.post(CHAT, json=chat_body(stop="!")))
            await engine.submitted.wait()
            say(engine.generations[0], engine.generations[0].request.prompt_ids)
            say(engine.generations[0], [2])  # "!"
            answer = await asking
            assert answer.json()["choices"][0]["message"]["content"] == "hello"
            assert engine.cancelled == engine.generations
            metrics = (await client.get("/metrics")).text
            assert 'weave_async_requests_total{outcome="stop"} 1' in metrics

    asyncio.run(talk())


def test_where_there_is_no_room_the_refusal_is_quick_and_says_when_to_return() -> None:
    engine = FakeEngine(max_sequences=12)

    async def talk() -> None:
        async with listening(engine) as client:
            # One sequence has taken 39 s, by its own account: the only pace known so far.
            asking = asyncio.create_task(client.post(CHAT, json=chat_body()))
            await until(lambda: len(engine.generations) == 1)
            engine.generations[0].submitted_s -= 39
            engine.generations[0].admitted_s = engine.generations[0].submitted_s
            say(engine.generations[0], [5, END_ID], ended=True)
            await asking
            engine.generations.clear()

            waiting = [asyncio.create_task(client.post(CHAT, json=chat_body())) for _ in range(12)]
            await until(lambda: engine.num_open == 12)
            for generation in engine.generations[:10]:
                say(generation, [5])
            waits_s = []
            for _ in range(50):
                began = time.monotonic()
                refused = await client.post(CHAT, json=chat_body())
                waits_s.append(time.monotonic() - began)
                assert refused.status_code == 429
            # 10 run and 2 wait, for 39 s each
            assert refused.headers["retry-after"] == "8"
            assert refused.json()["error"]["type"] == "rate_limit_error"
            assert sorted(waits_s)[len(waits_s) // 2] < 0.5
            for generation in engine.generations:
                say(generation, [END_ID], ended=True)
            assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
            metrics = (await client.get("/metrics")).text
            assert 'weave_async_request_errors_total{status="429"} 50' in metrics

    asyncio.run(talk())


def test_headers_without_end_are_refused() -> None:
    async def talk() -> None:
        async with listening(FakeEngine()) as client:
            # The connection may be closed on what the client still has to say.
            with suppress(httpx.TransportError):
                answer = await client.get("/v1/models", headers={"X-Long": "x" * 200_000})
                assert answer.status_code == 400
            assert (await client.get("/v1/models")).status_code == 200

    asyncio.run(talk())


def test_a_failed_engine_is_not_healthy() -> None:
    engine = FakeEngine()

    async def talk() -> None:
        async with listening(engine) as client:
            assert (await client.get("/health")).status_code == 200
            engine.failure = "out of memory"
            health = await client.get("/health")
            assert (health.status_code, health.json()["failure"]) == (503, "out of memory")
            assert "weave_async_engine_up 0" in (await client.get("/metrics")).text

    asyncio.run(talk())
