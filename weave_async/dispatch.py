"""One request to one outcome: admit, attempt, back off.

This is the only place that retries. What is not the request's own fault costs it no attempt: a
refusal for going too fast (429) pauses the endpoint for everybody, and an outage opens its breaker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Self

from weave_async.errors import (
    DeadlineError,
    FieldRefusedError,
    OutageError,
    ProviderError,
    RateLimitError,
    RecipeError,
    RequestRefusedError,
)
from weave_async.estimate import TokenEstimate, most_input_tokens
from weave_async.flow.admission import LONGEST_OUTAGE_S, Admission, Slot
from weave_async.flow.budget import NO_COST, Budget, Cost
from weave_async.flow.retry import Backoff, RetryBudget
from weave_async.guard import GuardedProvider
from weave_async.interfaces import AttemptLog, Provider
from weave_async.pricing import Price
from weave_async.records import Endpoint, Failure, Request, Response

logger = logging.getLogger(__name__)

GIVE_UP_AFTER_FAILURES = 20
"""Requests that fail one after the other, with no success between, before the endpoint is left."""
LONGEST_OUTAGE_AT_FIRST_S = 120.0
"""How long an endpoint that has never answered may fail: is it there at all?"""
MOST_FAILED_PROBES = 20
"""A request that failed so often where others were to show an outage's end may be its cause."""
MOST_FAILED_PROBES_UNTOLD, LONGEST_UNTOLD_S = 3, 600.0
"""The same, after so long an outage, of an endpoint that cannot be asked whether it is alive."""
MOST_THROTTLED_IN_FRONT = 3
"""A request refused so often (429) goes to the back: it may be one that never gets through."""
MOST_FIELDS_REFUSED = 8
"""Fields of one request that its endpoint does not take, before that is the request's own fault."""
LONGEST_RETRY_WAIT_S = 60.0
PAUSE_WORTH_SAYING_S = 10.0
LONGEST_MESSAGE_CHARS = 2000
OVERLOADED = frozenset({503, 529})


class Unsent(Exception):
    """The request was not sent, or will not be sent again, because the run is stopping."""


class _Tries:
    """What has become of one request so far. ``attempts`` are those that were its own."""

    __slots__ = (
        "attempts",
        "failed_probes",
        "fields_refused",
        "is_retry",
        "sends",
        "successes_before",
        "throttled",
        "throttled_since_s",
    )

    def __init__(self) -> None:
        self.successes_before: int | None = None
        """How many others had been answered when it first failed."""
        self.attempts = self.sends = self.failed_probes = self.throttled = self.fields_refused = 0
        self.throttled_since_s = 0.0
        self.is_retry = False


