"""The transport for certificates named by files: httpx2 over OpenSSL.

It costs 0.5 ms of CPU a request with few in flight, and 2 ms with 256. pyreqwest reads such files,
too, at a tenth of that, but does not take a server's certificate that is its own authority
(``CaUsedAsEndEntity``), as those that people sign for themselves are, and passes over a file
without any certificate in silence.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2

from .faults import Faults
from .httpx_pool import Exchange, HttpxPool
from .interface import WholeReply


class HttpxTransport:
    """Enter it on the loop that it is to be used on. A cancelled exchange hangs up at once."""

    def __init__(
        self,
        headers: Mapping[str, str],
        faults: Faults,
        *,
        tls: ssl.SSLContext,
        proxy: str | None = None,
    ) -> None:
        self._headers = {"accept": "*/*", **headers}
        self._pool = HttpxPool(faults, tls=tls, proxy=proxy)

    async def fetch(
        self, url: str, body: bytes | None, attempt_id: str | None = None
    ) -> WholeReply:
        async with self._exchange(url, body, attempt_id) as exchange:
            return await exchange.whole()

    @asynccontextmanager
    async def open(
        self, url: str, body: bytes, attempt_id: str | None = None
    ) -> AsyncIterator[Exchange]:
        async with self._exchange(url, body, attempt_id) as exchange:
            yield exchange

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def _exchange(
        self, url: str, body: bytes | None, attempt_id: str | None
    ) -> AsyncIterator[Exchange]:
        headers = dict(self._headers)
        if attempt_id:
            headers["x-client-request-id"] = attempt_id
        method = "GET" if body is None else "POST"
        request = httpx2.Request(method, url, headers=headers, content=body)
        exchange = await self._pool.begin(request)
        try:
            yield exchange
        finally:
            await exchange.close()
