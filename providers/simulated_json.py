"""A value that fits a JSON Schema, for answers that nobody has thought about.

The common keywords are heeded, the others are left to chance: a simulation, not a solver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

_DEEPEST = 8
"""A schema may hold itself: deeper down, only what is required is made,"""
_BOTTOMLESS = 32
"""and here nothing more."""


@dataclass(frozen=True, slots=True)
class ValueMaker:
    """Makes values for ``schema``, with texts of ``words``; the same ``rng`` makes the same."""

    schema: Any
    rng: Random
    words: Sequence[str]

    def value(self) -> Any:
        return self._value(self.schema, 0)

    def _value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > _BOTTOMLESS:
            return self.rng.choice(self.words)
        if (target := self._referred(schema.get("$ref"))) is not None:
            return self._value(target, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.rng.choice(schema["enum"])
        if ways := schema.get("anyOf") or schema.get("oneOf"):
            return self._value(self.rng.choice(ways), depth + 1)
        return self._of_type(self._type_of(schema), schema, depth)

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return self._number(schema, is_whole=kind == "integer")
            case "boolean":
                return self.rng.random() < 0.5
            case "null":
                return None
        return self._text(schema)

    def _type_of(self, schema: Mapping[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            kind = self.rng.choice(kind)
        if isinstance(kind, str):
            return kind
        return "object" if "properties" in schema else "array" if "items" in schema else "string"

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        known, required = schema.get("properties", {}), schema.get("required", ())
        wanted = required if depth > _DEEPEST else {**known, **dict.fromkeys(required)}
        return {name: self._value(known.get(name), depth + 1) for name in wanted}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0 if depth > _DEEPEST else 1))
        most = least if depth > _DEEPEST else max(least, int(schema.get("maxItems", least + 2)))
        num = self.rng.randint(least, min(most, least + 2))
        return [self._value(schema.get("items"), depth + 1) for _ in range(num)]

    def _number(self, schema: Mapping[str, Any], *, is_whole: bool) -> float:
        least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        most = schema.get("maximum", schema.get("exclusiveMaximum", least + 101) - 1)
        number = self.rng.uniform(least, max(least, most))
        return round(number) if is_whole else round(number, 2)

    def _text(self, schema: Mapping[str, Any]) -> str:
        text = " ".join(self.rng.choice(self.words) for _ in range(self.rng.randint(2, 6)))
        while len(text) < schema.get("minLength", 0):
            text += f" {self.rng.choice(self.words)}"
        return text[: schema.get("maxLength")]

    def _referred(self, reference: object) -> Any:
        """What ``#/a/b`` points to in the schema; ``None`` where it points nowhere."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found = self.schema
        for step in reference.removeprefix("#").split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, Mapping) else None
        return found
