"""``/metrics`` over HTTP, for as long as a run goes on.

It answers whoever names it by an address, by this machine's name or by the one it was given, and
nobody else: a page in a browser can make a name of its own mean this machine (DNS rebinding), but
then that name is in the ``Host`` header.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, NamedTuple

from prometheus_client import Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from weave_async.errors import UsageError

logger = logging.getLogger(__name__)

PATH = "/metrics"
LOOPBACK = "127.0.0.1"
LONGEST_COLLECTING_S = 5.0
LONGEST_REQUEST_S = 10.0
"""A client that sends its request more slowly is let go."""
MOST_REQUESTS_AT_ONCE = 16
POLL_S = 0.1
"""How long it takes at most to notice that the run is over."""


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """``PORT`` on loopback, ``HOST:PORT`` or ``[IPv6]:PORT``; raises ``UsageError``."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    if not port.isascii() or not port.isdigit() or int(port) > 65535 or text.startswith(":"):
        raise UsageError(
            f"--metrics {text}: give a port, which is opened for this machine alone, or HOST:PORT, "
            "as 0.0.0.0:9464 for all who reach it"
        )
    return Address(host, int(port))


class MetricsServer:
    """Serves what a collector has, from threads of its own, once it ``watches`` one.

    Its port is taken at once, so that a wrong one is known before anything is asked. Collecting
    happens on the event loop, as a scrape is rare and takes 0.3 ms of it.
    """

    def __init__(self, address: Address) -> None:
        try:
            self._server = _Server(address)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"--metrics {address}: {why}; choose another address") from error
        host, port = self._server.server_address[:2]
        self.address = Address(str(host), int(port))
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        state = "idle" if self._thread is None else "serving"
        return f"<MetricsServer {self.address}, {state}>"

    @property
    def url(self) -> str:
        return f"http://{self.address}{PATH}"

    def watch(
        self, collector: Collector, loop: asyncio.AbstractEventLoop, *others: Collector
    ) -> None:
        """Answer from now on: what ``collector`` has on the loop, and what ``others`` have on any
        thread, beside the figures of this process.
        """
        registry = self._server.registry
        registry.register(_OnLoop(collector, loop))
        for other in others:
            registry.register(other)
        ProcessCollector(registry=registry)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(POLL_S,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


@contextmanager
def metrics_server(address: Address) -> Iterator[MetricsServer]:
    """A server whose port is free again when this ends."""
    server = MetricsServer(address)
    try:
        yield server
    finally:
        server.close()


class _Unanswered(Exception):
    """The event loop has not come to it, or has ended."""


class _OnLoop(Collector):
    """Has another collector collect on the event loop, where nothing else then happens."""

    def __init__(self, collector: Collector, loop: asyncio.AbstractEventLoop) -> None:
        self._collector = collector
        self._loop = loop

    def collect(self) -> Sequence[Metric]:
        """Raises ``_Unanswered``, or what the collector has raised."""
        collected: Future[Sequence[Metric]] = Future()

        def collect() -> None:
            if collected.set_running_or_notify_cancel():
                try:
                    collected.set_result(list(self._collector.collect()))
                except Exception as error:  # whoever waits raises it
                    collected.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(collect)
        except RuntimeError as error:
            raise _Unanswered("the run has ended") from error
        try:
            return collected.result(timeout=LONGEST_COLLECTING_S)
        except TimeoutError as error:
            raise _Unanswered("the run is busy") from error
        finally:
            collected.cancel()


class _Server(ThreadingHTTPServer):
    """A thread for each request, up to a number: further ones are hung up on."""

    daemon_threads = True
    request_queue_size = 4 * MOST_REQUESTS_AT_ONCE
    allow_reuse_port = False  # else a port that is taken would be taken again

    def __init__(self, address: Address) -> None:
        self.registry = CollectorRegistry()
        self._free = threading.BoundedSemaphore(MOST_REQUESTS_AT_ONCE)
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, bound_to = found[0]
        self.named = address.host.lower()
        self.own_names = {"localhost", self.named, socket.gethostname().lower()} - {""}
        super().__init__(bound_to, _Handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Without the question for this machine's name, which may go to a slow name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.named, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no further thread is to be had
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in the middle is no matter of the run's."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "weave-async", ""
    timeout = LONGEST_REQUEST_S

    def do_GET(self) -> None:
        if not is_own_host(self.headers.get_all("Host") or [], self.server.own_names):
            self.send_error(
                421, explain="name this server by its address: see docs/observability.md"
            )
        elif self.path.partition("?")[0] != PATH:
            self.send_error(404)
        else:
            self._send_figures()

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _send_figures(self) -> None:
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        try:
            body = encode(self.server.registry)
        except _Unanswered as error:
            self.send_error(503, explain=str(error))
            return
        except Exception as error:  # a bug of ours: it costs the figures, and not the run
            logger.warning("no figures for Prometheus: %r", error, exc_info=error)
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Standard error belongs to the run's progress."""


def is_own_host(named: Sequence[str], own: Collection[str]) -> bool:
    """Whether a request's ``Host`` headers are one, which names us by an address or as our own."""
    if len(named) != 1:
        return False
    host = named[0].strip().lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if host in own:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
