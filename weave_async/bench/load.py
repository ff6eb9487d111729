"""Load on an endpoint: so many requests in flight, or so many a second, for a step of a benchmark.

A closed loop keeps ``concurrency`` requests in flight: who is slow is asked less. An open loop
sends at times that were fixed before, whatever comes back, and its latencies count from those
times: else a server that stands still would be spared the requests that would have met it
("coordinated omission", Tene, 2013).

What is sent first warms up: connections, caches. Measuring begins once ``warm_up_s`` are over, and
goes on for at least ``min_s`` and ``min_requests``, and for no longer than ``max_s``. Load stays on
until the end of it; what is then in flight is waited for, up to ``drain_s``.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from time import monotonic
from typing import Any, Literal

from weave_async.bench.attempt import Attempt

Ask = Callable[[int, float | None], Awaitable[Attempt]]
"""Asks request ``number``, which was meant to be sent at a time; ``None``: now."""
Kind = Literal["closed", "constant", "poisson", "ramp"]

_WORDS = {"constant": "", "poisson": "Poisson", "ramp": "at the end of a ramp"}
MOST_OUT = 20_000
"""Requests in flight of an open loop, at most: a server that answers nothing would take us down."""
FAILURES_BEFORE_GIVING_UP = 20
"""In a row, since the beginning of a step: it would only go on."""
TICK_S = 0.05
"""How often it is looked whether a step may end."""
PAUSE_AFTER_FAILURE_S = 0.1
"""Of a place in a closed loop: an endpoint that refuses at once is not asked in a tight circle."""


@dataclass(frozen=True, slots=True)
class Load:
    """``level`` is requests in flight of a ``closed`` loop, else requests per second: those that a
    ``ramp`` has come to at its end.
    """

    kind: Kind
    level: float

    def __str__(self) -> str:
        if self.kind == "closed":
            return f"{self.level:.0f} in flight"
        return f"{self.level:g}/s {_WORDS[self.kind]}".strip()


@dataclass(frozen=True, slots=True)
class Duration:
    """How long a step lasts."""

    warm_up_s: float = 2.0
    min_s: float = 8.0
    min_requests: int = 50
    max_s: float = 60.0
    drain_s: float = 30.0


@dataclass(slots=True)
class Window:
    """What came of a step: its attempts, and from when to when it was measured."""

    load: Load
    attempts: list[Attempt] = field(default_factory=list)
    from_s: float = 0.0
    to_s: float = 0.0
    num_cut_off: int = 0
    """Requests that were given up as they took too long to end after the step."""
    num_unsent: int = 0
    """Requests for which there was no room, with ``MOST_OUT`` in flight."""
    gave_up: bool = False
    interrupted: bool = False

    @property
    def duration_s(self) -> float:
        return self.to_s - self.from_s

    @property
    def measured(self) -> list[Attempt]:
        """Those that were meant to be sent while it was measured."""
        return [each for each in self.attempts if self.from_s <= each.intended_s < self.to_s]


async def apply(
    window: Window,
    ask: Ask,
    duration: Duration,
    *,
    seed: int = 0,
    interrupt: asyncio.Event | None = None,
) -> None:
    """Put the window's load on, measure, and take it off again; at once where ``interrupt`` is set.

    Can be watched meanwhile: attempts come to the window as they end.
    """
    loading = _Loading(window, ask)
    if window.load.kind == "closed":
        load = loading.closed(int(window.load.level))
    else:
        load = loading.open(_times(window.load, duration.warm_up_s + duration.min_s, seed))
    window.from_s = monotonic() + duration.warm_up_s
    sending = asyncio.create_task(load)
    drain_s = 0.0
    try:
        await _measured(window, duration, loading, interrupt or asyncio.Event())
        drain_s = 0.0 if window.interrupted else duration.drain_s
    finally:
        loading.is_over = True
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        await loading.drain(drain_s)
    loading.raise_mistakes()


async def _measured(
    window: Window, duration: Duration, loading: _Loading, interrupt: asyncio.Event
) -> None:
    """Wait until there is enough of it, or going on is no use."""
    num_ended = num_seen = 0
    while not (window.gave_up or window.interrupted):
        with suppress(TimeoutError):
            await asyncio.wait_for(interrupt.wait(), TICK_S)
        loading.raise_mistakes()
        window.interrupted = interrupt.is_set()
        window.gave_up = _only_fails(window.attempts)
        window.to_s = max(monotonic(), window.from_s)
        num_ended += sum(
            each.intended_s >= window.from_s for each in islice(window.attempts, num_seen, None)
        )
        num_seen = len(window.attempts)
        if window.duration_s >= duration.max_s:
            return
        if window.duration_s >= duration.min_s and num_ended >= duration.min_requests:
            return


def _cut_off(number: int, intended_s: float, sent_s: float) -> Attempt:
    """What is said of a request that was given up: it was no answer."""
    now_s = monotonic()
    message = f"had not ended after {now_s - sent_s:.0f} s, when the step was long over"
    return Attempt(number, intended_s, sent_s, ended_s=now_s, error="CutOff", message=message)


def _only_fails(attempts: Sequence[Attempt]) -> bool:
    first = attempts[:FAILURES_BEFORE_GIVING_UP]
    return len(first) == FAILURES_BEFORE_GIVING_UP and not any(each.is_good for each in first)


class _Loading:
    """Sends, each request as a task of its own, and brings what comes of it to the window."""

    def __init__(self, window: Window, ask: Ask) -> None:
        self._window = window
        self._ask = ask
        self._numbers = count()
        self._out: set[asyncio.Task[None]] = set()
        self._mistakes: list[BaseException] = []
        self.is_over = False

    async def closed(self, concurrency: int) -> None:
        for _ in range(concurrency):
            self._start(self._keep_sending())
        await asyncio.Event().wait()  # until cancelled

    async def open(self, times: Iterator[float]) -> None:
        """Until cancelled. What was meant to be sent before the end of the window is sent even so:
        else a client or a server that stood still would be spared it.
        """
        begun_s = due_s = monotonic()
        try:
            for after_s in times:
                due_s = begun_s + after_s
                await asyncio.sleep(max(0.0, due_s - monotonic()))
                while len(self._out) >= MOST_OUT:
                    await asyncio.wait(self._out, return_when=asyncio.FIRST_COMPLETED)
                self._start(self._send_one(due_s))
        finally:
            while due_s < self._window.to_s and not self._window.interrupted:
                if len(self._out) < MOST_OUT:
                    self._start(self._send_one(due_s))
                else:
                    self._window.num_unsent += 1
                due_s = begun_s + next(times)

    async def drain(self, drain_s: float) -> None:
        """Wait for what is in flight, and give up what does not end."""
        if not self._out:
            return
        _, left = await asyncio.wait(self._out, timeout=drain_s)
        self._window.num_cut_off = len(left)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def raise_mistakes(self) -> None:
        """Of ours: what an endpoint does wrong is an attempt that failed."""
        if self._mistakes:
            raise self._mistakes[0]

    def _start(self, sending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(sending)
        self._out.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._out.discard(task)
        if not task.cancelled() and (mistake := task.exception()) is not None:
            self._mistakes.append(mistake)

    async def _keep_sending(self) -> None:
        while not self.is_over:
            attempt = await self._send(None)
            # Who answers without waiting for anything would not let the others go on.
            await asyncio.sleep(0 if attempt.is_good else PAUSE_AFTER_FAILURE_S)

    async def _send_one(self, intended_s: float) -> None:
        await self._send(intended_s)

    async def _send(self, intended_s: float | None) -> Attempt:
        number, begun_s = next(self._numbers), monotonic()
        try:
            attempt = await self._ask(number, intended_s)
        except asyncio.CancelledError:
            if not self._window.interrupted:
                due_s = begun_s if intended_s is None else intended_s
                self._window.attempts.append(_cut_off(number, due_s, begun_s))
            raise
        self._window.attempts.append(attempt)
        return attempt


def _times(load: Load, duration_s: float, seed: int) -> Iterator[float]:
    """Seconds from the beginning at which to send."""
    if load.kind == "poisson":
        rng, at_s = random.Random(f"{seed} {load.level}"), 0.0  # noqa: S311 - not for secrets
        while True:
            at_s += rng.expovariate(load.level)
            yield at_s
    for number in count():
        if load.kind == "constant":
            yield number / load.level
        else:  # a rate that rises by level / duration each second has sent level t² / 2 duration
            yield math.sqrt(2 * number * duration_s / load.level)
