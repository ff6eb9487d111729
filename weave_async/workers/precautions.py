"""What a worker arranges before it runs code that may do anything."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import sys
import threading
import time

_HIGH_FD = 100
_PR_SET_PDEATHSIG = 1


def end_with(parent_pid: int) -> None:
    """Be killed when the parent is: while a stage hangs, nobody would see that the pipe closed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent_pid,), daemon=True).start()
    if os.getppid() != parent_pid:  # it ended before we asked
        os._exit(0)


def _watch(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(1)  # there is nothing to wait on: getting another parent is no event
    os._exit(0)


def moved_up(fd: int) -> int:
    """The same file, out of the way: code that closes descriptors closes the low ones."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    os.close(fd)
    return moved


def limit_memory(growth_bytes: int) -> None:
    """Bound what may be taken from now on. Counted is memory that can be written and is not
    shared: models mapped from files, and what is only reserved, as allocators do, are not.
    """
    try:
        with open("/proc/self/status") as status:
            held = next(line for line in status if line.startswith("VmData:"))
    except (OSError, StopIteration):
        return  # no such count on this system
    limit = (int(held.split()[1]) << 10) + growth_bytes
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
