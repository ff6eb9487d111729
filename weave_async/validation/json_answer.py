"""JSON out of an answer: what is taken for it, and how much of it."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_CHARS, MAX_DEPTH = 1_000_000, 100
"""Beyond these, checking an answer could cost more than the answer did."""
_FENCE = "```"


class NotJsonError(ValueError):
    """Why a text is not taken for JSON."""


class TooLargeError(ValueError):
    """It may be JSON, but more of it than we look at."""


def unfenced(text: str) -> str:
    """The text without whitespace around it, nor the code fence that models like to put there.

    Anything else around the JSON is the model's mistake: a trainer would learn it.
    """
    text = text.strip()
    if len(text) < 2 * len(_FENCE) or not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    inside = text[len(_FENCE) : -len(_FENCE)]
    language = inside[:4].lower()
    return inside[4:].strip() if language == "json" else inside.strip()


def parse(text: str) -> Any:
    """The value in the text. Stricter than ``json.loads``: no ``NaN``, no key that stands twice.

    Raises ``NotJsonError`` and ``TooLargeError``.
    """
    if len(text) > MAX_CHARS:
        raise TooLargeError(f"{len(text)} characters, and at most {MAX_CHARS} are looked at")
    try:
        value = json.loads(
            unfenced(text),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise _too_deep() from None
    except NotJsonError:
        raise
    except ValueError as error:  # also of a whole number with thousands of digits
        raise NotJsonError(str(error)) from error
    if _is_deeper(value, MAX_DEPTH):
        raise _too_deep()
    return value


def _too_deep() -> TooLargeError:
    return TooLargeError(f"it is nested more than {MAX_DEPTH} deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ on which of two equal keys counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotJsonError(f"the key {twice!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise NotJsonError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotJsonError(f"{digits[:40]} is no number to work with")
    return number


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
