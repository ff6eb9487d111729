"""The account's rate limits, granted to workers in slices: the sum is never more than the limits.

Of the limits the lessor grants so much as belongs to workers that it hears, and to those that have
nothing to send. The others may be cut off, and then use their even part without asking. One that
was started again has heard nobody yet, and so begins with nothing to grant.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection

from weave_async.flow.bucket import Bucket
from weave_async.flow.leasing import GRANT_LASTS_S, SILENT_AFTER_S, Ask, Grant, Limits
from weave_async.flow.line import Line

SLICE_S = 0.05
"""A grant is of what the limits let through in so long: workers take turns quickly, and twenty
grants a second serve any number of them."""
LONGEST_POLL_S = 0.5
"""Nobody waits longer for an answer, even if it is that there is nothing: it is a sign of life."""


class _Turn:
    """A worker's place in the line, which it keeps from one ask to the next."""

    __slots__ = ("ask", "grant", "granted_at_s", "waiting")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.grant = Grant()
        self.granted_at_s = 0.0
        self.waiting: asyncio.Task[None] | None = None


class Lessor:
    """Grants the limits of one endpoint to ``num_workers`` workers, in the order of their asking.

    Nobody is let past, so that a large request cannot starve behind small ones.
    """

    def __init__(self, limits: Limits, num_workers: int) -> None:
        rpm, tpm = limits.requests_per_minute, limits.tokens_per_minute
        self.limits = limits
        self._num_workers = num_workers
        self._requests = None if rpm is None else Bucket(rpm)
        self._tokens = None if tpm is None else Bucket(tpm)
        self._line: Line[_Turn] = Line(self._take, self._undo)
        self._turns: dict[int, _Turn] = {}
        self._heard_at_s: dict[int, float] = {}
        self._idle: frozenset[int] = frozenset()
        self._paces: dict[int, float] = {}
        self._share = 1.0

    def __repr__(self) -> str:
        return f"<Lessor {self._share:.0%} of {self.limits}, {self._line.num_waiting} waiting>"

    async def lease(self, ask: Ask) -> Grant:
        """A grant as soon as there is one, or an empty one within half a second."""
        self._settle(ask)
        if ask.is_cut_off:
            self._heard_at_s.pop(ask.worker, None)
            return Grant()
        now_s = _now_s()
        self._heard_at_s[ask.worker] = now_s
        self._paces[ask.worker] = ask.share
        for bucket in self._buckets() if ask.rest_s else ():
            bucket.rest_until(now_s + ask.rest_s)
        turn = self._turn_of(ask)
        self._line.move_up()
        if turn is None or turn.waiting is None:
            return Grant()
        await asyncio.wait({turn.waiting}, timeout=LONGEST_POLL_S)
        if not turn.waiting.done() or self._turns.get(ask.worker) is not turn:
            return Grant()
        del self._turns[ask.worker]
        has_lapsed = _now_s() - turn.granted_at_s > GRANT_LASTS_S
        return Grant() if has_lapsed else turn.grant

    def note_idle(self, workers: Collection[int]) -> None:
        """These have nothing to send until they ask again; what is theirs is for the others."""
        self._idle = frozenset(workers)
        self._line.move_up()

    def _turn_of(self, ask: Ask) -> _Turn | None:
        """Its place in the line: the one that it has, or the last; none if it wants nothing."""
        turn = self._turns.get(ask.worker)
        if not ask.wants_something:
            if turn is not None and turn.waiting is not None:
                del self._turns[ask.worker]
                turn.waiting.cancel()
            return None
        if turn is None:
            turn = self._turns[ask.worker] = _Turn(ask)
            turn.waiting = asyncio.create_task(self._line.wait(turn, in_front=False))
        turn.ask = ask
        return turn

    def _settle(self, ask: Ask) -> None:
        if self._tokens is not None and ask.tokens_owed > 0:
            self._tokens.take(ask.tokens_owed)
        elif self._tokens is not None:
            self._tokens.give_back(-ask.tokens_owed)
        if self._requests is not None:
            self._requests.give_back(ask.requests_unused)

    def _take(self, turn: _Turn) -> float:
        ask, now_s = turn.ask, _now_s()
        self._follow(now_s)
        if now_s - self._heard_at_s.get(ask.worker, -math.inf) >= SILENT_AFTER_S:
            return 0.0  # it leaves the line with nothing
        if (wait_s := max((b.wait_s() for b in self._buckets()), default=0.0)) > 0:
            return wait_s
        turn.granted_at_s = now_s
        turn.grant = self._slice_for(ask)
        if self._requests is not None:
            self._requests.take(turn.grant.requests)
        if self._tokens is not None:
            self._tokens.take(turn.grant.tokens)
        return 0.0

    def _slice_for(self, ask: Ask) -> Grant:
        """As many whole requests as a slice has room for, and one at least."""
        num = max(1, ask.requests)
        tokens_each = ask.tokens / num
        if self._requests is not None:
            num = min(num, int(SLICE_S * self._requests.rate_per_s))
        if self._tokens is not None and tokens_each > 0:
            num = min(num, int(SLICE_S * self._tokens.rate_per_s / tokens_each))
        num = max(1, num)
        return Grant(min(num, ask.requests), max(ask.first_tokens, num * tokens_each))

    def _undo(self, turn: _Turn) -> None:
        if self._requests is not None:
            self._requests.give_back(turn.grant.requests)
        if self._tokens is not None:
            self._tokens.give_back(turn.grant.tokens)

    def _follow(self, now_s: float) -> None:
        """Grant of the limits what nobody can be using without asking, at the slowest pace that
        anybody was refused down to.
        """
        heard = {
            worker
            for worker, heard_at_s in self._heard_at_s.items()
            if now_s - heard_at_s < SILENT_AFTER_S
        }
        num_counted = min(len(heard | self._idle), self._num_workers)
        pace = min((self._paces[worker] for worker in heard), default=1.0)
        share = pace * max(1, num_counted) / self._num_workers
        if share != self._share:
            self._share = share
            for bucket in self._buckets():
                bucket.set_share(share)

    def _buckets(self) -> list[Bucket]:
        return [bucket for bucket in (self._requests, self._tokens) if bucket is not None]


class Lessors:
    """One for each endpoint, by its name. Workers tell what the limits are; where they differ, as
    environments may, the lowest hold.
    """

    def __init__(self, num_workers: int) -> None:
        self._num_workers = num_workers
        self._idle: frozenset[int] = frozenset()
        self._lessors: dict[str, Lessor] = {}

    async def lease(self, endpoint: str, ask: Ask) -> Grant:
        lessor = self._lessors.get(endpoint)
        limits = ask.limits if lessor is None else lessor.limits.lowest(ask.limits)
        if lessor is None or limits != lessor.limits:
            lessor = self._lessors[endpoint] = Lessor(limits, self._num_workers)
            lessor.note_idle(self._idle)
        return await lessor.lease(ask)

    async def note_idle(self, workers: Collection[int]) -> None:
        self._idle = frozenset(workers)
        for lessor in self._lessors.values():
            lessor.note_idle(self._idle)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
