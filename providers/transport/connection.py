"""One TCP connection that carries one HTTP/1.1 exchange at a time."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from typing import cast

from . import faults
from .faults import Fault
from .interface import Limits
from .response_reader import MalformedResponse, ResponseReader

MAX_UNREAD_BYTES = 256 * 1024
"""A stream whose reader lags behind by more is left in the socket, and so slows the server."""

SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]


STALE_WITHIN_S = 1.0
"""How soon after a request its connection ends, if the server had closed it before."""


class Broken(Exception):
    """The exchange is over without a response, and so is the connection."""

    def __init__(self, fault: Fault, why: str = "") -> None:
        super().__init__(fault, why)
        self.fault = fault
        self.why = why


class Connection(asyncio.Protocol):
    """``begin`` an exchange, wait for ``progress`` until the reader has what you want, ``end`` it.

    All waits are bounded by one timer, which is set once and looks, when it goes off, how much
    later the limit has become meanwhile: an exchange sets none of its own. That needs the same
    limits for all of them.
    """

    __slots__ = (
        "_broken",
        "_deadline",
        "_has_heard",
        "_heard_at",
        "_is_paused",
        "_is_streamed",
        "_limits",
        "_loop",
        "_num_taken_bytes",
        "_on_lost",
        "_poll",
        "_timer",
        "_transport",
        "_waiter",
        "idle_since",
        "is_lost",
        "reader",
    )

    def __init__(self, limits: Limits, on_lost: Callable[[Connection], None]) -> None:
        self.reader: ResponseReader | None = None
        self.idle_since = 0.0
        self.is_lost = False
        self._limits = limits
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._broken: Broken | None = None
        self._deadline = self._heard_at = 0.0
        self._num_taken_bytes = 0
        self._has_heard = self._is_streamed = self._is_paused = False

    def __repr__(self) -> str:
        state = "broken" if self._broken else "busy" if self.reader else "idle"
        return f"<Connection {state}>"

    # --- the exchange

    def begin(self, request: bytes, deadline: float, *, streamed: bool) -> ResponseReader:
        """Send ``request``, and read on meanwhile: a server may answer before it has all of it."""
        self.reader = reader = ResponseReader()
        self._is_streamed = streamed
        self._has_heard = False
        self._num_taken_bytes = 0
        self._deadline = deadline
        self._heard_at = self._loop.time()
        if self._broken is None and self._transport is not None:
            self._transport.write(request)
            if self._timer is None:
                self._set_timer()
        return reader

    async def progress(self) -> None:
        """Wait for the whole response, or more of it than its limit; if it is streamed, for its
        head or a piece of its body. Not to be called when that is there already.

        Raises ``Broken``.
        """
        if self._broken is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._broken is not None:
            raise self._broken

    def has_enough(self, reader: ResponseReader) -> bool:
        """Whether the response is whole, or larger than anybody wants to know."""
        return reader.is_complete or reader.num_body_bytes > self._limits.of_body(reader.status)

    def want_whole(self) -> None:
        """From here on nothing is streamed."""
        self._is_streamed = False
        self._resume()

    def take_pieces(self, reader: ResponseReader) -> bytes:
        """What has come of a streamed body since the last time."""
        data = reader.body
        reader.pieces.clear()
        self._num_taken_bytes = reader.num_body_bytes
        self._resume()
        return data

    def end(self) -> bool:
        """The exchange is over, or given up; whether the connection can carry another one."""
        reader, self.reader = self.reader, None
        transport = self._transport
        if (
            reader is not None
            and reader.is_complete
            and reader.can_go_on
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()  # it was answered before it was all sent
        ):
            self._resume()
            self.idle_since = self._loop.time()
            return True
        self.hang_up()
        return False

    # --- the connection

    @property
    def is_quiet(self) -> bool:
        """Whether an idle connection is open, and the server has not said a word unasked.

        The socket itself is asked: the loop may not have come round yet to what it holds.
        """
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._poll.poll(0)

    @property
    def was_stale(self) -> bool:
        """Whether the server closed the connection before it can have begun on the request.

        One that hangs up later may have worked on it, and is not to be asked again uncounted.
        """
        return (
            self._broken is not None
            and self._broken.fault is faults.HUNG_UP
            and not self._has_heard
            and self._loop.time() - self._heard_at < STALE_WITHIN_S
        )

    def break_off(self, fault: Fault, why: str = "") -> None:
        """Hang up; whoever waits for progress meets this fault, unless there was one before."""
        if self._broken is None:
            self._broken = Broken(fault, why)
        self.hang_up()
        self._wake()

    def hang_up(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # --- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        ours = transport.get_extra_info("socket")
        for option in SOCKET_OPTIONS:
            ours.setsockopt(*option)
        self._poll.register(ours.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        if reader is None:
            self.break_off(faults.NOT_HTTP, "it speaks without being asked")
            return
        self._has_heard = True
        self._heard_at = self._loop.time()
        try:
            reader.feed(data)
        except MalformedResponse as exc:
            self.break_off(faults.NOT_HTTP, str(exc))
            return
        if self._is_streamed:
            if reader.has_head:
                self._wake()
            if reader.num_body_bytes - self._num_taken_bytes > MAX_UNREAD_BYTES:
                self._pause()
        elif self.has_enough(reader):
            self._wake()

    def eof_received(self) -> None:
        if self.reader is not None and self._broken is None:
            self.reader.end()
        self._ended("the connection was closed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._ended(str(exc or "the connection was closed"))
        self._on_lost(self)

    # --- parts

    def _ended(self, why: str) -> None:
        reader = self.reader
        if reader is not None and reader.is_complete:
            self.hang_up()
            self._wake()
        else:
            has_head = reader is not None and reader.has_head
            self.break_off(faults.CUT_SHORT if has_head else faults.HUNG_UP, why)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._heard_at = self._loop.time()
            self._transport.resume_reading()

    def _set_timer(self) -> None:
        due = min(self._deadline, self._heard_at + self._limits.timeout_s)
        self._timer = self._loop.call_at(due, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self.reader is None or self.reader.is_complete:
            return  # the next exchange sets it again
        if self._is_paused:
            self._heard_at = now  # it is us who do not listen
        if now >= self._deadline:
            self.break_off(faults.LATE)
        elif now - self._heard_at >= self._limits.timeout_s:
            self.break_off(faults.SILENT)
        else:
            self._set_timer()
