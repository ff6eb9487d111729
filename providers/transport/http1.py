"""The transport for plain http: HTTP/1.1 on the running event loop, without a thread of its own.

It costs some 10 µs of CPU a request, where a transport in another thread costs three times that and
contends with our loop besides. A cancelled exchange hangs up at once. A connection is used again
only when all of a response was read and nothing else; one that turns out to have been closed by the
server while it was idle is replaced at once, uncounted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from pyreqwest.http import Url

from . import faults
from .connection import Broken, Connection
from .connector import Connector
from .faults import Faults
from .response_reader import ResponseReader


class Http1Transport:
    """Enter it on the loop that it is to be used on. As many connections as exchanges, at most."""

    def __init__(self, base_url: str, headers: Mapping[str, str], faults: Faults) -> None:
        url = Url(base_url)  # normalised: the host in ASCII, the path percent-encoded
        port = url.port_or_known_default
        self._faults = faults
        self._limits = faults.limits
        self._loop = asyncio.get_running_loop()
        self._connector = Connector((url.host_str or "").strip("[]"), port or 80, self._limits)
        host = url.host_str or ""
        lines = {"host": f"{host}:{url.port}" if url.port else host, "accept": "*/*", **headers}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._heads: dict[str, bytes] = {}
        self._idle: list[Connection] = []  # the one used last stands last
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Http1Transport {len(self._open)} open, {len(self._idle)} idle>"

    async def fetch(
        self, url: str, body: bytes | None, attempt_id: str | None = None
    ) -> ResponseReader:
        request = self._rendered(url, body, attempt_id)
        try:
            connection, reader = await self._exchange(request, streamed=False)
        except Broken as exc:
            raise self._faults.error(exc.fault, url, exc.why) from exc
        self._release(connection)
        return reader

    @asynccontextmanager
    async def open(
        self, url: str, body: bytes, attempt_id: str | None = None
    ) -> AsyncIterator[OpenHttp1Reply]:
        request = self._rendered(url, body, attempt_id)
        try:
            connection, reader = await self._exchange(request, streamed=True)
        except Broken as exc:
            raise self._faults.error(exc.fault, url, exc.why) from exc
        try:
            yield OpenHttp1Reply(connection, reader, url, self._faults)
        finally:
            self._release(connection)

    async def close(self) -> None:
        self._closed = self._loop.create_future()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in tuple(self._open):
            connection.break_off(faults.LEFT)
        if self._open:
            await self._closed  # the loop closes sockets on its next rounds

    # --- one exchange

    def _rendered(self, url: str, body: bytes | None, attempt_id: str | None) -> bytes:
        """The whole request; all of its head but the length is made once for each address."""
        head = self._heads.get(url)
        if head is None:
            method = "GET" if body is None else "POST"
            head = f"{method} {Url(url).path} HTTP/1.1\r\n{self._headers}".encode()
            self._heads[url] = head
        if body is None:
            return head + b"\r\n"
        if attempt_id:
            head += b"x-client-request-id: %b\r\n" % attempt_id.encode()
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    async def _connect(self) -> Connection:
        connection = await self._connector.connect(lambda: Connection(self._limits, self._lost))
        if self._closed is not None:
            connection.hang_up()
            raise Broken(faults.LEFT)
        if not connection.is_lost:
            self._open.add(connection)  # not sooner: uvloop never loses what was cancelled
        return connection

    async def _exchange(
        self, request: bytes, *, streamed: bool
    ) -> tuple[Connection, ResponseReader]:
        """A connection with the response, or its head. Raises ``Broken``."""
        deadline = self._loop.time() + self._limits.deadline_s
        connection = self._idle_connection()
        if connection is not None:
            try:
                return connection, await self._ask(connection, request, deadline, streamed=streamed)
            except Broken:
                if not connection.was_stale:
                    raise
        connection = await self._connect()
        return connection, await self._ask(connection, request, deadline, streamed=streamed)

    async def _ask(
        self, connection: Connection, request: bytes, deadline: float, *, streamed: bool
    ) -> ResponseReader:
        reader = connection.begin(request, deadline, streamed=streamed)
        try:
            await connection.progress()
        except BaseException:  # cancelled, too: the server is to stop working on it
            connection.hang_up()
            raise
        return reader

    # --- the pool

    def _idle_connection(self) -> Connection | None:
        """The one used last: the others can grow old, and be closed."""
        oldest = self._loop.time() - self._limits.idle_s
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since > oldest and connection.is_quiet:
                return connection
            connection.hang_up()
        return None

    def _release(self, connection: Connection) -> None:
        if not connection.end():
            return
        if len(self._idle) >= self._limits.max_idle or self._closed is not None:
            connection.hang_up()
            return
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._limits.idle_s, self._close_idle)

    def _close_idle(self) -> None:
        now = self._loop.time()
        while self._idle and now - self._idle[0].idle_since >= self._limits.idle_s:
            self._idle.pop(0).hang_up()
        self._sweep = None
        if self._idle:
            due = self._idle[0].idle_since + self._limits.idle_s
            self._sweep = self._loop.call_at(due, self._close_idle)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._closed is not None and not self._open and not self._closed.done():
            self._closed.set_result(None)


class OpenHttp1Reply:
    """Of a response whose body is read by pieces."""

    def __init__(
        self, connection: Connection, reader: ResponseReader, url: str, faults: Faults
    ) -> None:
        self.status = reader.status
        self.header = reader.header
        self._connection = connection
        self._reader = reader
        self._url = url
        self._faults = faults

    async def piece(self) -> bytes:
        while not self._reader.pieces and not self._reader.is_complete:
            await self._progress()
        return self._connection.take_pieces(self._reader)

    async def whole(self) -> ResponseReader:
        self._connection.want_whole()
        while not self._connection.has_enough(self._reader):
            await self._progress()
        return self._reader

    async def _progress(self) -> None:
        try:
            await self._connection.progress()
        except Broken as exc:
            raise self._faults.error(exc.fault, self._url, exc.why) from exc
