"""What a worker is at, on a page of memory that its pool reads when it is too late to ask.

A worker that hangs or has died says nothing any more. What it wrote here last names the row and the
stage, so that nobody has to search for the guilty one. Times are ``time.monotonic``, which all
processes of a machine share.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

PAGE_BYTES = mmap.PAGESIZE
_LAYOUT = Struct("=iiiiid")


class Phase(IntEnum):
    """How long it may take depends on this."""

    WAITING = 0
    """At no row: it starts, or has nothing to do."""
    LOADING = 1
    """A row, with a stage that this worker has not called before, and that may load its model."""
    WORKING = 2
    MOVING = 3
    """A row is read, or what became of it is on its way to the pool."""


class Progress(NamedTuple):
    """``row`` and ``stage`` are numbers in what the worker was sent; ``step`` never repeats.

    ``num_passed`` samples of the same frame have come through this stage before.
    """

    step: int
    phase: int
    row: int
    stage: int
    num_passed: int
    since_s: float


class ProgressPage:
    """Written by one process at a time, read by the other."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._page: mmap.mmap | bytearray = mmap.mmap(fd, PAGE_BYTES)
        self._step = 0

    def __repr__(self) -> str:
        return f"<ProgressPage {self.read()}>"

    def write(self, phase: Phase, row: int, stage: int, num_passed: int, since_s: float) -> None:
        """Called for each row in each stage: one call, half a microsecond."""
        self._step += 1
        _LAYOUT.pack_into(self._page, 0, self._step, phase, row, stage, num_passed, since_s)

    def wait(self) -> None:
        self.write(Phase.WAITING, -1, -1, 0, time.monotonic())

    def read(self) -> Progress:
        return Progress._make(_LAYOUT.unpack_from(self._page, 0))

    def detach(self) -> None:
        """From now on write to memory of one's own: for a fork, which is not the worker."""
        self._page = bytearray(PAGE_BYTES)

    def close(self) -> None:
        if isinstance(self._page, mmap.mmap):
            self._page.close()
        os.close(self.fd)


def new_page() -> ProgressPage:
    """A page in memory, or where the system has no such files, in a file without a name."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("weave_async progress")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, PAGE_BYTES)
    return ProgressPage(fd)
