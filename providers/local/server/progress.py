"""What the start is at, said while it goes on: nobody should wonder whether it hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_EVERY_S = 3.0


class Progress:
    """Turns steps of the start into `progress` events. A long step is said again every 3 s.

    The repeats come from another thread, because the work (imports, a conversion) is in the way of
    everything else in this one.
    """

    def __init__(self, emit: Callable[[dict[str, Any]], None] = lambda event: None) -> None:
        self._emit = emit

    @contextmanager
    def step(self, name: str, message: str) -> Iterator[None]:
        began_s = time.monotonic()
        done = threading.Event()

        def say(text: str) -> None:
            seconds = round(time.monotonic() - began_s, 1)
            self._emit({"event": "progress", "step": name, "message": text, "seconds": seconds})

        def repeat() -> None:
            while not done.wait(AGAIN_EVERY_S):
                say(f"{message} ({time.monotonic() - began_s:.0f} s)")

        say(message)
        repeating = threading.Thread(target=repeat, name=f"progress of {name}", daemon=True)
        repeating.start()
        try:
            yield
        finally:
            done.set()
            repeating.join()

    def warn(self, message: str) -> None:
        self._emit({"event": "warning", "message": message})
