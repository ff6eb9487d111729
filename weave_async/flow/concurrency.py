"""How many requests may be in flight at once.

Three ways to know: somebody has said so (``FixedConcurrency``), it follows from the rate limits
(``FollowingConcurrency``), or it has to be found out (``SeekingConcurrency``). All give way when
the endpoint shows that it is overloaded (503, time-outs; 429 where no rates are known).
"""

from __future__ import annotations

OVERLOAD_CUT = 0.75
SHORTEST_BETWEEN_CUTS_S = 10.0
LEAST_OVERLOADS, LEAST_OVERLOAD_SHARE = 3, 0.05
"""A single time-out among many answers is no overload."""
PROBE_EVERY_S, PROBE_FACTOR = 60.0, 1.1
SHORTEST_WINDOW_S = 1.0
WORTH_DOUBLING = 1.1
"""By this factor tokens/s must rise with twice the concurrency, or it is not what is short."""
WORTH_PROBING = 1.02


class FixedConcurrency:
    """Starts at what it was told, goes below it on overload, and comes back to it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.was_binding = False
        self._ceiling = limit
        self._most = float(limit)
        self._num_answered = self._num_overloads = 0
        self._changed_at_s: float | None = None
        self._cut_at_s: float | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.limit}, at most {self._ceiling}>"

    @property
    def ceiling(self) -> int:
        """``limit`` is never above this."""
        return self._ceiling

    def answered(self, now_s: float, tokens: int, e2e_s: float) -> None:
        """An answer of ``tokens`` has come, ``e2e_s`` after its request was sent."""
        self._num_answered += 1
        if self._num_overloads:
            share = self._num_overloads / (self._num_overloads + self._num_answered)
            if self._num_overloads >= LEAST_OVERLOADS and share >= LEAST_OVERLOAD_SHARE:
                self.cut(now_s)
        if self._changed_at_s is None:
            self._changed_at_s = now_s
        self._review(now_s, tokens, e2e_s)

    def overloaded(self) -> None:
        """A 503 or a time-out. It is judged at the next answer: without any, it is an outage."""
        self._num_overloads += 1

    def forgive(self) -> None:
        """What looked like an overload was an outage."""
        self._num_overloads = 0

    def cut(self, now_s: float) -> None:
        """Three quarters, at most once per 10 s."""
        self._num_overloads = self._num_answered = 0
        if self._cut_at_s is not None and now_s - self._cut_at_s < SHORTEST_BETWEEN_CUTS_S:
            return
        self._cut_at_s = self._changed_at_s = now_s
        self._most = max(1.0, OVERLOAD_CUT * self.limit)
        self.limit = int(self._most)

    def _review(self, now_s: float, tokens: int, e2e_s: float) -> None:
        if self.limit < self._ceiling and self._is_time_to_rise(now_s):
            self.limit = int(self._most)

    def _is_time_to_rise(self, now_s: float) -> bool:
        """A tenth more each minute, after which it is not time for the next one."""
        if self._changed_at_s is None or now_s - self._changed_at_s < PROBE_EVERY_S:
            return False
        self._changed_at_s = now_s
        self._num_overloads = self._num_answered = 0
        self._most = min(float(self._ceiling), max(self._most * PROBE_FACTOR, self._most + 1))
        return True


class FollowingConcurrency(FixedConcurrency):
    """Twice what the rate limits can keep in flight: never what binds, and still a bound."""

    def __init__(self, start: int, ceiling: int) -> None:
        super().__init__(ceiling)
        self.limit = self._start = min(start, ceiling)
        self.requests_per_s = 0.0
        """What the rate limits let through, at the size that requests have; admission says."""
        self._p95_s: float | None = None
        self._reviewed_at_s = 0.0

    def _review(self, now_s: float, tokens: int, e2e_s: float) -> None:
        if self._p95_s is None:
            self._p95_s = 2 * e2e_s
        # A quantile by stochastic approximation: steps up and down balance at one in twenty above.
        step_s = 0.1 * self._p95_s
        self._p95_s += 0.95 * step_s if e2e_s > self._p95_s else -0.05 * step_s
        if now_s - self._reviewed_at_s >= SHORTEST_WINDOW_S or self.was_binding:
            self._reviewed_at_s = now_s
            self.was_binding = False
            if self._most < self._ceiling:
                self._is_time_to_rise(now_s)
            wanted = max(self._start, int(2 * self.requests_per_s * self._p95_s) + 1)
            self.limit = max(1, min(wanted, int(self._most)))


class SeekingConcurrency(FixedConcurrency):
    """Doubles while that brings more tokens per second, then holds, and probes each minute."""

    def __init__(self, start: int, ceiling: int) -> None:
        super().__init__(ceiling)
        self.limit = min(start, ceiling)
        self._is_doubling = True
        self._before: tuple[int, float] | None = (
            None  # the limit before the last rise, its tokens/s
        )
        self._num_to_skip = self.limit
        self._window_began_at_s: float | None = None
        self._num_in_window = self._tokens_in_window = 0

    def cut(self, now_s: float) -> None:
        super().cut(now_s)
        self._is_doubling = False
        self._before = None
        self._start_window()

    def _review(self, now_s: float, tokens: int, e2e_s: float) -> None:
        if self._num_to_skip > 0:  # sent under the last limit
            self._num_to_skip -= 1
            return
        if self._window_began_at_s is None:
            self._window_began_at_s = now_s
            return
        self._num_in_window += 1
        self._tokens_in_window += max(1, tokens)
        elapsed_s = now_s - self._window_began_at_s
        if self._num_in_window < 2 * self.limit or elapsed_s < SHORTEST_WINDOW_S:
            return
        self._decide(now_s, self._tokens_in_window / elapsed_s)

    def _decide(self, now_s: float, tokens_per_s: float) -> None:
        if self._before is not None:
            limit, before_per_s = self._before
            self._before = None
            worth = WORTH_DOUBLING if self._is_doubling else WORTH_PROBING
            if tokens_per_s < worth * before_per_s:
                self._is_doubling = False
                self._set(now_s, limit)
                return
        if not self.was_binding:
            self._start_window()
            return
        if self._is_doubling:
            self._rise(now_s, 2 * self.limit, tokens_per_s)
        elif self._is_time_to_rise(now_s):
            self._rise(now_s, max(self.limit + 1, int(PROBE_FACTOR * self.limit)), tokens_per_s)
        else:
            self._start_window()

    def _rise(self, now_s: float, limit: int, tokens_per_s: float) -> None:
        if self.limit < self._ceiling:
            self._before = (self.limit, tokens_per_s)
            self._set(now_s, min(limit, self._ceiling))

    def _set(self, now_s: float, limit: int) -> None:
        self.limit = limit
        self._changed_at_s = now_s
        self._num_to_skip = limit
        self._start_window()

    def _start_window(self) -> None:
        self._window_began_at_s = None
        self._num_in_window = self._tokens_in_window = 0
        self.was_binding = False


Concurrency = FixedConcurrency | FollowingConcurrency | SeekingConcurrency
