"""What the code in a worker prints: kept for a while, and some of it shown in the log."""

from __future__ import annotations

import asyncio
import logging
import time

logger = logging.getLogger(__name__)

KEPT_CHARS = 8_000
SHOWN_LINES, SHOWN_PERIOD_S = 20, 10.0
MOST_SHOWN_CHARS = 500


def shown(text: str) -> str:
    """Text of unknown origin on one line of a log or a terminal: nothing in it is a command."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class StderrTail(asyncio.Protocol):
    """The end of what a worker has written. Its lines go to the log at INFO, some each while."""

    def __init__(self) -> None:
        self.text = ""
        self._line = ""
        self._transport: asyncio.BaseTransport | None = None
        self._closed = asyncio.Event()
        self._period_from_s = 0.0
        self._num_shown = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        text = data.decode(errors="backslashreplace")
        self.text = (self.text + text)[-KEPT_CHARS:]
        *lines, rest = (self._line + text).split("\n")
        self._line = rest[-KEPT_CHARS:]
        for line in lines:
            self._show(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    async def wait_until_closed(self) -> None:
        """By the worker, and by all to whom it has given it."""
        await self._closed.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _show(self, line: str) -> None:
        now_s = time.monotonic()
        if now_s - self._period_from_s > SHOWN_PERIOD_S:
            self._period_from_s, self._num_shown = now_s, 0
        if line.strip() and self._num_shown < SHOWN_LINES:
            self._num_shown += 1
            logger.info("a worker says: %s", shown(line[:MOST_SHOWN_CHARS]))
