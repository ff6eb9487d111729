"""Progress on standard error: live on a terminal, one JSON line per interval elsewhere."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import orjson
from rich.console import Console

from weave_async.cli.console import (
    ConsoleLog,
    PatientStream,
    stderr_console,
    write_to_stderr,
)
from weave_async.cli.live_lines import bar_of, speed_of
from weave_async.cli.live_view import LiveView, ProblemLog
from weave_async.cli.recent import Recent
from weave_async.cli.screen import one_line
from weave_async.run import Run
from weave_async.visible import printable

LINE_INTERVAL_S = 5.0


class Progress(Protocol):
    """Shows a run while it goes on."""

    async def show(self) -> None:
        """Refresh until cancelled."""

    def say(self, message: str) -> None:
        """One line for people, now."""

    def close(self) -> None:
        """Leave the terminal as it was found."""


@contextmanager
def progress_for(
    run: Run, *, quiet: bool = False, with_lines: bool = True, as_json: bool | None = None
) -> Iterator[Progress]:
    """The kind that fits where standard error goes, with our loggers' messages beside it.

    ``quiet`` shows none, and of the messages warnings and what is worse. Without ``with_lines``
    there is progress on a terminal alone. ``as_json`` writes JSON lines on a terminal, too; by
    default they are for what is none.
    """
    stream = PatientStream(sys.stderr)
    console = stderr_console(stream)
    # The console takes FORCE_COLOR, which CI sets, for a terminal; in a log it would leave screens.
    is_for_people = stream.isatty() and not as_json
    log: logging.Handler = ConsoleLog(console) if is_for_people else JsonLog()
    if quiet:
        log.setLevel(logging.WARNING)
    try:
        with messages_to(log):
            if quiet or not (is_for_people or with_lines):
                yield NoProgress(console if is_for_people else None)
            elif not is_for_people:
                yield LineProgress(run)
            elif not console.is_interactive:
                yield PlainProgress(run, console)
            else:
                problems = ProblemLog()
                with messages_to(problems), LiveView(run, console, stream, problems) as live:
                    yield live
    finally:
        stream.deliver()


@contextmanager
def messages_to(handler: logging.Handler) -> Iterator[None]:
    """Show what our loggers say for as long as this lasts."""
    loggers = [logging.getLogger(name) for name in ("weave_async", "providers")]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class PlainProgress:
    """A line of text per interval, for a terminal on which nothing can be drawn again."""

    def __init__(self, run: Run, console: Console) -> None:
        self._run = run
        self._console = console
        self._recent = Recent()

    async def show(self) -> None:
        while True:
            self._recent.note(self._run.metrics, self._run.dispatchers, time.monotonic())
            parts = [*bar_of(self._run).parts, *speed_of(self._run, self._recent)]
            self._console.print(one_line(", ".join(parts)))
            await asyncio.sleep(LINE_INTERVAL_S)

    def say(self, message: str) -> None:
        self._console.print(printable(message))

    def close(self) -> None:
        """Nothing stands there that would have to go."""


class LineProgress:
    """A JSON object per interval, for logs and for other programs."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def show(self) -> None:
        while True:
            _print_line({"event": "progress", **self._run.metrics.snapshot()})
            await asyncio.sleep(LINE_INTERVAL_S)

    def say(self, message: str) -> None:
        _print_message(message)

    def close(self) -> None:
        """Nothing stands there that would have to go."""


class NoProgress:
    """Says only what is said: to people on ``console``, or else as JSON lines."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console

    async def show(self) -> None:
        return None

    def say(self, message: str) -> None:
        if self._console is None:
            _print_message(message)
        else:
            self._console.print(printable(message))

    def close(self) -> None:
        """Nothing stands there that would have to go."""


class JsonLog(logging.Handler):
    """Our loggers' messages, as the same kind of lines."""

    def emit(self, record: logging.LogRecord) -> None:
        _print_line(
            {"event": "message", "level": record.levelname.lower(), "message": record.getMessage()}
        )


def _print_message(message: str) -> None:
    _print_line({"event": "message", "message": message})


def _print_line(line: dict[str, Any]) -> None:
    # JSON escapes C0 controls, but lets DEL, C1 and bidirectional ones through to a terminal.
    write_to_stderr(printable(orjson.dumps(line, default=str).decode()) + "\n")
