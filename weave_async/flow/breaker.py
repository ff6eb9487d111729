"""When an endpoint is down: send it a probe now and then, and no row's attempts.

It opens when nothing but transient failures comes back, lets one probe through after 1, 2, 4 …
30 s, and then ever more at a time, until so many have succeeded that it closes.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Literal

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW, LEAST_REQUESTS = 5, 2
"""Failures with no success between, of so many different requests: one bad row is no outage.

Failures often come sooner than answers, so that the first to come back prove little: there must be
at least as many as are still out.
"""
WINDOW_S, LEAST_IN_WINDOW = 10.0, 20
FIRST_PROBE_S, LONGEST_PROBE_S = 1.0, 30.0
LONGEST_PROBE_ALIVE_S = 2.5
"""Between probes where the endpoint is known to live: the rows that fail have to come to an end."""
LONGEST_DOUBT_S, PROBE_BEYOND_DOUBT_S = 120.0, 0.25
"""Where it has lived for so long, they probably are what fails: they follow faster."""
CLOSES_AT_WIDTH = 32
MOST_REMEMBERED = 1000


class Breaker:
    """Plain arithmetic, except that it tells when it opens and when it closes."""

    def __init__(self, name: str, *, longest_outage_s: float) -> None:
        self.longest_outage_s = longest_outage_s
        self.is_closed = True
        self.is_slow = False
        """Whether it is open for slowness rather than for failures."""
        self.num_outages = 0
        """How often it has opened."""
        self.num_successes = 0
        """Counted by whoever hears an answer: it happens with each one."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when it has opened, and when it has closed."""
        self._name = name
        self._failures: deque[tuple[float, int, str]] = deque(maxlen=MOST_REMEMBERED)
        self._opened_at_s = 0.0
        self._probe_at_s = 0.0
        self._probe_wait_s = FIRST_PROBE_S
        self._width = 0
        self._num_probing = 0

    def __repr__(self) -> str:
        return f"<Breaker {self.state}, {self._num_probing} probing>"

    @property
    def state(self) -> Literal["closed", "half-open", "open"]:
        """``half-open`` from the second probe that may be out at once."""
        if self.is_closed:
            return "closed"
        return "half-open" if self._width > 1 else "open"

    def wait_s(self, now_s: float) -> float:
        """How long until the next request may go; infinity while the probes under way decide."""
        if self.is_closed:
            return 0.0
        if self._num_probing >= max(1, self._width):
            return math.inf
        return max(0.0, self._probe_at_s - now_s)

    def outage_s(self, now_s: float) -> float:
        """For how long it has been open."""
        return 0.0 if self.is_closed else now_s - self._opened_at_s

    def probe_sent(self) -> None:
        self._num_probing += 1

    def probe_lost(self) -> None:
        """Nobody will know how it ended: it was cancelled."""
        self._num_probing = max(0, self._num_probing - 1)

    def probe_succeeded(self, *, max_concurrency: int) -> None:
        """A probe was answered; a refusal of one row is an answer too."""
        if self.is_closed:
            return
        self._num_probing = max(0, self._num_probing - 1)
        self._width = max(1, self._width) + 1
        if self._width > min(CLOSES_AT_WIDTH, max_concurrency):
            self.is_closed, self.is_slow = True, False
            self._failures.clear()
            logger.warning("%s answers again", self._name)
            self.on_change()

    def failed(
        self,
        now_s: float,
        request_id: str,
        reason: str,
        *,
        is_probe: bool,
        is_alive: bool = False,
        num_out: int = 0,
        told_s: float = 0.0,
    ) -> None:
        """A transient failure, while ``num_out`` others are still out.

        ``told_s`` is how long the endpoint asked to be left alone; ``is_alive`` says that it
        answered something else meanwhile.
        """
        if not self.is_closed:
            if is_probe:
                self._probe_failed(now_s, told_s, is_alive)
            return
        failures = self._failures
        failures.append((now_s, self.num_successes, request_id))
        while failures[0][0] < now_s - WINDOW_S and failures[0][1] < self.num_successes:
            failures.popleft()
        if self._are_in_a_row(num_out) or self._are_most(num_out):
            self._open(now_s, told_s)
            logger.warning(
                "%s fails again and again, the last time with: %s. Trying again in %.0f s, then "
                "ever less often; giving up after %.0f s",
                self._name,
                reason,
                self._probe_at_s - now_s,
                self.longest_outage_s,
            )
            self.on_change()

    def open_for_slowness(self, now_s: float, took_s: float) -> None:
        """Answers come far later than they used to, or not at all."""
        if self.is_closed:
            self.is_slow = True
            self._open(now_s, 0.0)
            logger.warning(
                "%s has become slow: %.0f s for an answer is far longer than it used to take",
                self._name,
                took_s,
            )
            self.on_change()

    def _are_in_a_row(self, num_out: int) -> bool:
        num = min(max(FAILURES_IN_A_ROW, num_out), MOST_REMEMBERED)
        if len(self._failures) < num or self._failures[-num][1] != self.num_successes:
            return False
        ids = {id for _, successes, id in self._failures if successes == self.num_successes}
        return len(ids) >= LEAST_REQUESTS

    def _are_most(self, num_out: int) -> bool:
        num_failures = len(self._failures)
        num_successes = self.num_successes - self._failures[0][1]
        if num_failures + num_successes < LEAST_IN_WINDOW:
            return False
        if num_failures <= num_successes + num_out:
            return False
        return len({id for _, _, id in self._failures}) >= LEAST_REQUESTS

    def _open(self, now_s: float, told_s: float) -> None:
        self.is_closed = False
        self.num_outages += 1
        self._opened_at_s = now_s
        self._num_probing = self._width = 0
        self._probe_wait_s = FIRST_PROBE_S
        self._probe_at_s = now_s + max(FIRST_PROBE_S, told_s)

    def _probe_failed(self, now_s: float, told_s: float, is_alive: bool) -> None:
        self._num_probing = max(0, self._num_probing - 1)
        self._width = max(0, self._width - 2)  # so that one failure in ten does not close it down
        if self._width == 0:
            longest_s = LONGEST_PROBE_S
            if is_alive:
                is_doubtful = self.outage_s(now_s) < LONGEST_DOUBT_S
                longest_s = LONGEST_PROBE_ALIVE_S if is_doubtful else PROBE_BEYOND_DOUBT_S
            self._probe_wait_s = min(longest_s, 2 * self._probe_wait_s)
            self._probe_at_s = max(self._probe_at_s, now_s + max(self._probe_wait_s, told_s))
