"""Work beside the main thread, for what lets go of Python's lock: reading files, digests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> Future[T]:
    """Unlike an executor's, this thread is not waited for when the process is told to end."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as exc:  # it is raised again where the result is asked for
            future.set_exception(exc)

    threading.Thread(target=run, name="background", daemon=True).start()
    return future
