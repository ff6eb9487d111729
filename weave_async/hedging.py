"""Stragglers: when a request is sent a second time, and which of the two answers counts."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

T = TypeVar("T")

SHORTEST_DELAY_S = 1.0
LEAST_ANSWERS, NUM_KEPT = 50, 1000
"""Answers before a percentile of their times means something; and how many of them are kept."""
ANEW_EVERY = 25
"""Answers between two looks at the percentile: sorting costs more than a request otherwise does."""


class Hedging:
    """Says when a request of one endpoint is late enough for a second sending. Plain arithmetic.

    ``after`` is seconds, or ``p95`` of how long this endpoint's answers took; ``most`` is the share
    of requests that may be sent twice.
    """

    def __init__(self, after: float | Literal["p95"], *, most: float) -> None:
        self.num_sent = self.num_hedged = self.num_won = 0
        self._most = most
        self._fixed_s = None if after == "p95" else after
        self._took_s: deque[float] = deque(maxlen=NUM_KEPT)
        self._num_answered = 0
        self._p95_s = math.inf

    def __repr__(self) -> str:
        return f"<Hedging {self.num_hedged} of {self.num_sent}, {self.num_won} won>"

    @property
    def delay_s(self) -> float:
        """How long a request may be out alone; infinity while nobody knows what is usual."""
        return max(SHORTEST_DELAY_S, self._p95_s) if self._fixed_s is None else self._fixed_s

    @property
    def may_hedge(self) -> bool:
        """Whether the share that may be sent twice is not used up."""
        return self.num_hedged + 1 <= self._most * self.num_sent

    def answered(self, took_s: float) -> None:
        self._took_s.append(took_s)
        self._num_answered += 1
        if self._num_answered >= LEAST_ANSWERS and self._num_answered % ANEW_EVERY == 0:
            ordered = sorted(self._took_s)
            self._p95_s = ordered[int(0.95 * len(ordered))]


async def raced(
    first: Coroutine[Any, Any, T],
    second: Callable[[], Coroutine[Any, Any, T | None]],
    *,
    after_s: float,
    lost: Callable[[T], None],
) -> tuple[T, bool]:
    """The earlier answer, and whether it is ``second``'s, which starts after so long.

    ``second`` ends with ``None`` where it has no answer; ``lost`` is told of an answer of it that
    came too late. What ``first`` raises is raised, and ends ``second``. ``first`` runs in the
    caller's own task, so that whoever looks for that task among those that are out finds it.
    """
    loop = asyncio.get_running_loop()
    beside: asyncio.Task[T | None] | None = None
    is_decided = False

    def start() -> None:
        nonlocal beside
        beside = loop.create_task(second())
        beside.add_done_callback(overtake)

    def overtake(task: asyncio.Task[T | None]) -> None:
        if not is_decided and _answer_of(task) is not None:
            overtaken.reschedule(loop.time())

    timer = loop.call_later(after_s, start)
    used = None
    try:
        async with asyncio.timeout(None) as overtaken:
            try:
                answer = await first
            finally:
                is_decided = True
        return answer, False
    except TimeoutError:
        used = None if beside is None else _answer_of(beside)
        if used is None:  # it was of ``first``'s own making
            raise
        return used, True
    finally:
        timer.cancel()
        if beside is not None:
            if not beside.done():
                beside.cancel()
                await asyncio.wait([beside])
            late = _answer_of(beside)
            if late is not None and used is None:
                lost(late)


def _answer_of(task: asyncio.Task[T | None]) -> T | None:
    return None if task.cancelled() else task.result()
