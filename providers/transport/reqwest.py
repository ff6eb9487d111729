"""The transport for https and for proxies: pyreqwest (Rust's reqwest), some 30 µs of CPU a request.

Proxies come from the environment (``HTTPS_PROXY``, ``NO_PROXY`` and kin) when the client is built,
unless one is given.
A cancelled call ends at once, but what it sent does not: pyreqwest 0.15.1 hangs up on a server that
has not begun to answer only at the timeout. Nor does it tell a used connection from a new one, so
a server that closes an idle connection just as it is used costs an attempt.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    ClientClosedError,
    DecodeError,
    DetailedPyreqwestError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response

from weave_async.errors import ProviderError

from . import faults
from .faults import Fault, Faults
from .interface import Limits, WholeReply

SETTLE_S = 0.02

_TLS_SIGNS = re.compile(
    r"invalid peer certificate|corrupt message|peer (?:is incompatible|misbehaved)"
    r"|received fatal alert: (?!InternalError|UserCanceled)|No CA certificates",
)
"""What another try cannot mend. A handshake that was cut short (a reset, an early end) is not."""


class ReqwestTransport:
    """Raises ``TlsError`` at once on a machine without any certificates to trust."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        faults: Faults,
        *,
        is_loopback: bool,
        proxy: str | None = None,
    ) -> None:
        self._faults = faults
        builder = _builder(base_url, headers, faults.limits, is_loopback=is_loopback)
        if proxy:
            builder = builder.proxy(ProxyBuilder.all(proxy))
        with self._translated(base_url):
            self._client = builder.build()

    async def fetch(
        self, url: str, body: bytes | None, attempt_id: str | None = None
    ) -> WholeReply:
        request = self._request(url, body, attempt_id)
        with self._translated(url) as translated:
            async with request.build_streamed() as response:
                return await ReqwestReply(response, self._faults.limits, translated).whole()

    @asynccontextmanager
    async def open(
        self, url: str, body: bytes, attempt_id: str | None = None
    ) -> AsyncIterator[ReqwestReply]:
        # With its default buffer pyreqwest keeps even the head back until 64 kB are here.
        request = self._request(url, body, attempt_id).streamed_read_buffer_limit(1)
        with self._translated(url) as translated:
            async with request.build_streamed() as response:
                yield ReqwestReply(response, self._faults.limits, translated)

    async def close(self) -> None:
        await self._client.close()
        # A thread of the transport may still be dropping its last objects; when the
        # interpreter ends meanwhile, the process aborts (PyGILState_Release, exit 134).
        await asyncio.sleep(SETTLE_S)

    def _request(self, url: str, body: bytes | None, attempt_id: str | None) -> RequestBuilder:
        if body is None:
            return self._client.get(url)
        request = self._client.post(url).body_bytes(body)
        return request.header("x-client-request-id", attempt_id) if attempt_id else request

    @contextmanager
    def _translated(self, url: str) -> Iterator[Translate]:
        """Raise pyreqwest's errors as ours; gives the translation, for use further inside."""
        started = perf_counter()

        def translate(exc: PyreqwestError) -> ProviderError:
            causes = _causes(exc)
            fault = _fault(exc, " ".join(causes), perf_counter() - started, self._faults.limits)
            return self._faults.error(fault, url, causes[-1] if causes else exc.message)

        try:
            yield translate
        except PyreqwestError as exc:
            raise translate(exc) from exc


Translate = Callable[[PyreqwestError], ProviderError]


@dataclass(frozen=True, slots=True)
class ReqwestReply:
    _response: Response
    _limits: Limits
    _translate: Translate

    @property
    def status(self) -> int:
        return self._response.status

    def header(self, name: str) -> str | None:
        try:
            return self._response.get_header(name)
        except ValueError:
            return None

    async def piece(self) -> bytes:
        try:
            return bytes(await self._response.body_reader.read_chunk() or b"")
        except PyreqwestError as exc:
            raise self._translate(exc) from exc

    async def whole(self) -> WholeReply:
        limit = self._limits.of_body(self.status)
        try:
            body = await self._response.body_reader.read(limit + 1)
        except PyreqwestError as exc:
            raise self._translate(exc) from exc
        return WholeReply(self.status, self.header, memoryview(body or b""))


def _builder(
    base_url: str, headers: Mapping[str, str], limits: Limits, *, is_loopback: bool
) -> ClientBuilder:
    builder = (
        ClientBuilder()
        .http1_only()
        .default_headers(dict(headers))
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .pool_idle_timeout(timedelta(seconds=limits.idle_s))
        .pool_max_idle_per_host(limits.max_idle)
        .connect_timeout(timedelta(seconds=limits.connect_timeout_s))
        .read_timeout(timedelta(seconds=limits.timeout_s))
        .timeout(timedelta(seconds=limits.deadline_s))
    )
    if is_loopback:
        builder = builder.no_proxy()
        if base_url.startswith("http:"):
            # No TLS is spoken, and so a machine without any certificates will do.
            builder = builder.danger_accept_invalid_certs(True)
    return builder


def _fault(exc: PyreqwestError, causes: str, elapsed_s: float, limits: Limits) -> Fault:
    """Its type does not tell connecting from waiting for the head, nor always a broken head from a
    broken body: reqwest says these in the causes only.
    """
    if isinstance(exc, RequestTimeoutError):
        return _which_timeout(elapsed_s, limits)
    if isinstance(exc, BuilderError) or "builder error" in causes or "(Connect)" in causes:
        return faults.NO_TLS if _TLS_SIGNS.search(causes) else faults.CANNOT_CONNECT
    if "response body" in causes:
        return faults.CUT_SHORT
    if isinstance(exc, ClientClosedError):
        return faults.LEFT
    return faults.NOT_HTTP if isinstance(exc, DecodeError) else faults.HUNG_UP


def _which_timeout(elapsed_s: float, limits: Limits) -> Fault:
    """Which limit it was: the transport has one name for all of them before the head."""
    if elapsed_s >= limits.deadline_s:
        return faults.LATE
    return faults.SILENT if elapsed_s >= limits.timeout_s else faults.SLOW_CONNECT


def _causes(exc: PyreqwestError) -> list[str]:
    details = exc.details if isinstance(exc, DetailedPyreqwestError) else None
    return [cause["message"] for cause in (details and details["causes"]) or ()]