class Dispatcher:
    """Sends requests to one endpoint, made ready on the first of them: a replay needs none.

    ``epoch`` is the number of this run in its folder; ``log`` is told of each sending.
    ``max_concurrency`` is a person's word; without it, ``start_concurrency`` is where it begins.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        provider: Provider,
        *,
        backoff: Backoff,
        on_retry: Callable[[str], None],
        log: AttemptLog,
        epoch: int,
        max_concurrency: int | None = None,
        start_concurrency: int = 16,
        budget: Budget | None = None,
        price: Price | None = None,
    ) -> None:
        if budget is not None and budget.max_usd is not None and price is None:
            raise RecipeError(
                f"a budget in money needs a price, and the one of '{endpoint.model}' at "
                f"{endpoint.name} is not known: limit the tokens instead"
            )
        self.endpoint = endpoint
        self.admission = Admission(
            max_concurrency=max_concurrency,
            start_concurrency=start_concurrency,
            requests_per_minute=endpoint.requests_per_minute,
            tokens_per_minute=endpoint.tokens_per_minute,
            budget=budget,
            name=endpoint.name,
        )
        self.admission.breaker.longest_outage_s = LONGEST_OUTAGE_AT_FIRST_S
        self._provider = GuardedProvider(endpoint, provider)
        self._backoff = backoff
        self._retry_budget = RetryBudget()
        self._on_retry = on_retry
        self._log = log
        self._epoch = epoch
        self._budget = budget
        self._price = price
        self._estimate = TokenEstimate()
        self._num_sent = self._num_answered = 0
        self._failures_in_a_row = 0
        self._ever_succeeded = False
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Dispatcher {self.endpoint.name} {self.admission!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._provider.close()

    @property
    def budget(self) -> Budget | None:
        return self._budget

    def worst_case(self, request: Request) -> tuple[int, Cost]:
        """Tokens and cost that one sending of it can come to."""
        most_tokens = most_input_tokens(request) + (request.params.max_tokens or 0)
        return most_tokens, NO_COST if self._budget is None else self._worst_cost(
            request, most_tokens
        )

    def cost_of(self, response: Response) -> Cost | None:
        """What an answer has cost; ``None`` where nobody has counted."""
        usage = response.usage
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        return self._cost(usage.input_tokens, usage.output_tokens)

    def checked(self, request: Request, response: Response, *, most_tokens: int) -> Response:
        """The response as it may be relied on, whoever read it."""
        return self._provider.checked(request, response, most_tokens=most_tokens)

    def stop(self) -> None:
        """Send nothing more. What is out comes back; what would be sent again is not."""
        self._stopping = True

    def count_success(self) -> None:
        """This endpoint has answered, now or in an earlier run."""
        self._failures_in_a_row = 0
        self._num_answered += 1
        if not self._ever_succeeded:
            self._ever_succeeded = True
            self.admission.breaker.longest_outage_s = LONGEST_OUTAGE_S

    async def dispatch(self, request: Request) -> Response | Failure:
        """The answer, or why this request has none.

        Raises the error instead where no further request could do better: the endpoint cannot be
        made ready, refuses our key or model, has failed for too long or too often in a row, or the
        budget is spent. Raises ``Unsent`` when the run stops before there is an answer.
        """
        if not self._provider.is_ready:
            await self._provider.wait_until_ready()
        tries = _Tries()
        try:
            try:
                response = await self._attempt(request, tries)
            except ProviderError as error:
                response = await self._try_again(request, tries, error)
        except ProviderError as error:
            if self._stopping and error.retryable:
                raise Unsent from error
            if error.stops_endpoint or isinstance(error, RateLimitError):
                raise
            if self._is_given_up(error, tries):
                raise
            return failure_of(error, tries.attempts)
        self.count_success()
        return response

    async def _try_again(self, request: Request, tries: _Tries, error: ProviderError) -> Response:
        """Back off and attempt again, as long as there are attempts."""

        def is_retryable(error: BaseException) -> bool:
            if self._stopping or tries.failed_probes >= MOST_FAILED_PROBES:
                return False
            # A 429 that comes this far has lasted for LONGEST_OUTAGE_S.
            is_throttled = isinstance(error, RateLimitError)
            return isinstance(error, ProviderError) and error.retryable and not is_throttled

        return await self._backoff.try_again(
            error,
            lambda: self._attempt(request, tries),
            is_retryable=is_retryable,
            retry_after_s=_retry_after_s,
            held_back_s=lambda: self._retry_budget.hold_back_s(_now_s(), self._num_sent),
            on_retry=lambda error: self._on_retry(code_of(error)),
        )

    def _is_given_up(self, error: ProviderError, tries: _Tries) -> bool:
        """Whether this failure is one too many in a row.

        An endpoint that has answered before may well refuse many rows, one after the other, for
        what is in them; if it refuses the first ones all alike, the fault is not in the rows. Nor
        is it the endpoint's where others were answered while this one failed again and again.
        """
        num = tries.successes_before
        is_alone = num is not None and self._num_answered > num
        is_rows = is_alone or isinstance(error, RequestRefusedError)
        if not (is_rows and self._ever_succeeded):
            self._failures_in_a_row += 1
        return self._failures_in_a_row > GIVE_UP_AFTER_FAILURES

    async def _attempt(self, request: Request, tries: _Tries) -> Response:
        """Send until there is an answer, or an error that costs the request an attempt."""
        most_tokens, cost = self.worst_case(request)
        while not self._stopping:
            tokens = self._estimate.tokens(request)
            async with self.admission.slot(
                tokens=tokens, is_retry=tries.is_retry, cost=cost
            ) as slot:
                if self._stopping:
                    break
                tries.sends += 1
                self._num_sent += 1
                sent = self._named(request, tries.sends)
                self._log.sent(sent, tokens=most_tokens)
                try:
                    await asyncio.sleep(0)  # the journal writes it, and what was answered before
                except asyncio.CancelledError:
                    self._log.missed(sent, _unsent(tries.attempts))
                    raise
                if self._stopping:
                    self._log.missed(sent, _unsent(tries.attempts))
                    break
                try:
                    response = await self._provider.complete(sent, most_tokens=most_tokens)
                except ProviderError as error:
                    self._log.missed(sent, failure_of(error, tries.sends))
                    is_alive = slot.is_probe and await self._is_alive(error, tries)
                    self._heed(error, request, slot, tries, is_alive=is_alive)
                    self._on_retry(code_of(error))
                else:
                    self._settle(request, response, slot)
                    return response
        raise Unsent

    def _named(self, request: Request, number: int) -> Request:
        """The request under this attempt's name; ``replace`` would take three times as long."""
        return Request(
            request.request_id,
            request.model,
            request.messages,
            request.params,
            request.api,
            f"{request.request_id}-{self._epoch}.{number}",
            request.schema,
            request.num_choices,
        )

    def _settle(self, request: Request, response: Response, slot: Slot) -> None:
        usage = response.usage
        input_tokens, output_tokens = usage.input_tokens, usage.output_tokens
        if input_tokens is None or output_tokens is None:
            slot.settle(None)
        else:
            cost = None
            if self._budget is not None:
                cost = self._cost(input_tokens, output_tokens)
            slot.settle(input_tokens + output_tokens, cost)
        if response.rate_limits is not None:
            self.admission.heard(response.rate_limits)
        self._estimate.learn(request, response)

    def _worst_cost(self, request: Request, most_tokens: int) -> Cost:
        max_tokens = request.params.max_tokens
        if max_tokens is None:
            raise RecipeError(
                "a budget needs generate.params.max_tokens: without it, nobody can tell what an "
                "answer may cost"
            )
        return self._cost(most_tokens - max_tokens, max_tokens)

    def _cost(self, input_tokens: int, output_tokens: int) -> Cost:
        tokens = input_tokens + output_tokens
        if self._price is None:
            return Cost(tokens)
        usd = self._price.usd(input_tokens=input_tokens, output_tokens=output_tokens)
        return Cost(tokens, usd)

    async def _is_alive(self, error: ProviderError, tries: _Tries) -> bool:
        """Whether a probe failed for what is in it, rather than for the outage it was to end.

        The list of models tells, since it is no row at all. An overload is never a row's own, and
        its list may well be answered by another machine.
        """
        if not error.retryable:
            return False
        if error.status_code not in OVERLOADED:
            is_alive = await self._provider.is_alive()
            if is_alive is not None:
                return is_alive
            outage_s = self.admission.breaker.outage_s(_now_s())
            is_long = outage_s > LONGEST_UNTOLD_S and self._ever_succeeded
            if is_long and tries.failed_probes >= MOST_FAILED_PROBES_UNTOLD:
                return True
        return tries.failed_probes + 1 >= MOST_FAILED_PROBES

    def _heed(
        self, error: ProviderError, request: Request, slot: Slot, tries: _Tries, *, is_alive: bool
    ) -> None:
        """Tell admission of a failure. Raises it, unless it costs the request no attempt."""
        is_billed = error.may_be_billed
        if isinstance(error, RateLimitError):
            self._throttled(error, slot, tries)
            return
        if isinstance(error, FieldRefusedError) and tries.fields_refused < MOST_FIELDS_REFUSED:
            slot.refused(is_billed=is_billed)
            tries.fields_refused += 1
            tries.is_retry = True
            return
        if not error.retryable:
            slot.refused(is_billed=is_billed)
            tries.attempts += 1
            raise error
        if tries.successes_before is None:
            tries.successes_before = self._num_answered
        is_own = slot.missed(
            request.request_id,
            str(error),
            is_overload=isinstance(error, DeadlineError) or error.status_code in OVERLOADED,
            is_billed=is_billed,
            is_alive=is_alive,
            retry_after_s=_retry_after_s(error),
        )
        tries.is_retry = True
        if slot.is_probe:
            tries.failed_probes += 1
            if not is_alive:
                self._raise_if_outage_is_too_long(error)
        if is_own:
            tries.attempts += 1
            raise error

    def _throttled(self, error: RateLimitError, slot: Slot, tries: _Tries) -> None:
        now_s = _now_s()
        tries.throttled += 1
        tries.is_retry = tries.throttled <= MOST_THROTTLED_IN_FRONT
        tries.throttled_since_s = tries.throttled_since_s or now_s
        was_paused = self.admission.paused_for_s > 0
        slot.throttled(error.retry_after_s)
        if now_s - tries.throttled_since_s + (error.retry_after_s or 0.0) > LONGEST_OUTAGE_S:
            raise error
        pause_s = self.admission.paused_for_s
        if pause_s > PAUSE_WORTH_SAYING_S and not was_paused:
            logger.warning("%s asks to wait %.0f s: %s", self.endpoint.name, pause_s, error)

    def _raise_if_outage_is_too_long(self, error: ProviderError) -> None:
        breaker = self.admission.breaker
        outage_s = breaker.outage_s(_now_s())
        if outage_s > breaker.longest_outage_s:
            raise OutageError(
                f"{self.endpoint.name} has failed for {outage_s:.0f} s, the last time with: "
                f"{error}. Nothing is lost: run the same command again when it is back"
            ) from error


def code_of(error: BaseException) -> str:
    """``RateLimitError`` → ``rate_limit``: the name of an error in counts and files."""
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def failure_of(error: ProviderError, attempts: int) -> Failure:
    """What is kept of an error."""
    message = str(error)[:LONGEST_MESSAGE_CHARS]
    return Failure(
        code_of(error), message, attempts, error.status_code, error.retryable, error.may_be_billed
    )


def _unsent(attempts: int) -> Failure:
    return Failure("unsent", "the run is stopping", attempts)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _retry_after_s(error: BaseException) -> float | None:
    told_s = error.retry_after_s if isinstance(error, ProviderError) else None
    return None if told_s is None else min(told_s, LONGEST_RETRY_WAIT_S)
