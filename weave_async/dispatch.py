"""One request to one outcome: admit, attempt, back off.

This is the only place that retries. A refusal for going too fast (429) pauses the endpoint for
everybody and costs the request no attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from weave_async.errors import (
    AuthenticationError,
    ConnectError,
    ProviderError,
    RateLimitError,
)
from weave_async.flow.limits import Admission
from weave_async.flow.retry import Backoff
from weave_async.interfaces import Provider
from weave_async.records import Endpoint, Failure, Request, Response

logger = logging.getLogger(__name__)

GIVE_UP_AFTER_FAILURES = 20
"""Requests that fail one after the other, with no success between, before the endpoint is left."""
LONGEST_OUTAGE_S = 3600.0
"""How long an endpoint may answer with nothing but 429 before it counts as unavailable."""


class Dispatcher:
    """Sends requests to one endpoint, made ready on the first of them: a replay needs none."""

    def __init__(
        self,
        endpoint: Endpoint,
        provider: Provider,
        *,
        max_concurrency: int,
        backoff: Backoff,
        on_retry: Callable[[str], None],
    ) -> None:
        self.endpoint = endpoint
        self.admission = Admission(
            max_concurrency=max_concurrency,
            requests_per_minute=endpoint.requests_per_minute,
            tokens_per_minute=endpoint.tokens_per_minute,
        )
        self._provider = provider
        self._backoff = backoff
        self._on_retry = on_retry
        self._estimate = TokenEstimate()
        self._becoming_ready = asyncio.Lock()
        self._entered: AsyncExitStack | None = None
        self._failures_in_a_row = 0
        self._last_success_s: float | None = None

    def __repr__(self) -> str:
        return f"<Dispatcher {self.endpoint.name} {self.admission!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered is not None:
            await self._entered.aclose()

    async def dispatch(self, request: Request) -> Response | Failure:
        """The answer, or why this request has none.

        Raises the error instead where no further request could do better: the endpoint cannot be
        made ready, refuses our key or model, or has failed too often in a row.
        """
        await self._wait_until_ready()
        attempts = 0

        async def attempt_once() -> Response:
            nonlocal attempts
            attempts += 1
            return await self._admit_and_send(request)

        try:
            response = await self._backoff.run(
                attempt_once,
                is_retryable=_is_retryable,
                retry_after_s=_retry_after_s,
                on_retry=lambda error: self._on_retry(code_of(error)),
            )
        except ProviderError as error:
            self._failures_in_a_row += 1
            if error.stops_endpoint or isinstance(error, RateLimitError):
                raise
            if self._failures_in_a_row > GIVE_UP_AFTER_FAILURES:
                raise
            return Failure(code_of(error), str(error), attempts, error.status_code)
        self._failures_in_a_row = 0
        return response

    async def _admit_and_send(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        throttled_since_s: float | None = None
        while True:
            async with self.admission.slot(tokens=self._estimate.tokens(request)):
                try:
                    response = await self._provider.complete(request)
                except RateLimitError as error:
                    now_s = loop.time()
                    throttled_since_s = throttled_since_s or now_s
                    if now_s - throttled_since_s > LONGEST_OUTAGE_S:
                        raise
                    self._on_retry(code_of(error))
                    self.admission.pause(error.retry_after_s)
                    continue
            self.admission.succeeded()
            self._estimate.learn(request, response)
            return response

    async def _wait_until_ready(self) -> None:
        if self._entered is not None:
            return
        async with self._becoming_ready:
            if self._entered is not None:
                return
            async with AsyncExitStack() as stack:
                provider = await stack.enter_async_context(self._provider)
                await self._probe(provider)
                self._entered = stack.pop_all()

    async def _probe(self, provider: Provider) -> None:
        """Ask for the list of models, which is free: better to learn now that nobody is there."""
        try:
            models = await provider.models()
        except (ConnectError, AuthenticationError):
            raise
        except ProviderError as error:
            logger.debug("%s lists no models: %s", self.endpoint.name, error)
            return
        if models and self.endpoint.model not in models:
            logger.warning(
                "%s does not list the model '%s'; it lists %s",
                self.endpoint.name,
                self.endpoint.model,
                ", ".join(models[:8]),
            )


class TokenEstimate:
    """What a request may cost: its characters, by a ratio learned from answers, plus max_tokens."""

    def __init__(self, tokens_per_char: float = 0.25) -> None:
        self._tokens_per_char = tokens_per_char

    def tokens(self, request: Request) -> int:
        chars = sum(len(message.content) for message in request.messages)
        return 1 + int(chars * self._tokens_per_char) + (request.params.max_tokens or 0)

    def learn(self, request: Request, response: Response) -> None:
        """Move the ratio a tenth of the way towards what this answer's usage says."""
        chars = sum(len(message.content) for message in request.messages)
        if response.usage.input_tokens and chars:
            seen = response.usage.input_tokens / chars
            self._tokens_per_char += 0.1 * (seen - self._tokens_per_char)


def code_of(error: BaseException) -> str:
    """``RateLimitError`` → ``rate_limit``: the name of an error in counts and files."""
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _is_retryable(error: BaseException) -> bool:
    # A 429 that comes this far has lasted for LONGEST_OUTAGE_S.
    is_throttled = isinstance(error, RateLimitError)
    return isinstance(error, ProviderError) and error.retryable and not is_throttled


def _retry_after_s(error: BaseException) -> float | None:
    return error.retry_after_s if isinstance(error, ProviderError) else None
