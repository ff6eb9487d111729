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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Literal

from weave_async.bench.attempt import Attempt

Ask = Callable[[int, float | None], Awaitable[Attempt]]
"""Asks request ``number``, which was meant to be sent at a time; ``None``: now."""
Kind = Literal["closed", "constant", "poisson", "ramp"]

_WORDS = {"constant": "", "poisson": "Poisson", "ramp": "at the end of a ramp"}
MOST_OUT = 20_000
"""Requests in flight of an open loop, at most: a server that answers nothing would take us down."""
FAILURES_BEFORE_GIVING_UP = 20
"""In a row, since the beginning of a step: it would only go on."""
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
    gave_up: bool = False

    @property
    def duration_s(self) -> float:
        return self.to_s - self.from_s

    @property
    def measured(self) -> list[Attempt]:
        """Those that were meant to be sent while it was measured."""
        return [each for each in self.attempts if self.from_s <= each.intended_s < self.to_s]


async def applied(load: Load, ask: Ask, duration: Duration, *, seed: int = 0) -> Window:
    """Put the load on, measure, and take it off again."""
    window = Window(load)
    stop = asyncio.Event()
    numbers = count()
    out: set[asyncio.Task[None]] = set()

    async def send(intended_s: float | None) -> Attempt:
        attempt = await ask(next(numbers), intended_s)
        window.attempts.append(attempt)
        return attempt

    loading = (
        _closed(int(load.level), send, stop, out)
        if load.kind == "closed"
        else _open(_times(load, duration.warm_up_s + duration.min_s, seed), send, stop, out)
    )
    sending = asyncio.create_task(loading)
    begun_s = monotonic()
    try:
        await _measured(window, duration, begun_s, sending)
    finally:
        stop.set()
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        await _drained(window, out, duration.drain_s)
    return window


async def _measured(
    window: Window, duration: Duration, begun_s: float, sending: asyncio.Task[None]
) -> None:
    """Wait until there is enough of it."""
    window.from_s = begun_s + duration.warm_up_s
    await _slept_until(window.from_s, sending, window)
    while not window.gave_up:
        now_s = monotonic()
        window.to_s = now_s
        elapsed_s = now_s - window.from_s
        num = sum(each.ended_s >= window.from_s for each in window.attempts)
        if elapsed_s >= duration.max_s:
            return
        if elapsed_s >= duration.min_s and num >= duration.min_requests:
            return
        await _slept_until(now_s + min(0.1, duration.min_s), sending, window)
    window.to_s = max(monotonic(), window.from_s)


async def _slept_until(at_s: float, sending: asyncio.Task[None], window: Window) -> None:
    """Returns before its time where going on is no use, or sending has ended by an error."""
    while (left_s := at_s - monotonic()) > 0:
        await asyncio.wait((sending,), timeout=min(left_s, 0.1))
        if sending.done():
            sending.result()
        first = window.attempts[:FAILURES_BEFORE_GIVING_UP]
        if len(first) == FAILURES_BEFORE_GIVING_UP and not any(each.is_good for each in first):
            window.gave_up = True
            return


async def _closed(
    concurrency: int,
    send: Callable[[float | None], Awaitable[Attempt]],
    stop: asyncio.Event,
    out: set[asyncio.Task[None]],
) -> None:
    async def keep_sending() -> None:
        while not stop.is_set():
            attempt = await send(None)
            if not attempt.is_good:
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    out.update(asyncio.create_task(keep_sending()) for _ in range(concurrency))
    done, _ = await asyncio.wait(out, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def _open(
    times: Iterator[float],
    send: Callable[[float | None], Awaitable[Attempt]],
    stop: asyncio.Event,
    out: set[asyncio.Task[None]],
) -> None:
    async def send_one(intended_s: float) -> None:
        await send(intended_s)

    begun_s = monotonic()
    for after_s in times:
        due_s = begun_s + after_s
        if (left_s := due_s - monotonic()) > 0:
            await asyncio.sleep(left_s)
        if stop.is_set():
            return
        while len(out) >= MOST_OUT:
            await asyncio.wait(out, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(send_one(due_s))
        out.add(task)
        task.add_done_callback(out.discard)


def _times(load: Load, duration_s: float, seed: int) -> Iterator[float]:
    """Seconds from the beginning at which to send."""
    if load.kind == "poisson":
        rng, at_s = random.Random(seed), 0.0  # noqa: S311 - not for secrets
        while True:
            at_s += rng.expovariate(load.level)
            yield at_s
    for number in count():
        if load.kind == "constant":
            yield number / load.level
        else:  # a rate that rises by level / duration each second has sent level t² / 2 duration
            yield math.sqrt(2 * number * duration_s / load.level)


async def _drained(window: Window, out: set[asyncio.Task[None]], drain_s: float) -> None:
    """Wait for what is in flight, and give up what does not end."""
    if not out:
        return
    _, left = await asyncio.wait(out, timeout=drain_s)
    window.num_cut_off = len(left)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
