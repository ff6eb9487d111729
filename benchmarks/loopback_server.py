"""A chat endpoint on loopback that is quicker than any client: what remains is the client's cost.

    python benchmarks/loopback_server.py [--latency-ms 500] [--rpm 600] [--error-rate 0.01]

It prints its port and its event loop as a line of JSON, and serves until its standard input ends.
``POST /v1/chat/completions`` gets the same 1.2 KB answer each time, ``GET /v1/models`` a list, and
``GET /stats`` what it saw, by the monotonic clock that all processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil
from typing import cast

from weave_async.cli.loop import run_in_loop

TAIL_FACTOR = 10
BURST_S = 1.0
BACKLOG = 4096
HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Stats:
    """Counts of chat requests. Times are ``time.monotonic()``; ``cpu_s`` is this process's own."""

    answered: int = 0
    refused: int = 0
    failed: int = 0
    connections: int = 0
    first_request_s: float | None = None
    last_request_s: float | None = None
    last_answer_s: float | None = None
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """``tail`` is the share of answers that take ten times the latency."""

    latency_s: float = 0.0
    tail: float = 0.0
    error_rate: float = 0.0
    requests_per_minute: float | None = None
    seed: int = 7


class Bucket:
    """Grants ``rate_per_s``, with a burst of one second."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._capacity = self._grants = max(1.0, rate_per_s * BURST_S)
        self._filled_at_s = time.monotonic()

    def take(self, now_s: float) -> float:
        """0 where granted, else the seconds until the next grant."""
        earned = (now_s - self._filled_at_s) * self._rate_per_s
        self._grants = min(self._capacity, self._grants + earned)
        self._filled_at_s = now_s
        if self._grants < 1:
            return (1 - self._grants) / self._rate_per_s
        self._grants -= 1
        return 0.0


class Endpoint:
    """What all connections share: the behaviour asked for, and what was seen."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.stats = Stats()
        self._behaviour = behaviour
        rpm = behaviour.requests_per_minute
        self._bucket = None if rpm is None else Bucket(rpm / 60)
        self._random = random.Random(behaviour.seed)
        self._is_even = not (behaviour.tail or behaviour.error_rate or rpm)

    def answer(self, request_line: bytes) -> tuple[bytes, float]:
        """The whole reply, and how long to keep it back."""
        if request_line.startswith(b"POST /v1/chat/completions "):
            return self._chat()
        if request_line.startswith(b"GET /v1/models "):
            return MODELS, 0.0
        if request_line.startswith(b"GET /stats "):
            self.stats.cpu_s = time.process_time()
            return reply(200, asdict(self.stats)), 0.0
        return reply(404, error("not_found", "no such path")), 0.0

    def _chat(self) -> tuple[bytes, float]:
        stats, behaviour = self.stats, self._behaviour
        stats.last_request_s = now_s = time.monotonic()
        if stats.first_request_s is None:
            stats.first_request_s = now_s
        if self._is_even:
            stats.answered += 1
            return COMPLETION, behaviour.latency_s
        if self._bucket is not None and (wait_s := self._bucket.take(now_s)):
            stats.refused += 1
            body = error("rate_limit_exceeded", "too many requests")
            return reply(429, body, f"Retry-After: {ceil(wait_s)}\r\n"), 0.0
        slowness = TAIL_FACTOR if self._random.random() < behaviour.tail else 1
        latency_s = behaviour.latency_s * slowness
        if self._random.random() < behaviour.error_rate:
            stats.failed += 1
            return reply(500, error("server_error", "asked to fail")), latency_s
        stats.answered += 1
        return COMPLETION, latency_s


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; requests may come in pieces or several at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._due: deque[bytes] = deque()
        self._last_due_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._endpoint.stats.connections += 1

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        while received and (end := request_end(received)):
            self._answer(received)
            received = received[end:]
        self._received = received

    def _answer(self, request: bytes) -> None:
        answer, latency_s = self._endpoint.answer(request[:64])
        if not latency_s and not self._due:
            self._write(answer)
            return
        # Replies leave in the order of their requests, however long each was to take.
        now_s = self._loop.time()
        self._last_due_s = max(now_s + latency_s, self._last_due_s)
        self._due.append(answer)
        self._loop.call_later(self._last_due_s - now_s, self._write_next)

    def _write_next(self) -> None:
        self._write(self._due.popleft())

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)
            self._endpoint.stats.last_answer_s = time.monotonic()


def request_end(received: bytes) -> int:
    """Where the first request in ``received`` ends; 0 while a part of it is missing."""
    head_end = received.find(HEAD_END)
    if head_end < 0:
        return 0
    end = head_end + len(HEAD_END)
    head = received[:end].lower()
    if (at := head.find(b"\r\ncontent-length:")) >= 0:
        at += len(b"\r\ncontent-length:")
        end += int(head[at : head.index(b"\r\n", at)])
    return end if len(received) >= end else 0


def reply(status: int, body: object, headers: str = "") -> bytes:
    encoded = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(encoded)}\r\n\r\n".encode() + encoded


def error(code: str, message: str) -> dict[str, object]:
    return {"error": {"message": message, "type": code, "param": None, "code": code}}


REASONS = {200: "OK", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}
TEXT = (
    "To dispute a card payment, open the app, choose the payment and tap 'Report a problem'. "
    "You will be asked what happened and whether you still have the card. If it is lost or stolen, "
    "freeze it first: that takes effect at once and can be undone. We look into each dispute "
    "within ten working days and tell you by e-mail what we found. Meanwhile the amount is put "
    "back into your account; should the payment turn out to be yours, it is taken back. "
)
MODELS = reply(200, {"object": "list", "data": [{"id": "m", "object": "model", "created": 1}]})
COMPLETION = reply(
    200,
    {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion",
        "created": 1795000000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": TEXT + TEXT[:230],
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 31,
            "completion_tokens": 154,
            "total_tokens": 185,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": None,
    },
)


async def serve(behaviour: Behaviour, port: int) -> None:
    """Until standard input ends: with the process that holds its other end, however that ended."""
    loop = asyncio.get_running_loop()
    endpoint = Endpoint(behaviour)
    server = await loop.create_server(
        partial(Connection, endpoint), "127.0.0.1", port, backlog=BACKLOG
    )
    address = server.sockets[0].getsockname()
    print(json.dumps({"port": address[1], "loop": type(loop).__module__}), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, lambda: None if os.read(sys.stdin.fileno(), 64) else ended.set())
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--tail", type=float, default=0, help="share of answers 10 × as late")
    parser.add_argument("--error-rate", type=float, default=0, help="share of answers that are 500")
    parser.add_argument("--rpm", type=float, help="requests per minute; 429 above that")
    given = parser.parse_args()
    behaviour = Behaviour(given.latency_ms / 1000, given.tail, given.error_rate, given.rpm)
    run_in_loop(serve(behaviour, given.port))


if __name__ == "__main__":
    main()
