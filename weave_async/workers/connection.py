"""A worker's end of the line to its pool."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weave_async import wire

_LOG_RECORDS, _LOG_PERIOD_S = 20, 10.0


class PoolConnection:
    """Blocking: a worker has nothing else to do. Raises ``EOFError`` when the pool has gone."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._fd = fd
        self._sending = threading.Lock()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<PoolConnection {'open' if self.is_open else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether a stage has left it as it was. Asked after each call of one."""
        try:
            os.fstat(self._fd)
        except OSError:
            return False
        return not self._is_closed

    def close(self) -> None:
        self._is_closed = True
        self._socket.close()

    def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        length = int.from_bytes(self._received(wire.LENGTH_BYTES), "little")
        return wire.parsed(bytes(self._received(length)))

    def send(self, header: Mapping[str, Any], lines: Sequence[bytes] = ()) -> None:
        """Threads of a stage's may log meanwhile. A fork has nothing to say."""
        if not self._is_closed:
            with self._sending:
                self._socket.sendall(wire.frame(header, lines))

    def _received(self, num_bytes: int) -> bytearray:
        received = bytearray(num_bytes)
        view, at = memoryview(received), 0
        while at < num_bytes:
            more = self._socket.recv_into(view[at:])
            if not more:
                raise EOFError
            at += more
        return received


class ToPool(logging.Handler):
    """Warnings of a stage's, some of them, for the pool's log; ``at`` names the stage."""

    def __init__(self, pool: PoolConnection, at: Callable[[], str]) -> None:
        super().__init__(logging.WARNING)
        self._pool = pool
        self._at = at
        self._period_from_s = 0.0
        self._num_told = self._num_untold = 0

    def emit(self, record: logging.LogRecord) -> None:
        now_s = time.monotonic()
        if now_s - self._period_from_s > _LOG_PERIOD_S:
            self._period_from_s, self._num_told = now_s, 0
        if self._num_told == _LOG_RECORDS:
            self._num_untold += 1
            return
        self._num_told += 1
        said, self._num_untold, untold = record.getMessage(), 0, self._num_untold
        logged = [record.levelno, self._at(), record.name, said[:2000], untold]
        self._pool.send({"logged": logged})
