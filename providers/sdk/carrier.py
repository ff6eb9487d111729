"""What the SDK's http client stands on: our pool, and bounds on what the SDK would hold."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx2

from weave_async.errors import ResponseTooLargeError

from ..transport.httpx_pool import Exchange, HttpxPool, ascii_header
from ..transport.interface import is_one_document

WATCH = "weave_async.watch"
"""The extension of a response under which its ``StreamWatch`` stands."""

_DONE = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\]")
_EVENT_END = re.compile(rb"\n\n|\r\n\r\n|\r\r")


class Carrier(httpx2.AsyncBaseTransport):
    """For requests of one kind: whole answers, or streams. Several may share a pool."""

    def __init__(self, pool: HttpxPool, *, streamed: bool) -> None:
        self._pool = pool
        self._streamed = streamed

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = await self._pool.begin(request)
        response = exchange.response
        # Nobody asked for compression, and what was sent all the same is not inflated.
        headers = [pair for pair in response.headers.raw if pair[0].lower() != b"content-encoding"]
        limits = self._pool.faults.limits
        whole = not self._streamed
        whole |= is_one_document(exchange.status, ascii_header(response, "content-type"))
        watch = None if whole else StreamWatch(limits.max_body_bytes)
        return httpx2.Response(
            exchange.status,
            headers=headers,
            stream=_Body(exchange, limits.of_body(exchange.status), watch),
            extensions={**response.extensions, WATCH: watch},
        )


class StreamWatch:
    """Sees what the SDK does not tell: whether ``[DONE]`` came, and an event that does not end."""

    def __init__(self, max_event_bytes: int) -> None:
        self.done = False
        self._max_event_bytes = max_event_bytes
        self._event_bytes = 0
        self._tail = b"\n"  # of what has gone by: a mark may be cut in two

    def see(self, piece: bytes) -> None:
        """Raises ``ResponseTooLargeError`` before the SDK has to hold what is too large."""
        seen = self._tail + piece
        self._tail = seen[-16:]
        self.done = self.done or _DONE.search(seen) is not None
        ends = [match.end() for match in _EVENT_END.finditer(seen)]
        self._event_bytes = len(seen) - ends[-1] if ends else self._event_bytes + len(piece)
        if self._event_bytes > self._max_event_bytes:
            raise ResponseTooLargeError(
                f"one event of the stream is larger than {self._max_event_bytes} bytes"
            )


class _Body(httpx2.AsyncByteStream):
    """Of a success at most ``limit`` bytes, or it is too large; of an error no more than those."""

    def __init__(self, exchange: Exchange, limit: int, watch: StreamWatch | None) -> None:
        self._exchange = exchange
        self._limit = limit
        self._watch = watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        while piece := await self._exchange.piece():
            if self._watch is not None:
                self._watch.see(piece)
                yield piece
                continue
            yield piece[:left]
            left -= len(piece)
            if left < 0:
                if self._exchange.status >= 300:
                    return
                raise ResponseTooLargeError(
                    f"the answer is larger than {self._limit} bytes; lower max_tokens",
                    status_code=self._exchange.status,
                )

    async def aclose(self) -> None:
        await self._exchange.close()
