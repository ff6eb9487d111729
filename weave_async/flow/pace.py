"""At which share of its rate limits an endpoint is driven: down on refusals, slowly up again.

A configured limit may be wrong, or somebody else may use the same key. A refusal (429) that is news
lowers the pace by a tenth. When the refusals are over, what was accepted since the last time tells
how far the pace has to fall at least. It rises quickly to just below where it was last refused,
very slowly past that, and ever faster beyond (the shape is that of TCP CUBIC, RFC 9438).
"""

from __future__ import annotations

import math
from collections import deque

CUT = 0.9
SHORTEST_BETWEEN_CUTS_S = 5.0
LEAST_KEPT = 0.1
"""What one look at the acceptances leaves of the pace: they may have been few for want of work."""
LEAST_SHARE = 0.001
LOOK_BACK_S = 60.0
"""Acceptances are counted over a minute at least: some servers count by the minute."""
QUIET_S = 15.0
"""The pace rises only after so long without a refusal."""
STEP_S = 1.0
BELOW_CEILING, ABOVE_CEILING = 0.96, 1.03
"""Between these shares of it the pace rises slowly."""
RISE_PER_S, SLOW_RISE_PER_S = 0.002, 0.0002


class Pace:
    """Plain arithmetic: times and amounts are handed in. ``share`` is 1 until the first refusal.

    Amounts are seconds: how long the endpoint's full rate takes for what was sent.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self._accepted_s = 0.0
        self._marks: deque[tuple[float, float]] = deque()  # (when, accepted until then)
        self._ceiling = 1.0
        self._cut_at_s = self._refused_at_s = self._resumed_at_s = -math.inf
        self._event_began_at_s = -math.inf
        self._rose_at_s = 0.0
        self.is_refusing = False

    def __repr__(self) -> str:
        return f"<Pace {self.share:.1%}, refused at {self._ceiling:.1%}>"

    @property
    def is_lowered(self) -> bool:
        return self.share < 1.0

    def is_news(self, sent_at_s: float) -> bool:
        """Whether a refusal is more than the rest of a storm that we have heeded already."""
        return sent_at_s > self._refused_at_s

    def sent(self, now_s: float, amount_s: float) -> None:
        """Taken for accepted, until it is refused."""
        self._accepted_s += amount_s
        if not self._marks:
            self._marks.append((now_s, 0.0))

    def refused(
        self,
        now_s: float,
        sent_at_s: float,
        amount_s: float,
        *,
        told_share: float,
        is_saturated: bool,
    ) -> None:
        """A 429. ``told_share`` is where the endpoint says that its limit is.

        ``is_saturated`` says whether there was more to send than could be.
        """
        self._accepted_s -= amount_s
        if not self.is_news(sent_at_s):
            return
        if self.is_refusing and sent_at_s > self._resumed_at_s + 1.0:
            self._accepting_again(
                now_s, is_saturated
            )  # those before it, after the pause, were not refused
        if not self.is_refusing and now_s - self._cut_at_s >= SHORTEST_BETWEEN_CUTS_S:
            self._ceiling = self.share
            self._cut_to(min(CUT, max(told_share / self.share, 0.5)) * self.share)
            self._cut_at_s = now_s
        if not self.is_refusing:
            self._event_began_at_s = now_s
        self.is_refusing = True
        self._refused_at_s = now_s

    def resumes(self, at_s: float) -> None:
        """Nothing is sent before then."""
        self._resumed_at_s = at_s

    def answered(self, now_s: float, sent_at_s: float, *, is_saturated: bool) -> bool:
        """Whether that ends a time of refusals: it was sent after the first of them."""
        if not self.is_refusing or sent_at_s <= self._event_began_at_s:
            return False
        self._accepting_again(now_s, is_saturated)
        return True

    def _accepting_again(self, now_s: float, is_saturated: bool) -> None:
        self.is_refusing = False
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= now_s - LOOK_BACK_S:
            marks.popleft()
        since_s, accepted_s = marks[0]
        if now_s - since_s >= SHORTEST_BETWEEN_CUTS_S:
            accepted = (self._accepted_s - accepted_s) / (now_s - since_s)
            if is_saturated and accepted < self.share / 2:
                self._cut_to(max(1.5 * accepted, LEAST_KEPT * self.share))
                self._ceiling = min(self._ceiling, self.share)
            marks.append((now_s, self._accepted_s))

    def _cut_to(self, share: float) -> None:
        self.share = max(LEAST_SHARE, share)

    def rise(self, now_s: float) -> bool:
        """Whether the pace is higher than at the last call."""
        quiet_since_s = max(self._refused_at_s, self._resumed_at_s) + QUIET_S
        elapsed_s = now_s - max(quiet_since_s, self._rose_at_s)
        if elapsed_s < STEP_S:
            return False
        self._rose_at_s = now_s
        self.share = min(1.0, self.share + min(elapsed_s, 5 * STEP_S) * self._rise_per_s())
        return True

    def _rise_per_s(self) -> float:
        low, high = BELOW_CEILING * self._ceiling, ABOVE_CEILING * self._ceiling
        if self.share < low:
            return RISE_PER_S * self._ceiling + (low - self.share) / 33
        if self.share < high:
            return SLOW_RISE_PER_S * self._ceiling
        return RISE_PER_S + self.share / 100
