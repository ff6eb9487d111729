"""A part of an account's rate limits, leased a few hundredths of a second at a time.

Several processes ask one endpoint with one key. One of them, the lessor, holds the limits; the
others ask it for what they are about to send, and send no more than it has granted::

    line ─▶ LeasedBucket: is there enough? ─no─▶ Lease asks the lessor ─▶ grant ─▶ line moves up

A grant that is not used at once lapses, so that what reaches the endpoint in a minute is what was
granted in that minute. Who hears nothing of the lessor goes on at an even part of the limits, for
which the lessor leaves room: see ``lessor``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from weave_async.flow.bucket import ROUNDING, SHARE_OF_LIMIT, Bucket
from weave_async.flow.line import Line

SILENT_AFTER_S, FALL_BACK_AFTER_S = 2.0, 3.0
"""The lessor has left room for a worker that it does not hear before that worker falls back."""
HEARTBEAT_S = 0.5
GRANT_LASTS_S = 0.5
"""With the 98 % at which a bucket is paced, no 60 s window at the endpoint sees more than the limit
for it: 0.98 × (60 + 0.5 + 0.1) < 60."""
ASK_AGAIN_S = 0.2
"""After an error, which comes at once."""


class LessorUnreachableError(Exception):
    """The lessor has not answered; it may be starting again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for the whole account."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def lowest(self, others: Limits) -> Limits:
        requests = (self.requests_per_minute, others.requests_per_minute)
        tokens = (self.tokens_per_minute, others.tokens_per_minute)
        return Limits(
            min((each for each in requests if each is not None), default=None),
            min((each for each in tokens if each is not None), default=None),
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """What a worker wants of the limits, and what else the lessor is to know of it.

    ``first_tokens`` are those of the next request, which is of no use without all of them.
    ``tokens_owed`` have been used beyond what was granted; negative, they were not used, as were
    ``requests_unused``.
    ``share`` is the pace that refusals have left, ``rest_s`` how long the endpoint wants to be left
    alone. One that ``is_cut_off`` uses its own part, and is granted nothing.
    """

    worker: int
    limits: Limits
    requests: int = 0
    tokens: float = 0.0
    first_tokens: float = 0.0
    tokens_owed: float = 0.0
    requests_unused: float = 0.0
    share: float = 1.0
    rest_s: float = 0.0
    is_cut_off: bool = False

    @property
    def wants_something(self) -> bool:
        return self.requests > 0 or self.tokens > 0


@dataclass(frozen=True, slots=True)
class Grant:
    requests: int = 0
    tokens: float = 0.0


class LeasedBucket:
    """Stands where a ``Bucket`` stands. It leaks nothing: what is granted may be taken."""

    def __init__(
        self, limit_per_minute: float, own_limit: float, part: float, lease: Lease
    ) -> None:
        self.limit_per_minute = limit_per_minute
        self.amount_taken = 0.0
        self.wanted = 0.0
        """The amount that was asked about last."""
        self._own_limit = own_limit
        self._rate_per_s = part * SHARE_OF_LIMIT * limit_per_minute / 60
        self._share = 1.0
        self._granted = 0.0
        self._lapses_at_s = -math.inf
        self._own: Bucket | None = None
        self._is_cut_off = False
        self._lease = lease

    def __repr__(self) -> str:
        own = f", on its own at {self._own_limit:g}/min" if self._is_cut_off else ""
        return f"<LeasedBucket {self._granted:g} of {self.limit_per_minute:g}/min{own}>"

    @property
    def rate_per_s(self) -> float:
        """An even part of the whole: as much comes when all workers have something to send."""
        return self._share * self._rate_per_s

    @property
    def granted(self) -> float:
        """What may be taken now."""
        if _now_s() >= self._lapses_at_s:
            self._granted = 0.0
        return self._granted

    def wait_s(self, amount: float = 0.0) -> float:
        """0 where ``amount`` may be taken; else infinity, until a grant moves the line up."""
        if self._is_cut_off:
            return math.inf if self._own is None else self._own.wait_s()
        self.wanted = amount or self.wanted
        if amount <= self.granted + ROUNDING:
            return 0.0
        self._lease.want()
        return math.inf

    def take(self, amount: float) -> None:
        self.amount_taken += amount
        if self._own is not None:
            self._own.take(amount)
        else:
            self._granted -= amount

    def give_back(self, amount: float) -> None:
        self.amount_taken -= amount
        if self._own is not None:
            self._own.give_back(amount)
        else:
            self._granted += amount

    def settle(self, taken: float, used: float, *, refunds: bool) -> None:
        """As ``Bucket.settle``; the lessor is told of it with the next ask."""
        if used <= taken and not refunds:
            return
        owed = min(used, self.limit_per_minute) - min(taken, self.limit_per_minute)
        self.amount_taken += owed
        if self._own is not None:
            self._own.settle(taken, used, refunds=refunds)
        else:
            self._lease.tokens_owed += owed

    def set_share(self, share: float) -> None:
        self._share = self._lease.share = share
        if self._own is not None:
            self._own.set_share(share)

    def rest_until(self, until_s: float) -> None:
        self._granted = 0.0
        self._lease.rests_until_s = max(self._lease.rests_until_s, until_s)
        if self._own is not None:
            self._own.rest_until(until_s)

    def receive(self, amount: float) -> None:
        self._granted += amount
        self._lapses_at_s = _now_s() + GRANT_LASTS_S

    def hand_back(self) -> float:
        """What was granted and has not been used, which is gone here; negative if it was more."""
        unused, self._granted = self.granted, 0.0
        return unused

    def fall_back(self) -> None:
        """Go on at an even part of the limit, from nothing: what is sent first has to come in."""
        self._is_cut_off, self._granted = True, 0.0
        if self._own_limit > 0:
            self._own = Bucket(self._own_limit)
            self._own.set_share(self._share)
            self._own.take(max(1.0, self.wanted))

    def come_back(self) -> None:
        self._is_cut_off, self._own = False, None


class Lease:
    """One worker's dealings with the lessor about one endpoint; ``run`` for as long as it sends.

    ``ask`` raises ``LessorUnreachableError``, or waits for ever, where the lessor is not there.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        worker: int,
        num_workers: int,
        ask: Callable[[Ask], Awaitable[Grant]],
    ) -> None:
        self.share = 1.0
        self.tokens_owed = 0.0
        self.rests_until_s = -math.inf
        self.requests = self.tokens = None
        part = 1 / num_workers
        if (per_minute := limits.requests_per_minute) is not None:
            # Whole requests: else so many parts, each with one begun, would come to more.
            own = float(math.floor(per_minute * part))
            self.requests = LeasedBucket(per_minute, own, part, self)
        if (per_minute := limits.tokens_per_minute) is not None:
            self.tokens = LeasedBucket(per_minute, per_minute * part, part, self)
        self._limits = limits
        self._worker = worker
        self._ask = ask
        self._line: Line[Any] | None = None
        self._wanted = asyncio.Event()
        self._heard_at_s = math.inf  # not yet
        self.is_cut_off = False

    def __repr__(self) -> str:
        return f"<Lease of worker {self._worker}{', cut off' if self.is_cut_off else ''}>"

    def serve(self, line: Line[Any]) -> None:
        """Let in from this line what a grant has room for."""
        self._line = line

    def want(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        """Ask for what the line wants, and tell the lessor that we are there; until cancelled.

        Who has never heard of the lessor waits for it: only for those that it knows does it leave
        room.
        """
        while True:
            asked_at_s = _now_s()
            ask = self._next_ask(asked_at_s)
            try:
                async with asyncio.timeout(FALL_BACK_AFTER_S):
                    grant = await self._ask(ask)
            except (TimeoutError, LessorUnreachableError):
                self.tokens_owed += ask.tokens_owed
                self._not_heard()
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            self._heard_at_s = asked_at_s
            if self.is_cut_off:
                self._come_back()
                continue
            self._receive(grant)
            if not self._wanted.is_set():
                await self._wait_for_want()

    def _next_ask(self, now_s: float) -> Ask:
        """Hand back what is left, and ask for all that waits: so nothing is held for long."""
        owed, self.tokens_owed = self.tokens_owed, 0.0
        unused = 0.0
        if self.requests is not None:
            unused = self.requests.hand_back()
        if self.tokens is not None:
            owed -= self.tokens.hand_back()
        requests, first_tokens = 0, 0.0
        if self._wanted.is_set() and not self.is_cut_off:
            requests = max(1, 0 if self._line is None else self._line.num_waiting)
            first_tokens = 0.0 if self.tokens is None else self.tokens.wanted
        self._wanted.clear()
        return Ask(
            self._worker,
            self._limits,
            requests=requests,
            tokens=requests * first_tokens,
            first_tokens=first_tokens,
            tokens_owed=owed,
            requests_unused=unused,
            share=self.share,
            rest_s=max(0.0, self.rests_until_s - now_s),
            is_cut_off=self.is_cut_off,
        )

    def _receive(self, grant: Grant) -> None:
        if self.requests is not None and grant.requests:
            self.requests.receive(grant.requests)
        if self.tokens is not None and grant.tokens:
            self.tokens.receive(grant.tokens)
        if self._line is not None:
            self._line.move_up()  # and where that was not enough, it wants more

    def _not_heard(self) -> None:
        if self.is_cut_off or _now_s() - self._heard_at_s < FALL_BACK_AFTER_S:
            return
        self.is_cut_off = True
        for bucket in self._buckets():
            bucket.fall_back()
        if self._line is not None:
            self._line.move_up()

    def _come_back(self) -> None:
        """From now on what is sent is granted; the next ask tells the lessor so."""
        self.is_cut_off = False
        for bucket in self._buckets():
            bucket.come_back()
        if self._line is not None:
            self._line.move_up()

    async def _wait_for_want(self) -> None:
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._wanted.wait()
        except TimeoutError:
            return

    def _buckets(self) -> list[LeasedBucket]:
        return [bucket for bucket in (self.requests, self.tokens) if bucket is not None]


def _now_s() -> float:
    return asyncio.get_running_loop().time()
