"""Admission: who may send, and when.

aiolimiter keeps the token buckets, but its waiters queue by the *amount* they want, so that a
large request can starve behind small ones (measured; see docs/architecture.md). Here the buckets
stand behind one fair lock: whoever holds the turn is the only waiter, and the order is the order of
arrival.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiolimiter import AsyncLimiter

SHARE_OF_LIMIT = 0.98
"""We pace at 98 % of a limit with a burst of one second: no 60 s window can then exceed it."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class Admission:
    """The gate of one endpoint, key and model: requests in flight, requests and tokens per minute.

    Time is the running loop's clock, so a loop with virtual time tests it in milliseconds.
    """

    def __init__(
        self,
        *,
        max_concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self.max_concurrency = max_concurrency
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self._slots = asyncio.Semaphore(max_concurrency)
        self._turn = asyncio.Lock()
        self._requests = _bucket(requests_per_minute)
        self._tokens = _bucket(tokens_per_minute)
        self._paused_until = 0.0
        self._pauses_in_a_row = 0
        self._sending: set[asyncio.Task[object] | None] = set()

    def __repr__(self) -> str:
        limits = [f"{self.in_flight}/{self.max_concurrency} in flight"]
        if self.requests_per_minute is not None:
            limits.append(f"{self.requests_per_minute:g} rpm")
        if self.tokens_per_minute is not None:
            limits.append(f"{self.tokens_per_minute:g} tpm")
        return f"<Admission {', '.join(limits)}>"

    @asynccontextmanager
    async def slot(self, *, tokens: int) -> AsyncIterator[None]:
        """Wait for the turn, then hold one request in flight that may cost ``tokens``."""
        async with self._slots:
            async with self._turn:
                await self._wait_while_paused()
                if self._tokens is not None:
                    await _acquire(self._tokens, tokens)
                if self._requests is not None:
                    await _acquire(self._requests, 1)
                await self._wait_while_paused()  # a pause may have come while we waited
            task = asyncio.current_task()
            self._sending.add(task)
            try:
                yield
            finally:
                self._sending.discard(task)

    @property
    def in_flight(self) -> int:
        return len(self._sending)

    def is_sending(self, task: asyncio.Task[object]) -> bool:
        """Whether this task holds a slot now, rather than waiting for one."""
        return task in self._sending

    def pause(self, retry_after_s: float | None) -> None:
        """Send nothing for as long as the endpoint asked, or for a growing time if it did not say.

        A wait of zero says nothing: taken at its word it would make a storm of refusals. Those of
        one storm count once: what arrives during a pause does not lengthen it.
        """
        now = asyncio.get_running_loop().time()
        if not retry_after_s:
            if now < self._paused_until:
                return
            longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._pauses_in_a_row)
            retry_after_s = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients out
            self._pauses_in_a_row += 1
        self._paused_until = max(self._paused_until, now + retry_after_s)

    def succeeded(self) -> None:
        """The endpoint answered: the next pause is a short one again."""
        self._pauses_in_a_row = 0

    @property
    def paused_for_s(self) -> float:
        return max(0.0, self._paused_until - asyncio.get_running_loop().time())

    async def _wait_while_paused(self) -> None:
        while (remaining_s := self.paused_for_s) > 0:  # noqa: ASYNC110 - a pause may be extended
            await asyncio.sleep(remaining_s)


def _bucket(per_minute: float | None) -> AsyncLimiter | None:
    if per_minute is None:
        return None
    per_second = per_minute * SHARE_OF_LIMIT / 60
    burst = max(1.0, per_second)
    return AsyncLimiter(burst, burst / per_second)


async def _acquire(bucket: AsyncLimiter, amount: float) -> None:
    """Take ``amount``; for one above the burst, the burst is lifted, or it would never fit."""
    burst = bucket.max_rate
    bucket.max_rate = max(burst, amount)
    try:
        await bucket.acquire(amount)
    finally:
        bucket.max_rate = burst
