"""One backend of a benchmark: an endpoint with its model, ready to be asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from time import monotonic
from urllib.parse import urlsplit

from weave_async.bench.attempt import Attempt, attempted
from weave_async.bench.client import ClientWatch
from weave_async.bench.load import Duration, Load, Window, apply
from weave_async.bench.metrics import StepFigures, figures_of
from weave_async.bench.workload import Workload
from weave_async.errors import ProviderError, RateLimitError, WeaveError
from weave_async.estimate import TokenEstimate
from weave_async.flow.bucket import Bucket
from weave_async.interfaces import Provider
from weave_async.parts.endpoints import endpoint_of, prices_of, providers_of, sellers_of
from weave_async.pricing import Price
from weave_async.recipe import MixEntry
from weave_async.records import Endpoint, Request
from weave_async.settings import Settings

NUM_CONNECTS = 5
CONNECT_WITHIN_S = 5.0


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
    window: Window | None = None
    """The step that is under way, or the last."""
    _num_sent: int = 0
    _requests: Bucket | None = field(init=False)
    _tokens: Bucket | None = field(init=False)
    _estimate: TokenEstimate = field(default_factory=TokenEstimate)
    _line: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        rpm, tpm = self.endpoint.requests_per_minute, self.endpoint.tokens_per_minute
        self._requests = None if rpm is None else Bucket(rpm)
        self._tokens = None if tpm is None else Bucket(tpm)

    @property
    def is_limited(self) -> bool:
        return self._requests is not None or self._tokens is not None

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

    def too_much(self, load: Load) -> str | None:
        """Why its own limits do not allow such a load."""
        most, rpm = self.endpoint.max_concurrency, self.endpoint.requests_per_minute
        if load.kind == "closed":
            return f"more than {most} in flight" if most is not None and load.level > most else None
        is_above = rpm is not None and load.level * 60 > rpm
        return f"more than {rpm:g} requests per minute" if is_above else None

    async def measured(
        self,
        load: Load,
        duration: Duration,
        *,
        seed: int = 0,
        interrupt: asyncio.Event | None = None,
    ) -> tuple[StepFigures, Window]:
        """One step. Raises nothing that the endpoint may do."""
        watch, window = ClientWatch(), Window(load)
        self.window = window
        with watch.watching():
            await apply(window, self.ask, duration, seed=seed, interrupt=interrupt)
        client = watch.figures(window, is_limited=self.is_limited)
        return figures_of(window, client=client, seed=seed), window

    async def ask(self, number: int, intended_s: float | None = None) -> Attempt:
        """One request, once the limits allow it."""
        number, self._num_sent = self._num_sent, self._num_sent + 1
        request = self.workload.request(number, self.endpoint.model)
        if intended_s is None:
            intended_s = monotonic()
        if self.is_limited:
            async with self._line:
                await self._admitted(request)
        return await attempted(self.provider, request, number, intended_s)

    async def _admitted(self, request: Request) -> None:
        """Wait until the limits allow it. Tokens are estimated, and none come back: what is bought
        here is little, and a limit that is broken spoils the figures.
        """
        amounts = ((self._requests, 1), (self._tokens, self._estimate.tokens(request)))
        buckets = [(bucket, amount) for bucket, amount in amounts if bucket is not None]
        await asyncio.sleep(max(bucket.wait_s() for bucket, _ in buckets))
        for bucket, amount in buckets:
            bucket.take(amount)

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

    async def require_answer(self) -> None:
        """Raises ``ProviderError`` where a first request is not answered at all; that it comes too
        soon is an answer.
        """
        attempt = await self.ask(0)
        if not attempt.is_good and attempt.error != RateLimitError.__name__:
            raise ProviderError(f"{attempt.error}: {attempt.message}")


async def backends_of(
    names: Sequence[str],
    settings: Settings,
    workload: Workload,
    stack: AsyncExitStack,
    *,
    most_in_flight: int,
) -> tuple[list[Backend], dict[str, WeaveError]]:
    """Those that could be made ready, and why the others could not.

    They are named as ``ENDPOINT`` or ``ENDPOINT:MODEL``; no name means the endpoint of the
    environment. ``most_in_flight`` connections are kept open.
    """
    backends: list[Backend] = []
    problems: dict[str, WeaveError] = {}
    for name in dict.fromkeys(names or [""]):
        endpoint_name, _, model = name.partition(":")
        entry = MixEntry(model=model or None)
        if endpoint_name:
            entry = MixEntry(endpoint=endpoint_name, model=model or None)
        told = name or settings.default.provider or entry.endpoint
        try:
            endpoint = endpoint_of(entry, settings)
            pooled = replace(endpoint, max_concurrency=endpoint.max_concurrency or most_in_flight)
            provider = providers_of([pooled])[endpoint.name]
            await stack.enter_async_context(provider)
            prices = prices_of(sellers_of([endpoint], {endpoint.name: provider}))
        except WeaveError as error:
            problems[told] = error
            continue
        backends.append(Backend(told, endpoint, provider, workload, prices[endpoint.name]))
    return backends, problems


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
