"""Whether an endpoint answers far more slowly than it used to. Plain arithmetic.

It is compared with itself only: some models are slow, and a mix wants their answers all the same.
"""

from __future__ import annotations

from collections import deque
from statistics import median

TIMES_USUAL, LEAST_S = 10.0, 5.0
"""So many times what is usual, and so long at least, is slow."""
NUM_RECENT = 10
LEAST_USUAL, MOST_USUAL = 100, 1000
"""Answers before anything is usual; and how many of them are kept."""


class Slowness:
    """``answered`` says of each answer how long it took."""

    def __init__(self) -> None:
        self._recent_s: deque[float] = deque()
        self._usual_s: deque[float] = deque(maxlen=MOST_USUAL)
        self._num_answers = 0
        self._limit_s = float("inf")

    def __repr__(self) -> str:
        return f"<Slowness beyond {self._limit_s:.1f} s>"

    def answered(self, took_s: float) -> None:
        self._recent_s.append(took_s)
        if len(self._recent_s) <= NUM_RECENT:
            return
        self._usual_s.append(self._recent_s.popleft())
        self._num_answers += 1
        if self._num_answers % LEAST_USUAL == 0:
            self._limit_s = max(LEAST_S, TIMES_USUAL * median(self._usual_s))

    def is_slow(self, took_s: float) -> bool:
        """Of one answer, which may have been a long one."""
        return took_s >= self._limit_s

    @property
    def has_become_slow(self) -> bool:
        """Of the last answers, taken together."""
        recent_s = self._recent_s
        is_last_slow = bool(recent_s) and self.is_slow(recent_s[-1])
        return is_last_slow and len(recent_s) == NUM_RECENT and self.is_slow(median(recent_s))

    def forget_recent(self) -> None:
        """What comes from now on is to be judged on its own."""
        self._recent_s.clear()
