"""The screen of a run on a terminal: drawn a few times a second, and erased at the end.

Whatever the terminal does, it is not to hurt the run. So the size is looked up at each drawing,
nothing is drawn while the terminal takes nothing (as after Ctrl-S), and drawing takes a hundredth
of the time at most: on a busy loop it comes less often.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from weave_async.cli.console import PatientStream
from weave_async.cli.live_lines import Problem, last_problem, lines_of
from weave_async.cli.recent import Recent, Trend
from weave_async.cli.screen import Row, fitted
from weave_async.run import Run
from weave_async.visible import printable

INTERVAL_S, LONGEST_INTERVAL_S = 1 / 3, 2.0
TIMES_DRAWING = 100
"""So many times as long as a drawing takes is the time until the next one."""
LONGEST_MESSAGE_CHARS = 1000


class LiveView:
    """Shows the run on ``console`` for as long as the context lasts."""

    def __init__(
        self, run: Run, console: Console, stream: PatientStream, problems: ProblemLog
    ) -> None:
        """``stream`` is what ``console`` writes to."""
        self._run = run
        self._console = console
        self._stream = stream
        self._recent, self._trend = Recent(), Trend()
        self._problems = problems
        self._priced: set[str] = set()
        self._drawn: list[Row] = []
        self._drawn_size = (0, 0)
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere is to get there
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def show(self) -> None:
        while True:
            await self._learn_prices()
            began_s = time.perf_counter()
            self.draw()
            took_s = time.perf_counter() - began_s
            await asyncio.sleep(min(max(INTERVAL_S, TIMES_DRAWING * took_s), LONGEST_INTERVAL_S))

    def say(self, message: str) -> None:
        self._console.print(printable(message))

    def close(self) -> None:
        self._step_over_wrapped_lines(size_of(self._console))
        self._drawn = []
        self._live.update("")  # or it would be drawn once more before it is erased
        self._live.stop()

    def draw(self) -> None:
        """Bring the screen up to date, if it can take anything."""
        run, now_s = self._run, time.monotonic()
        self._recent.note(run.metrics, run.dispatchers, now_s)
        if diversity := run.metrics.diversity:
            self._trend.note(int(diversity.get("num_rows", 0)), diversity)
        if not self._stream.takes_output:
            return
        self._stream.deliver()
        problem = last_problem(self._problems.last, run.dispatchers)
        size = width, height = size_of(self._console)
        rows = fitted(
            lines_of(run, self._recent, self._trend, problem, now_s),
            width=width - 1,  # in the last column, terminals differ in when they wrap
            height=max(1, height - 1),
            ascii_only=not self._console.encoding.startswith("utf"),
        )
        if (rows, size) == (self._drawn, self._drawn_size):
            return
        self._step_over_wrapped_lines(size)
        self._drawn, self._drawn_size = rows, size
        self._live.update(_as_text(rows), refresh=True)

    async def _learn_prices(self) -> None:
        """The list of prices takes a while to load, which is not to hold up the loop."""
        if (known := self._run.metrics.tokens.keys()) > self._priced:
            self._priced |= known
            await asyncio.to_thread(lambda: self._run.cost_usd)

    def _step_over_wrapped_lines(self, size: tuple[int, int]) -> None:
        """Where the terminal has become narrower, it has broken our lines in two: there are more of
        them to go up and erase than were drawn.
        """
        width, height = size
        if width >= self._drawn_size[0]:
            return
        num_broken = sum((max(1, row.width) - 1) // width for row in self._drawn)
        for _ in range(min(num_broken, height)):
            self._console.control(
                Control(
                    ControlType.CARRIAGE_RETURN,
                    (ControlType.ERASE_IN_LINE, 2),
                    (ControlType.CURSOR_UP, 1),
                )
            )


class ProblemLog(logging.Handler):
    """Keeps the last warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last: Problem | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.last = Problem(record.getMessage()[:LONGEST_MESSAGE_CHARS], time.monotonic())


def size_of(console: Console) -> tuple[int, int]:
    """Columns and rows of the terminal itself, as it is now; the console may know of less.

    A console that was told a size (``COLUMNS``) never looks again.
    """
    width, height = console.size
    try:
        columns, rows = os.get_terminal_size(console.file.fileno())
    except (OSError, ValueError):
        return width, height
    return min(width, columns or width), min(height, rows or height)


def _as_text(rows: list[Row]) -> Text:
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, row in enumerate(rows):
        text.append("\n" * (number > 0))
        text.append(row.head, "green" if row.has_bar else "dim")
        text.append(row.text, row.style)
    return text
