"""Printing: what goes to a terminal is stripped of everything that could drive it."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections import deque
from contextlib import suppress
from typing import IO, TextIO, cast

from rich.console import Console

from weave_async.visible import printable

MOST_WAITING = 1000
"""Messages for a terminal that takes none."""


def print_error(message: str) -> None:
    write_to_stderr(f"weave-async: error: {printable(message)}\n")


def write_to_stderr(text: str) -> None:
    LastingStream(sys.stderr).write(text)


class LastingStream:
    """A stream to which can be written whether or not anybody reads: the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # what is left in the buffer would fail again when the process ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        except ValueError:  # closed
            pass
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except ValueError:  # closed
            return False

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return self._stream.encoding


class PatientStream(LastingStream):
    """One that holds up nobody: what a terminal does not take, as after Ctrl-S, waits here.

    It goes out with what is written next, or with ``deliver``.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: deque[str] = deque(maxlen=MOST_WAITING)

    @property
    def takes_output(self) -> bool:
        """Whether writing would not wait."""
        try:
            _, ready, _ = select.select([], [self.fileno()], [], 0)
        except (OSError, ValueError):
            return True  # there is nobody any more, and so nothing to wait for
        return bool(ready)

    def write(self, text: str) -> int:
        self._waiting.append(text)
        if self.takes_output:
            self.deliver()
        return len(text)

    def deliver(self) -> None:
        """Write what waits, however long that takes."""
        with suppress(IndexError):  # empty: another thread may deliver, too
            while True:
                super().write(self._waiting.popleft())


def stderr_console(stream: LastingStream | None = None) -> Console:
    """For progress and messages: results go to standard output. A terminal may hang up."""
    file = cast("IO[str]", stream or LastingStream(sys.stderr))
    return Console(file=file, highlight=False, markup=False, emoji=False)


class ConsoleLog(logging.Handler):
    """Our loggers' messages, as lines above whatever the console shows live."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        mark = "! " if record.levelno >= logging.WARNING else "· "
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        self._console.print(mark + printable(record.getMessage()), style=style)
