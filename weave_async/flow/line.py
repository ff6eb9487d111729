"""A queue in which nobody overtakes: only the head is looked at, and one timer is set for it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from weave_async.errors import WeaveError

T = TypeVar("T")

SHORTEST_WAIT_S = 0.001
"""uvloop's timers count milliseconds: it would run a shorter one at once, again and again."""


class Line(Generic[T]):
    """Lets in from the front whatever ``take`` has room for.

    ``take`` either takes all that an entry needs, and returns 0; or takes nothing, and returns how
    long to wait: infinity where time alone does not help, and somebody will call ``move_up``. What
    it raises reaches the entry that waits. ``undo`` gives back what was taken for an entry whose
    waiter was cancelled before it could take notice. While it ``is_turned``, those in front come
    after all others.
    """

    def __init__(
        self,
        take: Callable[[T], float],
        undo: Callable[[T], None],
        is_turned: Callable[[], bool] = lambda: False,
    ) -> None:
        self.num_waiting = 0
        self._is_turned = is_turned
        self._take = take
        self._undo = undo
        self._front: deque[tuple[T, asyncio.Future[None]]] = deque()
        self._back: deque[tuple[T, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0  # uvloop's handles do not always know

    def __repr__(self) -> str:
        return f"<Line {self.num_waiting} waiting>"

    async def wait(self, entry: T, *, in_front: bool) -> None:
        """Return when ``entry`` has been taken. ``in_front`` is behind all others in front."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._front if in_front else self._back).append((entry, turn))
        self.num_waiting += 1
        self.move_up()
        try:
            await turn
        except BaseException:
            if turn.cancel() or turn.cancelled():
                self.move_up()  # the next one may need less
            elif turn.exception() is None:
                self._undo(entry)
                self.move_up()
            raise

    def move_up(self) -> None:
        """Let in whoever fits by now, and set the timer for the next one."""
        while (queue := self._next()) is not None:
            entry, turn = queue[0]
            try:
                wait_s = self._take(entry)
            except WeaveError as error:
                turn.set_exception(error)
            else:
                if wait_s > 0:
                    self._look_again_in(wait_s)
                    return
                turn.set_result(None)
            queue.popleft()
            self.num_waiting -= 1

    def turn_out(self, error: type[Exception]) -> None:
        """Raise ``error`` in all who wait; whoever comes later waits again."""
        for queue in (self._front, self._back):
            for _, turn in queue:
                if not turn.done():
                    turn.set_exception(error())
            self.num_waiting -= len(queue)
            queue.clear()

    def _next(self) -> deque[tuple[T, asyncio.Future[None]]] | None:
        """The queue whose head is next, rid of those that were cancelled."""
        queues = (self._front, self._back)
        for queue in reversed(queues) if self._is_turned() else queues:
            while queue:
                if not queue[0][1].done():
                    return queue
                queue.popleft()
                self.num_waiting -= 1
        return None

    def _look_again_in(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        at_s = loop.time() + max(wait_s, SHORTEST_WAIT_S)
        if self._timer is not None:
            if self._timer_at_s <= at_s:  # it will look, and set the next one
                return
            self._timer.cancel()
            self._timer = None
        if wait_s < math.inf:
            self._timer, self._timer_at_s = loop.call_at(at_s, self._on_timer), at_s

    def _on_timer(self) -> None:
        self._timer = None
        self.move_up()
