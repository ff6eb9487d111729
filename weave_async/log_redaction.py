"""Keys kept out of the logs of every library in this process.

HTTP libraries log what a server sent, headers and all, once somebody turns their loggers to DEBUG;
and servers repeat keys. A filter would have to be on every logger, so records are redacted where
all of them are made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from traceback import format_exception
from typing import Any

from weave_async.redaction import Redaction

SHORTEST_CHARS = 8
"""Shorter ones ("none", "EMPTY") are stand-ins where no key is wanted, and words of any log."""


def keep_out_of_logs(secret: str) -> None:
    """From now on no log record shows ``secret``, whoever writes it, in whatever spelling."""
    if len(secret) < SHORTEST_CHARS:
        return
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _RedactingFactory):
        factory = _RedactingFactory(factory)
        logging.setLogRecordFactory(factory)
    factory.redactions.setdefault(secret, Redaction(secret))


class _RedactingFactory:
    """Makes records as they were made before, and takes secrets out of them."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.redactions: dict[str, Redaction] = {}
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            return record  # its arguments do not fit: whoever handles it will say so
        redacted = self._redacted(message)
        if redacted != message:
            record.msg, record.args = redacted, ()
        if record.exc_info and record.exc_info[1] is not None:
            raised = "".join(format_exception(record.exc_info[1])).rstrip("\n")
            if (redacted := self._redacted(raised)) != raised:
                record.exc_text = redacted  # a formatter shows this in place of the exception
        return record

    def _redacted(self, text: str) -> str:
        for redaction in self.redactions.values():
            text = redaction.text(text)
        return text
