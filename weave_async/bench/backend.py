"""One backend of a benchmark: an endpoint with its model, ready to be asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from urllib.parse import urlsplit

from aiolimiter import AsyncLimiter

from weave_async.bench.attempt import Attempt, attempted
from weave_async.bench.client import ClientWatch
from weave_async.bench.load import Duration, Load, Window, applied
from weave_async.bench.metrics import StepFigures, figures_of
from weave_async.bench.workload import Workload
from weave_async.errors import ProviderError
from weave_async.interfaces import Provider
from weave_async.pricing import Price
from weave_async.records import Endpoint

NUM_CONNECTS = 5
CONNECT_WITHIN_S = 5.0
OnAttempt = Callable[[Attempt], None]


@dataclass(frozen=True, slots=True)
class ConnectTime:
    """Seconds to open a connection, median of a few that were opened for it; ``tls_s`` is ``None``
    where there is no TLS.
    """

    connect_s: float
    tls_s: float | None


@dataclass(slots=True)
class Backend:
    """An endpoint and its provider, entered. ``name`` is as the user named it.

    Limits that are configured for the endpoint hold here too: requests wait for them, which shows
    as ``queue_s``.
    """

    name: str
    endpoint: Endpoint
    provider: Provider
    workload: Workload
    price: Price | None = None
    num_sent: int = 0
    _limiters: list[tuple[AsyncLimiter, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if (rpm := self.endpoint.requests_per_minute) is not None:
            self._limiters.append((_limiter(rpm), False))
        if (tpm := self.endpoint.tokens_per_minute) is not None:
            self._limiters.append((_limiter(tpm), True))

    @property
    def is_limited(self) -> bool:
        return bool(self._limiters)

    @property
    def limits(self) -> str:
        """Those that were configured, in words."""
        told = []
        if self.endpoint.requests_per_minute is not None:
            told.append(f"{self.endpoint.requests_per_minute:g} requests per minute")
        if self.endpoint.tokens_per_minute is not None:
            told.append(f"{self.endpoint.tokens_per_minute:g} tokens per minute")
        if self.endpoint.max_concurrency is not None:
            told.append(f"{self.endpoint.max_concurrency} in flight")
        return ", ".join(told)

    async def measured(
        self, load: Load, duration: Duration, *, seed: int = 0
    ) -> tuple[StepFigures, Window]:
        """One step. Raises nothing that the endpoint may do."""
        watch = ClientWatch()
        with watch.watching():
            window = await applied(load, self.ask, duration, seed=seed)
        client = watch.figures(window, is_limited=self.is_limited)
        return figures_of(window, client=client, seed=seed), window

    async def ask(self, number: int, intended_s: float | None = None) -> Attempt:
        """One request, once the limits allow it."""
        number, self.num_sent = self.num_sent, self.num_sent + 1
        request = self.workload.request(number, self.endpoint.model)
        if intended_s is None:
            intended_s = monotonic()
        for limiter, counts_tokens in self._limiters:
            amount = 1.0
            if counts_tokens:
                amount = len(request.prompt_text) / 4 + (request.params.max_tokens or 0)
            await limiter.acquire(min(amount, limiter.max_rate))
        return await attempted(self.provider, request, number, intended_s)

    async def connect_time(self) -> ConnectTime | None:
        """``None`` where the address is not known, or nobody is there."""
        url = urlsplit(self.endpoint.base_url or "")
        if not url.hostname:
            return None
        port = url.port or (443 if url.scheme == "https" else 80)
        connects, handshakes = [], []
        try:
            for _ in range(NUM_CONNECTS):
                connect_s, tls_s = await _connected(url.hostname, port, url.scheme == "https")
                connects.append(connect_s)
                handshakes.append(tls_s)
        except (OSError, TimeoutError, ssl.SSLError):
            return None
        has_tls = url.scheme == "https"
        return ConnectTime(median(connects), median(handshakes) if has_tls else None)

    async def require_model(self) -> None:
        """Raises ``ProviderError`` where a first request is not answered at all."""
        attempt = await self.ask(0)
        if not attempt.is_good:
            raise ProviderError(f"{attempt.error}: {attempt.message}")


async def _connected(host: str, port: int, has_tls: bool) -> tuple[float, float]:
    begun_s = monotonic()
    async with asyncio.timeout(CONNECT_WITHIN_S):
        _, writer = await asyncio.open_connection(host, port)
        connected_s = monotonic()
        try:
            if has_tls:
                await writer.start_tls(ssl.create_default_context(), server_hostname=host)
            return connected_s - begun_s, monotonic() - connected_s
        finally:
            writer.close()


def _limiter(per_minute: float) -> AsyncLimiter:
    """A second's worth at once, and no more: what services count is often a second."""
    return AsyncLimiter(max(1.0, per_minute / 60), 1.0 if per_minute >= 60 else 60 / per_minute)
