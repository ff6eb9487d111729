"""Whatever a client sends, the server answers it or says what is wrong with it, and stays as it is.

In process, over an engine that has its answer ready.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp, Message

from .fake_engine import FakeEngine
from .hostile import CHAT, COMPLETION, hostile_body
from .in_process import RUST, make_app

PATHS: dict[str, dict[str, Any]] = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETION}


async def post(app: ASGIApp, path: str, body: bytes) -> tuple[int, bytes]:
    sent: list[Message] = []
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def send_bodies(num_bodies: int, seed: int) -> Counter[int]:
    engine = FakeEngine(answer=RUST.encode("bé!").ids)
    app = make_app(engine)
    rng = random.Random(seed)
    statuses: Counter[int] = Counter()
    before = 0
    for number in range(num_bodies):
        path, plain = rng.choice(list(PATHS.items()))
        body = hostile_body(rng, plain)
        status, answer = await post(app, path, body)
        statuses[status] += 1
        assert status in (200, 400, 404), (path, body, answer)
        if status != 200:
            error = orjson.loads(answer)["error"]
            assert error["code"]
            assert error["type"] == "invalid_request_error"
            assert len(answer) < 2000
        engine.generations.clear()
        if number == num_bodies // 4:
            before = resident_bytes()
    assert engine.num_open == 0
    assert resident_bytes() - before < 16 * 1024 * 1024
    return statuses


def test_hostile_bodies_are_understood_or_refused() -> None:
    statuses = asyncio.run(send_bodies(2_000, seed=1))
    assert statuses[200] > 100
    assert statuses[400] > 100


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_hostile_bodies_leave_the_server_as_it_was() -> None:
    asyncio.run(send_bodies(100_000, seed=2))
