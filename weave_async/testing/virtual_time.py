"""Run a coroutine on a clock that jumps: an hour of waiting takes no time.

::

    def test_backoff_doubles():
        async def scenario() -> float:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(3600)
            return loop.time()

        assert run_in_virtual_time(scenario()) == 3600

Only waits on the loop's own timers pass. Sockets, subprocesses, threads and executors happen in
real time, of which there is none here: waiting for one of them is reported as a deadlock.
``time.monotonic()`` stands outside; take ``loop.time`` as the clock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

MIN_STEP_S = 1e-6
"""A jump may fall a rounding error short of its timer; steps of at least this size always land."""


class DeadlockError(RuntimeError):
    """Every task waits, and nothing is left that could wake one."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that never sleeps: when nothing is ready, it is the next timer's time already.

    Time begins at 0. Timers fire in their order, and ties in the order of scheduling, so the same
    program takes the same course each time.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))
        # asyncio runs a timer when it is less than the clock's resolution away. Late in a long
        # run its 1 ns is less than a float can add, and a timer due now would never be run.
        self._clock_resolution = MIN_STEP_S

    def __repr__(self) -> str:
        return f"<VirtualTimeLoop at {self._now:.6f} s>"

    def time(self) -> float:
        return self._now

    @property
    def has_callbacks(self) -> bool:
        """Whether something is to be run at this very moment."""
        return bool(self._ready)  # type: ignore[attr-defined]

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` have passed."""
        self._now += max(seconds, MIN_STEP_S)


class _JumpingSelector(selectors.DefaultSelector):
    """Where a loop sleeps. This one tells the loop that it has slept."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or self._loop.has_callbacks:
            return ready
        # A timer that is due now asks for 0 s: time must move all the same, or code that computes
        # a rest of 1e-16 s again and again would never be done with it.
        if timeout is None:
            raise DeadlockError(_what_is_stuck(self._loop))
        self._loop.advance(timeout)
        return ready


def _what_is_stuck(loop: VirtualTimeLoop) -> str:
    tasks = sorted(repr(task) for task in asyncio.all_tasks(loop))
    waiting = "\n  ".join(tasks) or "no task at all"
    return f"nothing is ready and nothing is scheduled at {loop.time():g} s; waiting:\n  {waiting}"


def run_in_virtual_time(coroutine: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, except that waiting takes no time.

    Raises ``DeadlockError``, naming the tasks, where ``asyncio.run`` would hang for ever.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)
