"""What the run has written of itself, read with care: files may be damaged, or of another version.

What is not as expected is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weave_async.visible import cut

MOST_GROUPS = 12
MAX_NAME_CHARS, MAX_TEXT_CHARS = 120, 500
MAX_FIGURE = 1e15
"""What is more is no count, time or share of anything."""


def groups_in(
    told: Mapping[str, Any], most: int = MOST_GROUPS
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries that have fields of their own; ``most`` of them, in their order."""
    for name, each in list(told.items())[:most]:
        if isinstance(each, Mapping):
            yield cut(name, MAX_NAME_CHARS), each


def mapping_at(told: object, *path: str) -> Mapping[str, Any]:
    """What stands there, empty where it is no mapping."""
    for step in path:
        told = told.get(step) if isinstance(told, Mapping) else None
    return told if isinstance(told, Mapping) else {}


def count_in(told: Mapping[str, Any], name: str) -> int:
    """0 where there is none."""
    return max(0, int(finite(told.get(name)) or 0))


def finite(value: object) -> float | None:
    """A number that can be a figure: no NaN, nothing beyond ``MAX_FIGURE``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= MAX_FIGURE else None


def note_in(told: Mapping[str, Any]) -> str:
    note = told.get("note")
    return cut(note, MAX_TEXT_CHARS) if isinstance(note, str) else ""
