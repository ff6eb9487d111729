"""Admission: who may send, and when.

::

    slot() ──▶ breaker ▶ pause ▶ tokens ▶ requests ▶ concurrency ▶ budget ──▶ send
                  all looked at and taken in one step, with no await in it

Who cannot go at once waits in line, and is let in by whatever makes room: an answer, the end of a
pause, time. Every wait is computed, and nobody polls. Time is the running loop's clock, so a loop
with virtual time tests it in milliseconds.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from types import TracebackType
from typing import Self

from weave_async.errors import RequestTooLargeError
from weave_async.flow.breaker import Breaker
from weave_async.flow.bucket import Bucket
from weave_async.flow.budget import NO_COST, Budget, Cost
from weave_async.flow.concurrency import (
    Concurrency,
    FixedConcurrency,
    FollowingConcurrency,
    SeekingConcurrency,
)
from weave_async.flow.leasing import Lease, LeasedBucket
from weave_async.flow.line import Line
from weave_async.flow.pace import Pace
from weave_async.flow.slowness import Slowness
from weave_async.records import RateLimits

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
HIGHEST_CONCURRENCY = 1024
"""Where nobody says otherwise, no more than this are in flight, so that memory stays bounded."""
LOOK_FOR_SILENCE_S = 10.0
LONGEST_OUTAGE_S = 3600.0
"""How long an endpoint may fail, or answer with nothing but 429, or ask us to wait."""


class Slot:
    """One request's way through the gate; ``async with`` it for as long as the request is out.

    Say how it ended before leaving: ``settle``, ``refused``, ``throttled``, ``missed`` or ``lost``,
    which is what leaving by an exception without a word means. Left in peace without a word, it was
    never sent, and all that it took is given back.
    """

    __slots__ = (
        "_admission",
        "_has_ended",
        "_task",
        "amount_s",
        "cost",
        "is_probe",
        "is_retry",
        "sent_at_s",
        "tokens",
    )

    def __init__(self, admission: Admission, tokens: int, cost: Cost, is_retry: bool) -> None:
        self.tokens = tokens
        self.cost = cost
        self.is_retry = is_retry
        self.is_probe = False
        self.sent_at_s = 0.0
        self.amount_s = 0.0
        self._admission = admission
        self._has_ended = False
        self._task: asyncio.Task[object] | None = None

    def __repr__(self) -> str:
        return f"<Slot for {self.tokens} tokens of {self._admission!r}>"

    async def __aenter__(self) -> Self:
        admission = self._admission
        if admission.line.num_waiting or admission._take(self) > 0:
            await admission.line.wait(self, in_front=self.is_retry)
        self._task = task = asyncio.current_task()
        admission._sending.add(task)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        admission = self._admission
        admission._sending.discard(self._task)
        if not self._has_ended:
            if exc_type is None:
                admission._undo(self)
                return
            admission._lost(self)
        admission.in_flight -= 1
        if admission.line.num_waiting:
            admission.line.move_up()

    def settle(self, tokens: int | None, cost: Cost | None = None) -> None:
        """It was answered, and has used this much; ``None`` where nobody has said."""
        self._has_ended = True
        self._admission._answered(self, tokens, cost)

    def lost(self) -> None:
        """It was sent, and given up: nobody will know how it ended, and it may be billed."""
        self._admission._lost(self)

    def refused(self, *, is_billed: bool = False) -> None:
        """It was refused, or failed, for what is in it."""
        self._has_ended = True
        self._admission._refused(self, is_billed)

    def throttled(self, retry_after_s: float | None) -> None:
        """It was refused for going too fast (429)."""
        self._has_ended = True
        self._admission._throttled(self, retry_after_s)

    def missed(
        self,
        request_id: str,
        reason: str,
        *,
        is_overload: bool = False,
        is_billed: bool = True,
        is_alive: bool = False,
        retry_after_s: float | None = None,
    ) -> bool:
        """A transient failure. Whether it is the request's own, rather than an outage's.

        ``is_alive`` says that the endpoint answered something else meanwhile.
        """
        self._has_ended = True
        self._admission._missed(
            self, request_id, reason, is_overload, is_billed, is_alive, retry_after_s
        )
        return is_alive if self.is_probe else self._admission.breaker.is_closed


class Admission:
    """The gate of one endpoint, key and model.

    ``max_concurrency`` is a person's word. Without it the concurrency begins at
    ``start_concurrency``, and follows the rate limits where there are any, or is sought.
    ``refunds_tokens`` is for endpoints that are known to give back tokens reserved and not used.
    With a ``lease`` the rate limits are shared with other processes: what it grants may go.
    """

    def __init__(
        self,
        *,
        max_concurrency: int | None = None,
        start_concurrency: int = 16,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        refunds_tokens: bool = False,
        budget: Budget | None = None,
        lease: Lease | None = None,
        name: str = "the endpoint",
    ) -> None:
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self.breaker = Breaker(name, longest_outage_s=LONGEST_OUTAGE_S)
        self.pace = Pace()
        self.in_flight = 0
        self.num_throttled = 0
        """Requests refused for going too fast (429)."""
        # What never failed shows best whether an outage is over.
        self.line = Line(self._take, self._undo, lambda: not self.breaker.is_closed)
        self._requests: Bucket | LeasedBucket | None = None
        self._tokens: Bucket | LeasedBucket | None = None
        self._is_leased = lease is not None
        if lease is not None:
            self._requests, self._tokens = lease.requests, lease.tokens
            lease.serve(self.line)
        else:
            if requests_per_minute is not None:
                self._requests = Bucket(requests_per_minute)
            if tokens_per_minute is not None:
                self._tokens = Bucket(tokens_per_minute)
        # How long the full rates take for a request, and for a token.
        self._s_per_request = 0.0 if self._requests is None else 1 / self._requests.rate_per_s
        self._s_per_token = 0.0 if self._tokens is None else 1 / self._tokens.rate_per_s
        self._has_rates = self._requests is not None or self._tokens is not None
        self.concurrency: Concurrency
        if max_concurrency is not None:
            self.concurrency = FixedConcurrency(max_concurrency)
        elif self._has_rates:
            self.concurrency = FollowingConcurrency(start_concurrency, HIGHEST_CONCURRENCY)
        else:
            self.concurrency = SeekingConcurrency(start_concurrency, HIGHEST_CONCURRENCY)
        self._mean_tokens = 0.0
        self._refunds_tokens = refunds_tokens
        self._budget = budget
        self._told: RateLimits | None = None
        self._paused_until_s = 0.0
        self._pauses_in_a_row = 0
        self._sending: set[asyncio.Task[object] | None] = set()
        self.slowness: Slowness | None = None
        self.heard_at_s = 0.0
        """When an answer or a failure came last, or the first of those that are out was sent."""
        self.has_stand_ins = False
        """Whether other endpoints are up that take what is not sent here."""
        self.on_long_pause: Callable[[], None] = lambda: None
        """Called when the endpoint has asked to wait for longer than limits by the minute need."""

    def __repr__(self) -> str:
        parts = [f"{self.in_flight}/{self.concurrency.limit} in flight"]
        if self.requests_per_minute is not None:
            parts.append(f"{self.requests_per_minute:g} rpm")
        if self.tokens_per_minute is not None:
            parts.append(f"{self.tokens_per_minute:g} tpm")
        if self.pace.is_lowered:
            parts.append(f"at {self.pace.share:.0%}")
        if self.line.num_waiting:
            parts.append(f"{self.line.num_waiting} waiting")
        if not self.breaker.is_closed:
            parts.append(repr(self.breaker))
        return f"<Admission {', '.join(parts)}>"

    def slot(self, *, tokens: int, is_retry: bool = False, cost: Cost = NO_COST) -> Slot:
        """A place in the queue (in front, for a retry) and then among those in flight.

        Raises ``RequestTooLargeError`` for what no minute has the tokens for; entering it raises
        ``BudgetError`` where ``cost`` fits no more.
        """
        if self.tokens_per_minute is not None and tokens > self.tokens_per_minute:
            raise RequestTooLargeError(
                f"a request of about {tokens:,} tokens can never be sent under a limit of "
                f"{self.tokens_per_minute:,.0f} tokens per minute: raise --tpm, lower max_tokens, "
                "or shorten the prompt"
            )
        return Slot(self, tokens, cost, is_retry)

    @property
    def max_concurrency(self) -> int:
        """As many may ever be in flight."""
        return self.concurrency.ceiling

    @property
    def is_free(self) -> bool:
        """Whether somebody who comes now would be let in at once, as far as a budget allows."""
        if self.line.num_waiting or self.in_flight >= self.concurrency.limit:
            return False
        return self._closed_for_s(asyncio.get_running_loop().time()) <= 0

    @property
    def requests_used(self) -> float:
        """Of ``requests_per_minute``, since the beginning; 0 where there is no such limit."""
        return 0.0 if self._requests is None else self._requests.amount_taken

    @property
    def tokens_used(self) -> float:
        """Of ``tokens_per_minute``, since the beginning: as reserved, or more if more was used."""
        return 0.0 if self._tokens is None else self._tokens.amount_taken

    @property
    def paused_for_s(self) -> float:
        return max(0.0, self._paused_until_s - asyncio.get_running_loop().time())

    def is_sending(self, task: asyncio.Task[object]) -> bool:
        """Whether this task holds a slot now, rather than waiting for one."""
        return task in self._sending

    def heard(self, told: RateLimits) -> None:
        """What the endpoint says of its limits. It is believed only when refusals confirm it."""
        self._told = told

    # --- the gates -------------------------------------------------------------------------------

    def _take(self, slot: Slot) -> float:
        """Take all that ``slot`` needs and return 0; or take nothing and return the wait for it.

        The wait is infinite where time alone does not end it.
        """
        now_s = asyncio.get_running_loop().time()
        is_full = self.in_flight >= self.concurrency.limit
        leases_in_vain = is_full and self._is_leased
        if not leases_in_vain and (wait_s := self._closed_for_s(now_s, slot.tokens)) > 0:
            return wait_s
        if is_full:
            self.concurrency.was_binding = True
            return math.inf
        if self._budget is not None and not self._budget.reserve(slot.cost, self.line.move_up):
            return math.inf
        if self._tokens is not None:
            self._tokens.take(slot.tokens)
        if self._requests is not None:
            self._requests.take(1)
        if not self.breaker.is_closed:
            slot.is_probe = True
            self.breaker.probe_sent()
        slot.sent_at_s = now_s
        if not self.in_flight:
            self.heard_at_s = now_s
        self.in_flight += 1
        slot.amount_s = max(self._s_per_request, slot.tokens * self._s_per_token)
        self.pace.sent(now_s, slot.amount_s)
        return 0.0

    def _closed_for_s(self, now_s: float, tokens: int = 0) -> float:
        """How long until the next request may go: of that many tokens where they are leased, and
        else whatever it is.
        """
        if not self.breaker.is_closed and (wait_s := self.breaker.wait_s(now_s)) > 0:
            return wait_s
        if now_s < self._paused_until_s:
            return self._paused_until_s - now_s
        if self.pace.is_lowered and self.pace.rise(now_s):
            self._follow_pace()
        if self._tokens is not None and (wait_s := self._tokens.wait_s(tokens)) > 0:
            return wait_s
        return 0.0 if self._requests is None else self._requests.wait_s(1)

    def _undo(self, slot: Slot) -> None:
        """Give back all that was taken for what was not sent."""
        slot._has_ended = True
        if slot.is_probe:
            self.breaker.probe_lost()
        if self._budget is not None:
            self._budget.settle(slot.cost, NO_COST)
        if self._tokens is not None:
            self._tokens.give_back(slot.tokens)
        if self._requests is not None:
            self._requests.give_back(1)
        self.in_flight -= 1
        self.line.move_up()

    # --- how a request ended ---------------------------------------------------------------------

    def _answered(self, slot: Slot, tokens: int | None, cost: Cost | None) -> None:
        now_s = asyncio.get_running_loop().time()
        if not self._is_too_slow(slot, now_s):
            self._is_alive(slot, now_s)
        if tokens is not None and self._tokens is not None:
            self._tokens.settle(slot.tokens, tokens, refunds=self._refunds_tokens)
        if self._budget is not None:
            self._budget.settle(slot.cost, slot.cost if cost is None else cost)
        if isinstance(self.concurrency, FollowingConcurrency):
            mean = self._mean_tokens or slot.tokens
            self._mean_tokens = mean + 0.05 * (slot.tokens - mean)
            self.concurrency.requests_per_s = self._requests_per_s()
        self.concurrency.answered(now_s, tokens or slot.tokens, now_s - slot.sent_at_s)

    def _refused(self, slot: Slot, is_billed: bool) -> None:
        self._is_alive(slot, asyncio.get_running_loop().time())
        if self._budget is not None:
            self._budget.settle(slot.cost, slot.cost if is_billed else NO_COST)

    def _is_too_slow(self, slot: Slot, now_s: float) -> bool:
        """Whether this answer counts as a failure to be up: others would be quicker."""
        self.heard_at_s = now_s
        if self.slowness is None:
            return False
        took_s = now_s - slot.sent_at_s
        if self.breaker.is_closed:
            self.slowness.answered(took_s)
        if not self.has_stand_ins:
            return False
        if slot.is_probe and self.slowness.is_slow(took_s):
            self.breaker.failed(now_s, "", "", is_probe=True)
            return True
        if self.slowness.has_become_slow and self.breaker.is_closed:
            self.slowness.forget_recent()
            self.breaker.open_for_slowness(now_s, took_s)
        return False

    def look_for_silence(self, now_s: float) -> float:
        """Take an endpoint for slow whose answers have ceased to come, while others wait for those
        that are out. Returns how long until it is worth another look.
        """
        if self.slowness is None or self.slowness.limit_s == math.inf:
            return LOOK_FOR_SILENCE_S
        silent_s = now_s - self.heard_at_s
        is_full = self.line.num_waiting > 0 and self.in_flight >= self.concurrency.limit
        if not (is_full and self.has_stand_ins and self.breaker.is_closed):
            return self.slowness.limit_s
        if self.slowness.is_slow(silent_s):
            self.breaker.open_for_slowness(now_s, silent_s)
            return self.slowness.limit_s
        return self.slowness.limit_s - silent_s

    def _is_alive(self, slot: Slot, now_s: float) -> None:
        self.breaker.num_successes += 1
        if slot.is_probe:
            self.breaker.probe_succeeded(max_concurrency=self.concurrency.limit)
        pace = self.pace
        if pace.is_refusing and pace.answered(
            now_s, slot.sent_at_s, is_saturated=self._is_saturated()
        ):
            self._pauses_in_a_row = 0
            self._follow_pace()

    def _throttled(self, slot: Slot, retry_after_s: float | None) -> None:
        now_s = asyncio.get_running_loop().time()
        self.num_throttled += 1
        self.breaker.num_successes += 1
        if slot.is_probe:
            self.breaker.probe_succeeded(max_concurrency=self.concurrency.limit)
        if self._budget is not None:
            self._budget.settle(slot.cost, NO_COST)
        is_news = self.pace.is_news(slot.sent_at_s)
        self.pace.refused(
            now_s,
            slot.sent_at_s,
            slot.amount_s,
            told_share=self._told_share(),
            is_saturated=self._is_saturated(),
        )
        if is_news and not self._has_rates:
            self.concurrency.cut(now_s)
        self._follow_pace()
        self.pause(retry_after_s, is_news=is_news)

    def _missed(
        self,
        slot: Slot,
        request_id: str,
        reason: str,
        is_overload: bool,
        is_billed: bool,
        is_alive: bool,
        retry_after_s: float | None,
    ) -> None:
        now_s = self.heard_at_s = asyncio.get_running_loop().time()
        if self._budget is not None:
            self._budget.settle(slot.cost, slot.cost if is_billed else NO_COST)
        if is_overload:
            self.concurrency.overloaded()
        self.breaker.failed(
            now_s,
            request_id,
            reason,
            is_probe=slot.is_probe,
            is_alive=is_alive,
            num_out=self.in_flight - 1,
            told_s=retry_after_s or 0.0,
        )
        if not self.breaker.is_closed:
            self.concurrency.forgive()

    def _lost(self, slot: Slot) -> None:
        """It was sent, and nobody will know how it ended."""
        slot._has_ended = True
        if slot.is_probe:
            self.breaker.probe_lost()
        if self._budget is not None:
            self._budget.settle(slot.cost, slot.cost)

    # --- going slower ----------------------------------------------------------------------------

    def pause(self, retry_after_s: float | None, *, is_news: bool = True) -> None:
        """Send nothing for as long as the endpoint asked, or for a growing time if it did not say.

        A wait of zero says nothing: taken at its word it would make a storm of refusals. Those of
        one storm count once: what was sent before a refusal does not lengthen the pause for it.
        """
        now_s = asyncio.get_running_loop().time()
        if not retry_after_s:
            if not is_news or now_s < self._paused_until_s:
                return
            longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._pauses_in_a_row)
            retry_after_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients out
            self._pauses_in_a_row += 1
        self._paused_until_s = max(self._paused_until_s, now_s + retry_after_s)
        if retry_after_s > LONGEST_PAUSE_S:
            self.on_long_pause()
        self.pace.resumes(self._paused_until_s)
        for bucket in (self._tokens, self._requests):
            if bucket is not None:
                bucket.rest_until(self._paused_until_s)

    def _follow_pace(self) -> None:
        for bucket in (self._tokens, self._requests):
            if bucket is not None:
                bucket.set_share(self.pace.share)

    def _is_saturated(self) -> bool:
        """Whether there is as much to send as may be sent."""
        return self.line.num_waiting > 0 or self.in_flight >= self.concurrency.limit

    def _requests_per_s(self) -> float:
        rates = [] if self._requests is None else [self._requests.rate_per_s]
        if self._tokens is not None:
            rates.append(self._tokens.rate_per_s / max(1.0, self._mean_tokens))
        return min(rates)

    def _told_share(self) -> float:
        """The smallest share of our limits that the endpoint's own are, by its own account."""
        if self._told is None:
            return 1.0
        told = self._told
        pairs = (
            (told.limit_requests, self.requests_per_minute),
            (told.limit_tokens, self.tokens_per_minute),
        )
        return min((t / ours for t, ours in pairs if t and ours and 0 < t < ours), default=1.0)
