"""One request to one outcome: admit, attempt, back off.

This is the only place that retries. A refusal for going too fast (429) pauses the endpoint for
everybody and costs the request no attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

from weave_async.errors import (
    AuthenticationError,
    ConnectError,
    EndpointGoneError,
    ProviderError,
    RateLimitError,
    RequestRefusedError,
    WeaveError,
)
from weave_async.flow.limits import Admission
from weave_async.flow.retry import Backoff
from weave_async.interfaces import Provider
from weave_async.records import Endpoint, Failure, Request, Response, Usage

logger = logging.getLogger(__name__)

GIVE_UP_AFTER_FAILURES = 20
"""Requests that fail one after the other, with no success between, before the endpoint is left."""
LONGEST_OUTAGE_S = 3600.0
"""How long an endpoint may answer with nothing but 429, or ask us to wait, before we leave it."""
LONGEST_RETRY_WAIT_S = 60.0
PAUSE_WORTH_SAYING_S = 10.0


class Unsent(Exception):
    """The request was not sent, or will not be sent again, because the run is stopping."""


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
        self._ever_succeeded = False
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Dispatcher {self.endpoint.name} {self.admission!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._entered is None:
            return
        try:
            await self._entered.aclose()
        except Exception as error:  # all answers are in: no reason to lose the run
            logger.warning("%s did not close in good order: %r", self.endpoint.name, error)

    def stop(self) -> None:
        """Send nothing more. What is out comes back; what would be sent again is not."""
        self._stopping = True

    def count_success(self) -> None:
        """This endpoint has answered, now or in an earlier run."""
        self._failures_in_a_row = 0
        self._ever_succeeded = True

    async def dispatch(self, request: Request) -> Response | Failure:
        """The answer, or why this request has none.

        Raises the error instead where no further request could do better: the endpoint cannot be
        made ready, refuses our key or model, or has failed too often in a row. Raises ``Unsent``
        when the run stops before there is an answer.
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
                is_retryable=lambda error: _is_retryable(error) and not self._stopping,
                retry_after_s=_retry_after_s,
                on_retry=lambda error: self._on_retry(code_of(error)),
            )
        except ProviderError as error:
            if self._stopping and error.retryable:
                raise Unsent from error
            if error.stops_endpoint or isinstance(error, RateLimitError):
                raise
            if self._is_given_up(error):
                raise
            return Failure(code_of(error), str(error), attempts, error.status_code, error.retryable)
        self.count_success()
        return response

    def _is_given_up(self, error: ProviderError) -> bool:
        """Whether this failure is one too many in a row.

        An endpoint that has answered before may well refuse many rows, one after the other, for
        what is in them; if it refuses the first ones all alike, the fault is not in the rows.
        """
        if not (isinstance(error, RequestRefusedError) and self._ever_succeeded):
            self._failures_in_a_row += 1
        return self._failures_in_a_row > GIVE_UP_AFTER_FAILURES

    async def _admit_and_send(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        throttled_since_s: float | None = None
        while not self._stopping:
            async with self.admission.slot(tokens=self._estimate.tokens(request)):
                if self._stopping:
                    break
                try:
                    response = await self._complete(request)
                except RateLimitError as error:
                    now_s = loop.time()
                    throttled_since_s = throttled_since_s or now_s
                    asked_to_wait_s = error.retry_after_s or 0.0
                    if now_s - throttled_since_s + asked_to_wait_s > LONGEST_OUTAGE_S:
                        raise
                    self._on_retry(code_of(error))
                    self._pause(error)
                    continue
            self.admission.succeeded()
            self._estimate.learn(request, response)
            return response
        raise Unsent

    def _pause(self, error: RateLimitError) -> None:
        was_paused = self.admission.paused_for_s > 0
        self.admission.pause(error.retry_after_s)
        pause_s = self.admission.paused_for_s
        if pause_s > PAUSE_WORTH_SAYING_S and not was_paused:
            logger.warning("%s asks to wait %.0f s: %s", self.endpoint.name, pause_s, error)

    async def _complete(self, request: Request) -> Response:
        """The provider's answer. One of somebody else's may break its promises in any way."""
        try:
            response = await self._provider.complete(request)
            _require_sound(response)
            return response
        except ProviderError:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self._broken_promise(error) from error
        except Exception as error:
            logger.debug("provider '%s' raised", self.endpoint.provider, exc_info=True)
            raise self._broken_promise(error) from error

    def _broken_promise(self, error: BaseException) -> ProviderError:
        return ProviderError(
            f"provider '{self.endpoint.provider}' raised {type(error).__name__}: {error} "
            "(a provider should raise ProviderError)"
        )

    async def _wait_until_ready(self) -> None:
        if self._entered is not None:
            return
        async with self._becoming_ready:
            if self._entered is not None:
                return
            async with AsyncExitStack() as stack:
                try:
                    provider = await stack.enter_async_context(self._provider)
                except WeaveError:
                    raise
                except Exception as error:
                    raise EndpointGoneError(
                        f"provider '{self.endpoint.provider}' cannot be made ready: "
                        f"{type(error).__name__}: {error}"
                    ) from error
                await self._probe(provider)
                self._entered = stack.pop_all()

    async def _probe(self, provider: Provider) -> None:
        """Ask for the list of models, which is free: better to learn now that nobody is there."""
        try:
            models = [str(name) for name in await provider.models()]
        except (ConnectError, AuthenticationError):
            raise
        except Exception as error:  # a list of models is nice to have
            logger.debug("%s lists no models: %s", self.endpoint.name, error)
            return
        if models and self.endpoint.model not in models:
            logger.warning(
                "%s does not list the model '%s'; it lists %s",
                self.endpoint.name,
                self.endpoint.model,
                ", ".join(models[:8]),
            )


def _require_sound(response: Response) -> None:
    """What the journal and the stages rely on, whoever wrote the provider."""
    if not isinstance(response, Response) or not isinstance(response.usage, Usage):
        raise TypeError(f"complete returned {response!r}, not a Response with its Usage")
    response.text.encode()
    for count in (response.usage.input_tokens, response.usage.output_tokens):
        if count is not None and type(count) is not int:
            raise TypeError(f"usage holds {count!r}, not a number of tokens")


LEAST_TOKENS_PER_CHAR, MOST_TOKENS_PER_CHAR = 0.05, 2.0
"""Usage that says otherwise is wrong, and must not stall the tokens-per-minute limit."""


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
            seen = min(max(seen, LEAST_TOKENS_PER_CHAR), MOST_TOKENS_PER_CHAR)
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
    told_s = error.retry_after_s if isinstance(error, ProviderError) else None
    return None if told_s is None else min(told_s, LONGEST_RETRY_WAIT_S)
