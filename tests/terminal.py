"""A terminal for tests: a real pseudo-terminal, and what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_PIECE = re.compile(
    r"\x1b\[(?P<number>[?0-9;]*)(?P<kind>[A-Za-z])|(?P<newline>\n)|(?P<return>\r)|(?P<text>[^\x1b\r\n]+)"
)
_ALLOWED = re.compile(r"\x1b\[[0-9;]*[mAK]|\x1b\[\?25[lh]|[\r\n]")
"""Colours, one line up, erase a line, the cursor hidden and shown."""


class Terminal:
    """Reads what was written to ``stream``, and keeps the lines as an emulator does.

    It breaks long lines again when it becomes narrower, as most terminals do; of wide characters it
    knows nothing.
    """

    def __init__(self, leader: int, stream: TextIO, columns: int, rows: int) -> None:
        self.stream = stream
        self.received = ""
        self.lines = [""]
        self.shows_cursor = True
        self._leader = leader
        self._line = self._column = 0
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.stream.fileno(), termios.TIOCSWINSZ, size)
        self.columns, self.rows = columns, rows
        pieces = [
            [line[start : start + columns] for start in range(0, len(line), columns)] or [""]
            for line in self.lines
        ]
        within = min(self._column // columns, len(pieces[self._line]) - 1)
        self._line = sum(map(len, pieces[: self._line])) + within
        self._column -= within * columns
        self.lines = [piece for broken in pieces for piece in broken]

    def read(self) -> str:
        """What has come since the last time; the lines are up to date after it."""
        came = b""
        while select.select([self._leader], [], [], 0.05)[0]:
            came += os.read(self._leader, 65536)
        text = came.decode()
        self.received += text
        for piece in _PIECE.finditer(text):
            self._take(piece)
        return text

    @property
    def shown(self) -> list[str]:
        """The lines that are not empty, of those that have not been scrolled away."""
        self.read()
        return [line.rstrip() for line in self.lines[-self.rows :] if line.strip()]

    @property
    def controls_not_allowed(self) -> set[str]:
        """What is left of control characters without those that a screen is drawn with."""
        return set(
            re.findall(
                r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e]", _ALLOWED.sub("", self.received)
            )
        )

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """As between Ctrl-S and Ctrl-Q: whoever writes to it waits."""
        termios.tcflow(self.stream.fileno(), termios.TCOOFF)
        try:
            yield
        finally:
            termios.tcflow(self.stream.fileno(), termios.TCOON)

    def _take(self, piece: re.Match[str]) -> None:
        if piece["newline"]:
            self._line += 1
            self.lines += [""] * (self._line + 1 - len(self.lines))
        elif piece["return"]:
            self._column = 0
        elif piece["kind"] == "A":
            self._line = max(0, len(self.lines) - self.rows, self._line - int(piece["number"] or 1))
        elif piece["kind"] == "K":
            self.lines[self._line] = ""
        elif piece["number"] == "?25":
            self.shows_cursor = piece["kind"] == "h"
        elif text := piece["text"]:
            line = self.lines[self._line].ljust(self._column)
            self.lines[self._line] = line[: self._column] + text + line[self._column + len(text) :]
            self._column += len(text)


@contextmanager
def terminal(columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    leader, follower = pty.openpty()
    try:
        with open(follower, "w", encoding="utf-8") as stream:
            yield Terminal(leader, stream, columns, rows)
    finally:
        os.close(leader)
