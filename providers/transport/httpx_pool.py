"""httpx2's connections within our limits, with our errors: for TLS by OpenSSL, and for the SDK.

httpx2 and not httpx: of httpx 0.28 a cancelled request takes its place in the pool with it, and the
SDK has moved on, too. httpx2 bounds neither a drip nor a body, waits for a place where there are
limits, and lets errors of TLS through as they are. Here a deadline bounds the exchange, the number
of connections has no bound of its own (whoever sends bounds what is in flight), and idle ones end
before the server ends them. What is raised holds no request, and so no key.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import httpx2

from weave_async.errors import ProviderError

from . import faults
from .connection import SOCKET_OPTIONS
from .faults import Fault, Faults
from .interface import WholeReply

T = TypeVar("T")

_OF_THE_MOMENT = ("EOF", "INTERNAL_ERROR", "USER_CANCELLED")
"""In the reason of an error of TLS: the handshake was cut short, and another may do."""


class HttpxPool:
    """Enter it on the loop that it is to be used on."""

    def __init__(self, faults: Faults, *, tls: ssl.SSLContext, proxy: str | None) -> None:
        limits = faults.limits
        self.faults = faults
        self.is_closed = False
        self._waiting: set[asyncio.Timeout] = set()
        self._timeouts = {
            "connect": limits.connect_timeout_s,
            "read": limits.timeout_s,
            "write": limits.timeout_s,
        }
        self._inner = httpx2.AsyncHTTPTransport(
            verify=tls,
            trust_env=False,
            proxy=proxy,
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=limits.max_idle,
                keepalive_expiry=limits.idle_s,
            ),
            socket_options=SOCKET_OPTIONS,
        )

    async def begin(self, request: httpx2.Request) -> Exchange:
        """The exchange as its head is here. Close it."""
        url = str(request.url)
        if self.is_closed:
            raise self.faults.error(faults.LEFT, url)
        deadline = asyncio.get_running_loop().time() + self.faults.limits.deadline_s
        request.extensions = {**request.extensions, "timeout": self._timeouts}
        sent = self._inner.handle_async_request(request)
        response = await self.within(deadline, sent, url, has_head=False)
        return Exchange(self, response, url, deadline)

    async def close(self) -> None:
        self.is_closed = True
        now = asyncio.get_running_loop().time()
        for limit in tuple(self._waiting):
            if not limit.expired():
                limit.reschedule(now)
        await self._inner.aclose()

    async def within(
        self, deadline: float, awaited: Awaitable[T], url: str, *, has_head: bool
    ) -> T:
        """What ``awaited`` gives, if it does so in time; else the ``ProviderError`` that it is."""
        try:
            async with asyncio.timeout_at(deadline) as limit:
                with self._listed(limit):
                    return await awaited
        except (TimeoutError, httpx2.TransportError, ssl.SSLError) as exc:
            raise self._error(exc, url, has_head=has_head) from exc

    @contextmanager
    def _listed(self, limit: asyncio.Timeout) -> Iterator[None]:
        self._waiting.add(limit)
        try:
            yield
        finally:
            self._waiting.discard(limit)

    def _error(self, exc: Exception, url: str, *, has_head: bool) -> ProviderError:
        if self.is_closed:
            return self.faults.error(faults.LEFT, url)
        if isinstance(exc, TimeoutError):
            return self.faults.error(faults.LATE, url)
        cause = _cause(exc)
        fault = _tls_fault(exc, cause) or _fault(exc, has_head=has_head)
        return self.faults.error(fault, url, _reason(exc, cause))


class Exchange:
    """A response whose body is still coming, and the time that is left for it."""

    def __init__(
        self, pool: HttpxPool, response: httpx2.Response, url: str, deadline: float
    ) -> None:
        self.status = response.status_code
        self.response = response
        self._pool = pool
        self._url = url
        self._deadline = deadline
        # Cast: httpx2 types what is a generator as no more than an iterable.
        self._pieces = cast("AsyncGenerator[bytes, None]", aiter(response.stream))  # type: ignore[arg-type]

    def header(self, name: str) -> str | None:
        return ascii_header(self.response, name)

    async def piece(self) -> bytes:
        next_piece = anext(self._pieces, b"")
        return await self._pool.within(self._deadline, next_piece, self._url, has_head=True)

    async def whole(self) -> WholeReply:
        limit = self._pool.faults.limits.of_body(self.status)
        body = bytearray()
        while len(body) <= limit and (piece := await self.piece()):
            body += piece
        return WholeReply(self.status, self.header, memoryview(body))

    async def close(self) -> None:
        """Hang up, unless all of the body has been read."""
        await self._pieces.aclose()
        await self.response.stream.aclose()  # type: ignore[union-attr]


def ascii_header(response: httpx2.Response, name: str) -> str | None:
    """A header that is text; ``name`` is in lower case."""
    wanted = name.encode()
    value = next((value for key, value in response.headers.raw if key.lower() == wanted), b"\xff")
    return value.decode() if value.isascii() else None


def _fault(exc: Exception, *, has_head: bool) -> Fault:
    if isinstance(exc, httpx2.ConnectTimeout):
        return faults.SLOW_CONNECT
    if isinstance(exc, (httpx2.ConnectError, httpx2.ProxyError)):
        return faults.CANNOT_CONNECT
    if isinstance(exc, httpx2.TimeoutException):
        return faults.SILENT
    if has_head:
        return faults.CUT_SHORT
    is_garbage = isinstance(exc, httpx2.ProtocolError) and "disconnected" not in str(exc)
    return faults.NOT_HTTP if is_garbage else faults.HUNG_UP


def _tls_fault(exc: Exception, cause: BaseException) -> Fault | None:
    """Another try does not mend it; a server may refuse our certificate only after its handshake.

    A connection that ends in the middle of TLS is no error of TLS.
    """
    if not isinstance(cause, ssl.SSLError):
        return None
    reason = (cause.reason or "").upper()
    if not any(sign in reason for sign in _OF_THE_MOMENT):
        return faults.NO_TLS
    return faults.CANNOT_CONNECT if isinstance(exc, httpx2.ConnectError) else faults.HUNG_UP


def _cause(exc: BaseException) -> BaseException:
    """What the system or OpenSSL said, below what anyio, httpcore2 and httpx2 made of it."""
    lowest = exc
    while (below := lowest.__cause__ or lowest.__context__) is not None:
        lowest = below.exceptions[0] if isinstance(below, BaseExceptionGroup) else below
        if isinstance(lowest, ssl.SSLError):
            break
    return lowest


def _reason(exc: Exception, cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLError):
        told = getattr(cause, "verify_message", "") or (cause.reason or "").replace("_", " ")
        return str(told) or str(cause)
    if isinstance(cause, OSError) and cause.errno:
        return str(cause.strerror) if cause.errno < 0 else os.strerror(cause.errno)
    return str(exc)
