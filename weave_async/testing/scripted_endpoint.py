"""A real HTTP server on loopback that answers from a script: the provider test double.

::

    def test_a_429_carries_its_wait():
        with ScriptedEndpoint([error_reply(429, headers={"retry-after": "7"})]) as endpoint:
            provider = MyProvider(Endpoint("test", "mine", "m", base_url=endpoint.base_url))
            ...
        assert len(endpoint.requests) == 1

It runs in a thread with a loop of its own, so a slow or broken reply slows nobody else. A script is
a list of replies, given in order of arrival, after which ``echo`` answers; or a function from the
request to a reply. ``echo`` is deterministic: the same request, the same answer, streamed or not.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, cast

from .echo import echo
from .replies import (
    Framing,
    Piece,
    RecordedRequest,
    Reply,
    Script,
    chat_chunks,
    chat_completion,
    chat_reply,
    dripped,
    error_reply,
    json_reply,
    silence,
    sse_reply,
)
from .sending import reset_connection, send

__all__ = [
    "Framing",
    "Piece",
    "RecordedRequest",
    "Reply",
    "Script",
    "ScriptedEndpoint",
    "chat_chunks",
    "chat_completion",
    "chat_reply",
    "dripped",
    "echo",
    "error_reply",
    "json_reply",
    "reset_connection",
    "silence",
    "sse_reply",
]


class ScriptedEndpoint:
    """The server; a context manager. ``base_url`` ends in ``/v1``, ``requests`` is its log.

    Name the ``port`` of an earlier one to be that one again, after an outage.
    """

    def __init__(
        self,
        script: Script = echo,
        *,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.requests: list[RecordedRequest] = []
        self.num_connections = 0
        self.num_open_connections = 0
        self._script = script if callable(script) else _in_order(script)
        self._ssl_context = ssl_context
        self._port = port
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._conversations: set[asyncio.Task[None]] = set()
        self._untouched: set[socket.socket] = set()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scripted-endpoint", daemon=True)

    def __repr__(self) -> str:
        return f"<ScriptedEndpoint {self.base_url} {len(self.requests)} requests>"

    @property
    def base_url(self) -> str:
        scheme = "https" if self._ssl_context else "http"
        return f"{scheme}://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._loop is None:
            raise RuntimeError("the scripted endpoint did not start") from self._failure
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop at once, whatever is being answered. Raises what the script raised, if it did."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        if self._failure is not None and exc is None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as exc:  # shown to whoever enters or leaves
            self._failure = exc
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", self._port), backlog=1024) as listener:
            listener.setblocking(False)
            self._port = listener.getsockname()[1]
            self._loop = loop
            loop.add_reader(listener, self._accept, listener)
            self._ready.set()
            await self._stopping.wait()
            loop.remove_reader(listener)
        for task in self._conversations:
            task.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        for connection in self._untouched:
            connection.close()
        await asyncio.sleep(0)  # in which the transports that were ended let go of their sockets

    def _accept(self, listener: socket.socket) -> None:
        """Take all who wait. asyncio's own server forgets, as it ends, those it has just taken."""
        with suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                # asyncio does so for sockets of its own making: else a body waits 40 ms for an ACK.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.num_connections += 1
                self._untouched.add(connection)
                task = asyncio.create_task(self._serve_one(connection, self.num_connections))
                self._conversations.add(task)
                task.add_done_callback(self._conversations.discard)

    async def _serve_one(self, connection: socket.socket, number: int) -> None:
        self._untouched.discard(connection)  # from here on it is the transport's
        reader = asyncio.StreamReader()
        protocol = _Protocol(reader)
        loop = asyncio.get_running_loop()
        try:
            with suppress(OSError):  # a handshake that fails, or a peer that has gone
                transport, _ = await loop.connect_accepted_socket(
                    lambda: protocol, connection, ssl=self._ssl_context
                )
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
                await self._converse(reader, writer, number)
                await writer.wait_closed()
        finally:
            if protocol.transport is not None:
                protocol.transport.abort()  # whatever its peer has not read

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        """Answer one connection's requests in turn, until either side has had enough."""
        self.num_open_connections += 1
        early: bytes | None = b""
        try:
            while early is not None:
                request = await _read_request(reader, early, connection)
                self.requests.append(request)
                early = await _send_while_watched(self._script(request), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has left
        except Exception as exc:  # the script's own mistake; raised again on leaving
            self._failure = exc
        finally:
            self.num_open_connections -= 1
            writer.close()


class _Protocol(asyncio.StreamReaderProtocol):
    """Tells its transport also to whoever is cancelled just as the handshake ends."""

    transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)
        super().connection_made(transport)


async def _read_request(
    reader: asyncio.StreamReader, early: bytes, connection: int
) -> RecordedRequest:
    head = early + await reader.readuntil(b"\r\n\r\n")
    arrived_s = time.monotonic()
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return RecordedRequest(method, path, headers, body, arrived_s, connection)


async def _send_while_watched(
    reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes | None:
    """Send ``reply`` unless the client leaves first.

    Returns what came of the next request meanwhile; ``None`` when the connection is to end.
    """
    watching = asyncio.create_task(reader.read(1))
    sending = asyncio.create_task(send(reply, writer))
    try:
        await asyncio.wait({watching, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done() and watching.result() == b"":
            return None
        lives_on = await sending
        early = watching.result() if watching.done() else b""
        return early if lives_on else None
    finally:
        watching.cancel()
        sending.cancel()
        await asyncio.gather(watching, sending, return_exceptions=True)


def _in_order(replies: Sequence[Reply]) -> Callable[[RecordedRequest], Reply]:
    waiting = iter(replies)
    return lambda request: next(waiting, None) or echo(request)
