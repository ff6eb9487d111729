"""Connecting to an origin by its name: all of its addresses in turn, within one limit of time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from . import faults
from .connection import Broken, Connection
from .interface import Limits

BELIEVED_FOR_S = 4.0
"""How long a name's addresses are kept: many connections at once ask for them only once."""


class Connector:
    """One origin's addresses. ``localhost`` may be ::1 first, where nobody listens."""

    def __init__(self, host: str, port: int, limits: Limits) -> None:
        self._host = host
        self._port = port
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._resolving = asyncio.Lock()
        self._addresses: list[str] = []
        self._resolved_at = -BELIEVED_FOR_S

    async def connect(self, new_connection: Callable[[], Connection]) -> Connection:
        """Raises ``Broken``; each address that is left gets its share of the time that is left."""
        ends_at = self._loop.time() + self._limits.connect_timeout_s
        failure: OSError = TimeoutError()
        try:
            async with asyncio.timeout_at(ends_at):
                addresses = await self._resolve()
            for index, address in enumerate(addresses):
                now = self._loop.time()
                try:
                    async with asyncio.timeout_at(now + (ends_at - now) / (len(addresses) - index)):
                        return await self._connect_to(address, new_connection())
                except OSError as exc:
                    failure = exc
            raise failure
        except TimeoutError as exc:
            raise Broken(faults.SLOW_CONNECT) from exc
        except OSError as exc:
            raise Broken(faults.CANNOT_CONNECT, _reason(exc)) from exc
        except UnicodeError as exc:  # a name that no resolver can be asked for
            raise Broken(faults.CANNOT_CONNECT, str(exc)) from exc

    async def _connect_to(self, address: str, connection: Connection) -> Connection:
        try:
            await self._loop.create_connection(lambda: connection, address, self._port)
        except BaseException:  # cancelled as it came to be
            connection.hang_up()
            raise
        return connection

    async def _resolve(self) -> list[str]:
        async with self._resolving:
            if self._loop.time() - self._resolved_at >= BELIEVED_FOR_S:
                found = await self._loop.getaddrinfo(
                    self._host, self._port, type=socket.SOCK_STREAM
                )
                self._addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
                self._resolved_at = self._loop.time()
            return self._addresses


def _reason(exc: OSError) -> str:
    """What the system says; asyncio's own text for a refusal does not hold the word."""
    if isinstance(exc, socket.gaierror) or not exc.errno:
        return exc.strerror or str(exc)
    return os.strerror(exc.errno)
