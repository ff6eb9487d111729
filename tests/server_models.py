"""How rate limits are enforced out there: four models, each of which may count what it rejects."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class ServerModel(Protocol):
    """A limit per minute. ``limit`` may be changed while it runs."""

    limit: float

    def ask(self, now_s: float, amount: float) -> bool:
        """Whether a request of this amount is let in now."""


class TokenBucketServer:
    """A bucket that holds a minute's worth and is full at first (OpenAI, as documented)."""

    def __init__(self, limit: float, *, counts_rejections: bool = False) -> None:
        self.limit = limit
        self._counts_rejections = counts_rejections
        self._level = limit
        self._now_s = 0.0

    def ask(self, now_s: float, amount: float) -> bool:
        self._level = min(self.limit, self._level + (now_s - self._now_s) * self.limit / 60)
        self._now_s = now_s
        if amount <= self._level:
            self._level -= amount
            return True
        if self._counts_rejections:
            self._level = max(0.0, self._level - amount)
        return False


class SlidingWindowServer:
    """No more than the limit in the last 60 s, at any moment."""

    def __init__(self, limit: float, *, counts_rejections: bool = False) -> None:
        self.limit = limit
        self._counts_rejections = counts_rejections
        self._taken: deque[tuple[float, float]] = deque()
        self._total = 0.0

    def ask(self, now_s: float, amount: float) -> bool:
        while self._taken and self._taken[0][0] <= now_s - 60:
            self._total -= self._taken.popleft()[1]
        fits = self._total + amount <= self.limit
        if fits or self._counts_rejections:
            self._taken.append((now_s, amount))
            self._total += amount
        return fits


class FixedWindowServer:
    """No more than the limit in each minute of the server's clock."""

    def __init__(self, limit: float, *, counts_rejections: bool = False) -> None:
        self.limit = limit
        self._counts_rejections = counts_rejections
        self._minute = 0
        self._total = 0.0

    def ask(self, now_s: float, amount: float) -> bool:
        minute = int((now_s + 17) // 60)  # it does not begin with us
        if minute != self._minute:
            self._minute, self._total = minute, 0.0
        fits = self._total + amount <= self.limit
        if fits or self._counts_rejections:
            self._total += amount
        return fits


class ShortSpanServer:
    """A sixtieth of the limit in each second: once it is used up, no more until the next one.

    What a large request takes above that is taken from the seconds after it.
    """

    def __init__(self, limit: float, *, counts_rejections: bool = False) -> None:
        self.limit = limit
        self._counts_rejections = counts_rejections
        self._second = 0
        self._total = 0.0

    def ask(self, now_s: float, amount: float) -> bool:
        quantum = max(self.limit / 60, 1.0)
        second = int(now_s + 0.37)  # it does not begin with us
        self._total = max(0.0, self._total - (second - self._second) * quantum)
        self._second = second
        fits = self._total < quantum
        if fits or self._counts_rejections:
            self._total = self._total + amount if fits else max(self._total, quantum)
        return fits


SERVER_MODELS = (TokenBucketServer, SlidingWindowServer, FixedWindowServer, ShortSpanServer)
