"""One request to one outcome: admit, attempt, back off.

This is the only place that retries. What is not the request's own fault costs it no attempt: a
refusal for going too fast (429) pauses the endpoint for everybody, and an outage opens its breaker.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from weave_async.blame import (
    MOST_FAILED_PROBES,
    Blame,
    Tries,
    code_of,
    failure_of,
    retry_after_s,
)
from weave_async.errors import (
    ProviderError,
    RateLimitError,
    RecipeError,
    RequestTooLargeError,
    Unsent,
    WeaveError,
)
from weave_async.estimate import TokenEstimate, most_input_tokens
from weave_async.flow.admission import Admission, Slot
from weave_async.flow.budget import NO_COST, Budget, Cost
from weave_async.flow.leasing import Lease
from weave_async.flow.retry import Backoff, RetryBudget
from weave_async.guard import GuardedProvider
from weave_async.hedging import Hedging, raced
from weave_async.interfaces import AttemptLog, Provider
from weave_async.pricing import Price
from weave_async.records import Endpoint, Failure, Request, Response
from weave_async.summary import EndpointAccount


class TurnedAway(Exception):
    """The request will not be sent here (again): the endpoint is down, and others are not."""


class _Call(NamedTuple):
    """A request with what each sending of it may use at worst."""

    request: Request
    tries: Tries
    most_tokens: int
    cost: Cost
    log: AttemptLog


class Dispatcher:
    """Sends requests to one endpoint, made ready on the first of them: a replay needs none.

    ``epoch`` is the number of this run in its folder; ``log`` is told of each sending.
    ``max_concurrency`` is a person's word; without it, ``start_concurrency`` is where it begins.
    With ``hedging``, a straggler is sent a second time, and the first answer counts.
    Tokens are counted by the model's vocabulary, if it is in the folder ``vocabularies``.
    With a ``lease`` the endpoint's rate limits are shared with other processes.
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
        hedging: Hedging | None = None,
        vocabularies: Path | None = None,
        lease: Lease | None = None,
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
            lease=lease,
            name=endpoint.name,
        )
        self.hedging = hedging
        self.num_taken_over = 0
        """Samples answered, or failed, that were planned for another endpoint."""
        self.left_because: WeaveError | None = None
        """Why nothing more is sent here in this run, while others go on."""
        self.last_failure: Failure | None = None
        """Of one sending, be its request answered since or not; with its time by the loop."""
        self.last_failed_at_s = -math.inf
        self._provider = GuardedProvider(endpoint, provider)
        self._blame = Blame(endpoint.name, self.admission, self._provider)
        self._backoff = backoff
        self._retry_budget = RetryBudget()
        self._on_retry = on_retry
        self._log = log
        self._epoch = epoch
        self._budget = budget
        self._price = price
        self._estimate = TokenEstimate(model=endpoint.model, vocabularies=vocabularies)
        self._num_sent = self._num_answered = 0
        self._turns_away = False
        self._look_again_at_s = math.inf
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
        """Tokens and cost that one sending of it can come to. What an endpoint may claim is judged
        by bytes; what a budget sets aside can be less, where tokens are counted.
        """
        most_output = (request.params.max_tokens or 0) * request.num_choices
        most_tokens = most_input_tokens(request) + most_output
        if self._budget is None:
            return most_tokens, NO_COST
        counted = self._estimate.most_input_tokens(request) + most_output
        return most_tokens, self._worst_cost(request, counted)

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

    def leave(self, because: WeaveError, *, for_s: float = math.inf) -> None:
        """The same where others take over: what waits here, or would be sent again, leaves.

        After ``for_s``, one request is let in to see whether an endpoint is there that was not.
        """
        self.left_because = because
        self._look_again_at_s = _now_s() + for_s
        self.turn_away(True)

    def turn_away(self, turns_away: bool) -> None:
        """Whether requests are better off elsewhere: from now on, and those that wait in line.

        One is still let in whenever it would go out at once: it shows whether the endpoint is back.
        """
        self._turns_away = turns_away
        if turns_away:
            self.turn_out()

    def turn_out(self) -> None:
        """Have all requests that wait in line look for a place anew."""
        self.admission.line.turn_out(TurnedAway)

    @property
    def num_sent(self) -> int:
        """Requests that went out in this run, each sending of one counted."""
        return self._num_sent

    @property
    def is_ready(self) -> bool:
        """Whether the endpoint was there when it was first needed."""
        return self._provider.is_ready

    @property
    def takes_requests(self) -> bool:
        """Whether a request may come here now, rather than go elsewhere."""
        return not self._turns_away or self._takes_a_probe

    @property
    def _takes_a_probe(self) -> bool:
        if self.left_because is None:
            return self.admission.is_free
        return _now_s() >= self._look_again_at_s and not self._provider.is_becoming_ready

    def count_answer(self) -> None:
        """This endpoint has answered in this run, by whatever way it was asked."""
        self._num_answered += 1
        self.count_success()

    def count_success(self) -> None:
        """This endpoint has answered, now or in an earlier run."""
        self._blame.count_success()

    def account(self) -> EndpointAccount:
        """What this endpoint has done in this run."""
        hedging = self.hedging
        return EndpointAccount(
            answered=self._num_answered,
            taken_over=self.num_taken_over,
            hedged=0 if hedging is None else hedging.num_hedged,
            hedges_won=0 if hedging is None else hedging.num_won,
            left_because=None if self.left_because is None else str(self.left_because),
        )

    async def dispatch(self, request: Request, tries: Tries | None = None) -> Response | Failure:
        """The answer, or why this request has none; ``tries`` is told what became of it.

        Raises the error instead where no further request could do better: the endpoint cannot be
        made ready, refuses our key or model, has failed for too long or too often in a row, or the
        budget is spent. Raises ``Unsent`` when the run stops before there is an answer, and
        ``TurnedAway`` when the request had better go elsewhere.
        """
        if not self._provider.is_ready:
            await self._become_ready()
        if tries is None:
            tries = Tries()
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
            is_divisible = request.num_choices > 1 and isinstance(error, RequestTooLargeError)
            if not is_divisible and self._blame.is_one_too_many(error, tries):
                raise
            return failure_of(error, tries.attempts)
        self.count_answer()
        return response

    async def _become_ready(self) -> None:
        await self._provider.wait_until_ready(anew=self.left_because is not None)
        self.left_because = None  # it may have been absent, and whoever looks again is let in
        await self._estimate.prepare()

    async def _try_again(self, request: Request, tries: Tries, error: ProviderError) -> Response:
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
            retry_after_s=retry_after_s,
            held_back_s=lambda: self._retry_budget.hold_back_s(_now_s(), self._num_sent),
            on_retry=lambda error: self._on_retry(code_of(error)),
        )

    async def _attempt(self, request: Request, tries: Tries) -> Response:
        """Send until there is an answer, or an error that costs the request an attempt."""
        most_tokens, cost = self.worst_case(request)
        call = _Call(request, tries, most_tokens, cost, tries.log or self._log)
        while not self._stopping and (tries.stays or self.takes_requests):
            async with self.admission.slot(
                tokens=self._estimate.tokens(request), is_retry=tries.is_retry, cost=cost
            ) as slot:
                if (sent := await self._announce(call)) is None:
                    break
                try:
                    if self.hedging is None:
                        response = await self._provider.complete(sent, most_tokens=most_tokens)
                        self._settle(request, response, slot)
                    else:
                        sent, response = await self._complete(self.hedging, call, sent, slot)
                except ProviderError as error:
                    failure = failure_of(error, tries.sends)
                    self.last_failure, self.last_failed_at_s = failure, _now_s()
                    call.log.missed(sent, failure)
                    # Where others take what fails here, no probe needs to tell whose fault it was.
                    asks = slot.is_probe and not self._turns_away
                    is_alive = asks and await self._blame.is_alive(error, tries)
                    self._blame.heed(error, request, slot, tries, is_alive=is_alive)
                    self._on_retry(code_of(error))
                else:
                    tries.answered = sent
                    return response
        raise Unsent if self._stopping else TurnedAway

    async def _announce(self, call: _Call) -> Request | None:
        """Have the journal write that the request goes out; ``None`` where it no longer does."""
        if self._stopping or self.left_because is not None:
            return None
        request, tries, most_tokens, _, log = call
        tries.sends += 1
        self._num_sent += 1
        sent = self._named(request, tries.sends)
        log.sent(sent, tokens=most_tokens)
        try:
            await asyncio.sleep(0)  # the journal writes it, and what was answered before
        except asyncio.CancelledError:
            log.missed(sent, _unsent(tries.attempts))
            raise
        if self._stopping or self.left_because is not None:
            log.missed(sent, _unsent(tries.attempts))
            return None
        return sent

    async def _complete(
        self, hedging: Hedging, call: _Call, sent: Request, slot: Slot
    ) -> tuple[Request, Response]:
        """The answer, and which sending of the request brought it; a straggler is sent again."""
        hedging.num_sent += 1
        after_s = hedging.delay_s
        if after_s == math.inf:
            answered, response = await self._answer(call, sent)
        else:
            (answered, response), is_hedge = await raced(
                self._answer(call, sent),
                lambda: self._hedge(hedging, call),
                after_s=after_s,
                lost=lambda late: call.log.missed(late[0], _hedged(call)),
            )
            if is_hedge:
                hedging.num_won += 1
                slot.lost()
                call.log.missed(sent, _hedged(call))
                return answered, response
        hedging.answered(_now_s() - slot.sent_at_s)
        self._settle(call.request, response, slot)
        return answered, response

    async def _answer(self, call: _Call, sent: Request) -> tuple[Request, Response]:
        return sent, await self._provider.complete(sent, most_tokens=call.most_tokens)

    async def _hedge(self, hedging: Hedging, call: _Call) -> tuple[Request, Response] | None:
        """Send a request again that is out already. Whatever fails here is no attempt of it."""
        if not hedging.may_hedge or not self.admission.breaker.is_closed:
            return None
        try:
            async with self.admission.slot(
                tokens=self._estimate.tokens(call.request), is_retry=True, cost=call.cost
            ) as slot:
                if slot.is_probe or not hedging.may_hedge:  # others may have waited in line too
                    return None
                hedging.num_hedged += 1
                if (sent := await self._announce(call)) is None:
                    return None
                try:
                    response = await self._provider.complete(sent, most_tokens=call.most_tokens)
                except asyncio.CancelledError:
                    call.log.missed(sent, _hedged(call))
                    raise
                except ProviderError as error:
                    call.log.missed(sent, failure_of(error, call.tries.sends))
                    self._blame.heed(error, call.request, slot, Tries(), is_alive=False)
                    return None
                hedging.answered(_now_s() - slot.sent_at_s)
                self._settle(call.request, response, slot)
                return sent, response
        except (WeaveError, TurnedAway):
            return None

    def _named(self, request: Request, number: int) -> Request:
        """The request under this attempt's name; ``replace`` would take three times as long.

        One that comes with a name asks again for what that attempt was to bring.
        """
        before = request.attempt_id or f"{request.request_id}-{self._epoch}"
        return Request(
            request.request_id,
            request.model,
            request.messages,
            request.params,
            request.api,
            f"{before}.{number}",
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
        most_output = max_tokens * request.num_choices
        return self._cost(most_tokens - most_output, most_output)

    def _cost(self, input_tokens: int, output_tokens: int) -> Cost:
        tokens = input_tokens + output_tokens
        if self._price is None:
            return Cost(tokens)
        usd = self._price.usd(input_tokens=input_tokens, output_tokens=output_tokens)
        return Cost(tokens, usd)


def _unsent(attempts: int) -> Failure:
    return Failure("unsent", "the run is stopping", attempts)


def _hedged(call: _Call) -> Failure:
    message = "given up for another sending of the same request"
    return Failure("hedged", message, call.tries.attempts, may_be_billed=True)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
