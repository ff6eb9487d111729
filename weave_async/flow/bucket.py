"""A token bucket that one dispatcher asks, rather than one that many wait at.

aiolimiter keeps the level and lets it leak. Its waiters, though, queue by the *amount* they want,
so that a large request can starve behind small ones (measured; see docs/architecture.md): here
nobody waits at the bucket, it only tells for how long one would.
"""

from __future__ import annotations

import asyncio

from aiolimiter import AsyncLimiter

SHARE_OF_LIMIT, CATCH_UP_S = 0.98, 0.1
"""We pace at 98 % of a limit, and catch up on 0.1 s of being late: no 60 s window exceeds it then,
nor does a second, except by part of one request. (Measured: a burst of a second is refused by
servers that count in seconds.)"""
ROUNDING = 1e-9
"""What a timer may fall short of, as a share of a second's amount, without being set again."""


class Bucket(AsyncLimiter):
    """An amount per minute, spread evenly.

    Whoever comes when it is empty may take any amount, and those after wait for it to leak: so a
    large request waits no longer than a small one, and nobody gets past it.
    """

    __slots__ = ("_full_rate_per_s", "_is_in_use", "amount_taken", "limit_per_minute")

    def __init__(self, limit_per_minute: float) -> None:
        self.limit_per_minute = limit_per_minute
        self.amount_taken = 0.0
        """In all, less what was given back: what has counted against the limit so far."""
        self._is_in_use = False
        self._full_rate_per_s = SHARE_OF_LIMIT * limit_per_minute / 60
        super().__init__(CATCH_UP_S * self._full_rate_per_s, CATCH_UP_S)

    def __repr__(self) -> str:
        return f"<Bucket {self._level:.0f} to leak, {60 * self._rate_per_sec:.0f}/min>"

    @property
    def rate_per_s(self) -> float:
        return self._rate_per_sec

    def wait_s(self, amount: float = 0.0) -> float:
        """How long until somebody may take any ``amount``, if nobody else does; 0 for now."""
        self._leak()
        wait_s = (self._level - self.max_rate) / self._rate_per_sec
        return wait_s if wait_s > ROUNDING else 0.0

    def take(self, amount: float) -> None:
        if not self._is_in_use:  # there is nothing to catch up on at first
            self._is_in_use = True
            self._level = max(self._level, self.max_rate)
        self._level += amount
        self.amount_taken += amount

    def give_back(self, amount: float) -> None:
        """``amount`` was taken for something that was not sent."""
        self._level = max(0.0, self._level - amount)
        self.amount_taken -= amount

    def settle(self, taken: float, used: float, *, refunds: bool) -> None:
        """What was taken for one request turned out to be ``used``: the excess becomes a debt.

        One of more than a minute is taken for a mistake, and for a minute. What was not used comes
        back only where the endpoint ``refunds`` it too.
        """
        if used > taken:
            debt = min(used, self.limit_per_minute) - min(taken, self.limit_per_minute)
            self._level += debt
            self.amount_taken += debt
        elif refunds:
            self.give_back(taken - used)

    def set_share(self, share: float) -> None:
        """Run at a share of the full rate from now on."""
        self._leak()
        self._rate_per_sec = share * self._full_rate_per_s
        self.max_rate = CATCH_UP_S * self._rate_per_sec

    def rest_until(self, until_s: float) -> None:
        """Let nobody in before ``until_s``, and then one at a time.

        Else each pause would end in a burst, and be paid for with a burst of refusals.
        """
        self._leak()
        rest_s = until_s - asyncio.get_running_loop().time()
        self._level = max(self._level, self.max_rate + rest_s * self._rate_per_sec)
