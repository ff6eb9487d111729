"""Serving a review on this machine until it is told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from weave_async.errors import RunFolderError, UsageError
from weave_async.review.app import Door, build_app
from weave_async.review.reviewing import Review
from weave_async.review.sessions import Sessions

LOOPBACK = "127.0.0.1"
KEEP_ALIVE_S, GRACE_S = 30, 2
MAX_CONNECTIONS = 64


class ReviewServer:
    """``listener`` is bound already. ``on_link`` is told each reviewer's newest link: at the start,
    and when one was used.
    """

    def __init__(
        self, review: Review, listener: socket.socket, *, on_link: Callable[[str, str], None]
    ) -> None:
        host, port = listener.getsockname()[:2]
        self._hosts = [f"{_bracketed(host)}:{port}"]
        if host == LOOPBACK:
            self._hosts.append(f"localhost:{port}")
        self.origin = f"http://{self._hosts[0]}"
        self._sessions = Sessions()
        self._listener = listener
        self._on_link = on_link
        door = Door(
            hosts=self._hosts,
            cookie_name=f"weave_async_review_{port}",
            sessions=self._sessions,
            on_opened=self.announce,
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                build_app(review, door),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    def announce(self, reviewer: str) -> None:
        token = self._sessions.new_link(reviewer)
        self._on_link(reviewer, f"{self.origin}/?token={token}")

    def serve(self) -> None:
        """Return after SIGINT or SIGTERM, when what is under way has ended."""
        with _one_signal_stops(self._server):
            asyncio.run(self._server.serve([self._listener]))


def listen(host: str, port: int, *, beyond_loopback: bool) -> socket.socket:
    """Raises ``UsageError`` where the address cannot be taken, or could be reached by others
    without anybody having said that this is meant.
    """
    try:
        address = ipaddress.ip_address(LOOPBACK if host == "localhost" else host)
    except ValueError:
        raise UsageError(f"--host is an address of this machine, as {LOOPBACK}: {host!r}") from None
    if address.is_unspecified:
        raise UsageError(f"--host {host} is no address that a browser could ask for: name one")
    if not address.is_loopback and not beyond_loopback:
        raise UsageError(
            f"--host {host} can be reached by other machines, and what they send can be read on "
            "the way: add --i-know if that is meant. An SSH tunnel to 127.0.0.1 needs neither"
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen(
            MAX_CONNECTIONS
        )  # a link is told before the server turns to its first request
    except OSError as error:
        listener.close()
        raise RunFolderError(
            f"cannot listen on {host}:{port}: {error.strerror}; without --port, any free one is "
            "taken"
        ) from error
    return listener


@contextmanager
def _one_signal_stops(server: uvicorn.Server) -> Iterator[None]:
    """uvicorn raises the signal again once it has ended, which would kill us on the way out."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, frame: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
