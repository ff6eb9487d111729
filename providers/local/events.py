"""What a starting server says, one JSON object a line, in words for the person who waits.

Servers newer or older than this file say other things: what is not known is shown as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

Event = Mapping[str, Any]

_WORDS = {
    "loading": "loading {model}",
    "loaded": "loaded on {device} as {dtype}, {threads} threads",
}
_SAYS_NOTHING = ("event", "exit_code")


def event_in(line: bytes) -> Event:
    """The event that a line holds; a line that is none, as of a library that prints, is a note."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        event = None
    if isinstance(event, dict) and isinstance(event.get("event"), str):
        return event
    return {"event": "note", "message": line.decode(errors="replace").strip()}


def in_words(event: Event) -> str:
    """``loading smollm2-135m``; of an event without words here, its message or all that it has."""
    try:
        return _WORDS[event["event"]].format_map(event)
    except KeyError:  # of another version: the event, or what belongs to it
        pass
    if isinstance(event.get("message"), str):
        return str(event["message"])
    told = [f"{name} {value}" for name, value in event.items() if name not in _SAYS_NOTHING]
    name = event["event"].replace("_", " ")
    return f"{name}: {', '.join(told)}" if told else name
