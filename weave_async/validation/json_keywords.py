"""The keywords of JSON Schema whose cost an answer could drive up, with bounds on it.

A pattern with nested repetitions can take for ever on the wrong text, and comparing all items of a
list with each other takes the square of its length. Both run on whatever a model has written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import regex  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError

MATCHING_S = 0.5
"""What all patterns together may take on one answer. Usual ones take microseconds."""
Keyword = Callable[[Any, Any, Any, Mapping[str, Any]], Iterator[ValidationError]]


class PatternTooSlow(Exception):
    """The patterns have used up their time: whether the answer fits them, nobody knows."""


class Patterns:
    """The patterns of one schema, compiled. ``begin`` before each answer."""

    def __init__(self) -> None:
        self._compiled: dict[str, Any] = {}
        self._left_s = MATCHING_S

    def begin(self) -> None:
        self._left_s = MATCHING_S

    def compile(self, pattern: str) -> None:
        """Raises ``regex.error`` where it is no pattern."""
        self._compiled[pattern] = regex.compile(pattern)

    def match(self, pattern: str, text: str) -> bool:
        """Whether the pattern is found anywhere in the text. Raises ``PatternTooSlow``."""
        if self._left_s <= 0:
            raise PatternTooSlow(pattern)
        started_s = time.perf_counter()
        try:
            return self._compiled[pattern].search(text, timeout=self._left_s) is not None
        except TimeoutError as error:
            raise PatternTooSlow(pattern) from error
        finally:
            self._left_s -= time.perf_counter() - started_s

    def keywords(self) -> dict[str, Keyword]:
        """What stands in for the library's own keywords."""
        return {
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
            "uniqueItems": _unique_items,
        }

    def _pattern(
        self, validator: Any, pattern: str, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        if validator.is_type(instance, "string") and not self.match(pattern, instance):
            yield ValidationError(f"{_short(instance)} does not match {pattern!r}")

    def _pattern_properties(
        self,
        validator: Any,
        subschemas: Mapping[str, Any],
        instance: Any,
        schema: Mapping[str, Any],
    ) -> Iterator[ValidationError]:
        if not validator.is_type(instance, "object"):
            return
        for pattern, subschema in subschemas.items():
            for key, value in instance.items():
                if self.match(pattern, key):
                    yield from validator.descend(value, subschema, path=key, schema_path=pattern)

    def _additional_properties(
        self, validator: Any, subschema: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        if not validator.is_type(instance, "object"):
            return
        named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        extras = [
            key
            for key in instance
            if key not in named and not any(self.match(pattern, key) for pattern in patterns)
        ]
        if validator.is_type(subschema, "object"):
            for key in extras:
                yield from validator.descend(instance[key], subschema, path=key)
        elif subschema is False and extras:
            told = ", ".join(_short(key) for key in sorted(extras)[:5])
            yield ValidationError(f"properties that are not allowed: {told}")


def _unique_items(
    validator: Any, is_wanted: bool, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not is_wanted or not validator.is_type(instance, "array"):
        return
    seen = set()
    for item in instance:
        identity = _identity(item)
        if identity in seen:
            yield ValidationError(f"the item {_short(item)} stands more than once")
            return
        seen.add(identity)


def _identity(value: Any) -> Any:
    """Hashable, and equal where JSON Schema says so: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", *map(_identity, value))
    if isinstance(value, dict):
        return frozenset((key, _identity(inner)) for key, inner in value.items())
    return value


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 80 else f"{told[:80]}…"
