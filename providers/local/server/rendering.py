"""A chat template is a program that came with the model: jinja's sandbox keeps it from the machine,
but not from looping for ever in the one thread that encodes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

TEMPLATE_TIMEOUT_S = 5.0  # real ones take a tenth of a millisecond
_TEMPLATE_FILE = "<template>"  # what jinja calls the code of a template made from a string


@contextlib.contextmanager
def ended_in_time(timeout_s: float) -> Iterator[None]:
    """Raises `TimeoutError` at the template's next line once its time is up, in this thread.

    Tracing is the way to stop a thread from inside: a loop of a template has lines. It costs 0.2 ms
    a request. One huge operation on one line is not stopped.
    """
    deadline_s = time.monotonic() + timeout_s

    def on_line(_frame: FrameType, _event: str, _arg: Any) -> Any:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"it was not done after {timeout_s:.0f} s")
        return on_line

    def on_call(frame: FrameType, _event: str, _arg: Any) -> Any:
        return on_line if frame.f_code.co_filename == _TEMPLATE_FILE else None

    before = sys.gettrace()  # a debugger's, or coverage's
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)
