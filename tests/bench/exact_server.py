"""A server whose timing is exact, and which tells when each byte left: what a benchmark is held to.

As a program it serves on a free port, says which as a line of JSON, and ends with its parent's
pipe. ``GET /log`` returns, for each request so far, when it arrived and when its chunks were
written, on the machine's monotonic clock.

Timers are absolute: chunk *i* leaves at arrival + TTFT + i × ITL, however late the one before was.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

try:
    import uvloop
except ImportError:
    uvloop = None

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@dataclass
class Options:
    """``tokens`` leave as ``tokens // tokens_per_chunk`` chunks. Of ``slots``, each serves one
    request at a time; others wait their turn. Between the two times of ``freeze_s``, counted from
    the first request, nothing happens at all. ``dies_after`` requests the process ends.
    """

    ttft_s: float = 0.1
    itl_s: float = 0.01
    tokens: int = 64
    tokens_per_chunk: int = 1
    slots: int | None = None
    freeze_s: tuple[float, float] | None = None
    streams: bool = True
    refuses: int | None = None
    dies_after: int | None = None
    has_usage: bool = True


@dataclass
class Timing:
    """One request: its ``x-client-request-id``, and when what happened, by the monotonic clock."""

    name: str
    arrived_s: float
    written_s: list[float] = field(default_factory=list)


class Server:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.log: list[Timing] = []
        self.num_connections = 0
        self.num_running = 0
        self.waiting: deque[Connection] = deque()
        self.first_s: float | None = None
        self._due: list[tuple[float, int, Connection]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    # One timer for all: thousands of them would cost more than the writing.
    def at(self, when_s: float, connection: Connection) -> None:
        self._number += 1
        heapq.heappush(self._due, (when_s, self._number, connection))
        if self._due[0][1] == self._number:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        delay_s = max(0.0, self._due[0][0] - time.monotonic())
        self._timer = loop.call_later(delay_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._freeze()
        while self._due and self._due[0][0] <= time.monotonic() + 0.0002:
            heapq.heappop(self._due)[2].next_chunk()
        if self._due and self._timer is None:
            self._arm()

    def _freeze(self) -> None:
        if self.options.freeze_s is None or self.first_s is None:
            return
        begin_s, end_s = (self.first_s + at_s for at_s in self.options.freeze_s)
        if begin_s <= time.monotonic() < end_s:
            time.sleep(end_s - time.monotonic())

    def came(self, connection: Connection) -> None:
        self.first_s = self.first_s or time.monotonic()
        self._freeze()
        if self.options.slots is not None and self.num_running >= self.options.slots:
            self.waiting.append(connection)
            return
        self.num_running += 1
        connection.begin()

    def done(self) -> None:
        self.num_running -= 1
        if self.waiting:
            self.num_running += 1
            self.waiting.popleft().begin()


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server
        self._unread = b""
        self._chunk = 0
        self._begun_s = 0.0
        self._is_busy = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.num_connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_busy:
            self._is_busy = False
            self.server.done()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, separator, body = self._unread.partition(b"\r\n\r\n")
        if not separator:
            return
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        length = int(fields.get(b"content-length", 0))
        if len(body) < length:
            return
        self._unread = body[length:]
        self._answer(head.split(b" ", 2)[1].decode(), fields, body[:length])

    def _answer(self, path: str, fields: dict[bytes, bytes], body: bytes) -> None:
        server = self.server
        if path == "/log":
            told = {
                "connections": server.num_connections,
                "requests": [asdict(timing) for timing in server.log],
            }
            self._reply(json.dumps(told).encode())
        elif path.endswith("/models"):
            self._reply(b'{"object": "list", "data": [{"id": "exact", "object": "model"}]}')
        elif server.options.refuses is not None:
            self._reply(b'{"error": {"message": "no"}}', server.options.refuses)
        else:
            name = fields.get(b"x-client-request-id", b"").decode()
            self.timing = Timing(name, time.monotonic())
            server.log.append(self.timing)
            if (
                server.options.dies_after is not None
                and len(server.log) > server.options.dies_after
            ):
                sys.exit(1)
            self._streamed = bool(json.loads(body).get("stream")) and server.options.streams
            server.came(self)

    def _reply(self, body: bytes, status: int = 200) -> None:
        head = f"HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def begin(self) -> None:
        options, self._chunk, self._is_busy = self.server.options, 0, True
        self._begun_s = max(self.timing.arrived_s, time.monotonic() - 0.001)
        if not self._streamed:
            last = options.tokens // options.tokens_per_chunk - 1
            self._chunk = last
        self._schedule()

    def _schedule(self) -> None:
        options = self.server.options
        due_s = self._begun_s + options.ttft_s
        due_s += self._chunk * options.itl_s * options.tokens_per_chunk
        if due_s <= time.monotonic():
            self.next_chunk()
        else:
            self.server.at(due_s, self)

    def next_chunk(self) -> None:
        if not self._is_busy:
            return  # whoever asked has left
        options = self.server.options
        if not self._streamed:
            self._whole()
            return
        num_chunks = options.tokens // options.tokens_per_chunk
        pieces = [HEAD] if self._chunk == 0 else []
        while True:
            pieces.append(_event({"content": " tok" * options.tokens_per_chunk}))
            self.timing.written_s.append(time.monotonic())
            self._chunk += 1
            if options.itl_s or self._chunk == num_chunks:
                break
        if self._chunk == num_chunks:
            pieces.append(_event({}, "stop"))
            if options.has_usage:
                pieces.append(_usage(options.tokens))
            pieces += [_framed(b"data: [DONE]\n\n"), END]
        self.transport.write(b"".join(pieces))
        if self._chunk == num_chunks:
            self._is_busy = False
            self.server.done()
        else:
            self._schedule()

    def _whole(self) -> None:
        options = self.server.options
        answer = {
            "id": "exact",
            "object": "chat.completion",
            "model": "exact",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": " tok" * options.tokens},
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": options.tokens},
        }
        self.timing.written_s.append(time.monotonic())
        self._reply(json.dumps(answer).encode())
        self._is_busy = False
        self.server.done()


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _framed(_data({"choices": [choice]}))


def _usage(tokens: int) -> bytes:
    usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
    return _framed(_data({"choices": [], "usage": usage}))


def _data(document: dict[str, Any]) -> bytes:
    whole = {"id": "exact", "object": "chat.completion.chunk", "model": "exact", **document}
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


def _framed(event: bytes) -> bytes:
    return f"{len(event):x}\r\n".encode() + event + b"\r\n"


async def serve(options: Options) -> None:
    loop = asyncio.get_running_loop()
    server = Server(options)
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=2048)
    port = listening.sockets[0].getsockname()[1]
    print(json.dumps({"base_url": f"http://127.0.0.1:{port}/v1"}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until our parent ends


def main() -> None:
    options = Options(**json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
    factory = None if uvloop is None else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(options))


if __name__ == "__main__":
    main()
