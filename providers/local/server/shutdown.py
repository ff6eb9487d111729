"""How the process learns that it is to end: signals, and a parent that is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal came while the model was loading. Not an Exception: nobody is to catch it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """While the model loads: raise `Stopped` out of whatever is going on."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    with _handling_signals(stop):
        yield


@contextlib.contextmanager
def exiting_on_signals() -> Iterator[None]:
    """While extension modules are imported: end at once. There is nothing to clean up yet, and an
    exception out of their C++ would come out as an ImportError, or abort the process."""

    def leave(signum: int, frame: FrameType | None) -> None:
        os._exit(128 + signum)

    with _handling_signals(leave):
        yield


@contextlib.contextmanager
def _handling_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handler) for signum in STOP_SIGNALS}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)


@contextlib.contextmanager
def calling_on_signals(call: Callable[[int], None]) -> Iterator[None]:
    """While the event loop runs: call from the loop, between two callbacks."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    for signum in STOP_SIGNALS:
        loop.add_signal_handler(signum, call, signum)
    try:
        yield
    finally:
        for signum in STOP_SIGNALS:
            loop.remove_signal_handler(signum)


def exit_when_stdin_closes() -> None:
    """Our parent holds the other end: when it closes, the parent is gone, even by SIGKILL."""
    with contextlib.suppress(OSError):  # it was closed from the start
        while os.read(0, 4096):
            pass
    os._exit(0)
