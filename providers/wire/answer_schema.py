"""A JSON Schema as an endpoint can use it: enforced, or told to the model in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from .capabilities import ResponseFormat

_STRICT_KEYWORDS = frozenset(
    (
        *("$defs", "$id", "$ref", "$schema", "definitions", "description", "title"),
        *("anyOf", "const", "enum", "type"),
        *("additionalProperties", "properties", "required"),
        *("items", "maxItems", "minItems"),
        *("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"),
        *("format", "pattern"),
    )
)
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_LONGEST_NAME = 64


def response_format(schema: Mapping[str, Any], kind: ResponseFormat) -> dict[str, Any] | None:
    """The field ``response_format``; ``None`` where the endpoint has no such thing."""
    if kind == "none":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    named: dict[str, Any] = {"name": _name(schema), "schema": schema}
    if is_strict(schema):
        named["strict"] = True
    return {"type": "json_schema", "json_schema": named}


def instructions(schema: Mapping[str, Any]) -> str:
    """What the model is told instead. JSON modes insist on finding the word "json" in a prompt."""
    text = orjson.dumps(schema).decode()
    return (
        "Answer with one JSON document and nothing else: no explanation, no ```json fence. "
        f"It must be valid against this JSON Schema:\n{text}"
    )


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether ``schema`` keeps the rules of OpenAI's strict mode, which refuses all others.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
    """
    return schema.get("type") == "object" and "anyOf" not in schema and _keeps_the_rules(schema)


def _keeps_the_rules(schema: object) -> bool:
    if not isinstance(schema, Mapping) or not _STRICT_KEYWORDS.issuperset(schema):
        return False
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        return False
    if "object" in _types(schema) or properties:
        required = schema.get("required", [])
        is_closed = schema.get("additionalProperties") is False
        if not (is_closed and isinstance(required, list) and set(required) == set(properties)):
            return False
    return all(map(_keeps_the_rules, _parts(schema, properties)))


def _types(schema: Mapping[str, Any]) -> list[Any]:
    types = schema.get("type")
    return types if isinstance(types, list) else [types]


def _parts(schema: Mapping[str, Any], properties: Mapping[str, Any]) -> list[object]:
    parts: list[object] = list(properties.values())
    if "items" in schema:
        parts.append(schema["items"])
    any_of = schema.get("anyOf", [])
    parts += any_of if isinstance(any_of, list) else [None]
    for key in ("$defs", "definitions"):
        definitions = schema.get(key, {})
        parts += definitions.values() if isinstance(definitions, Mapping) else [None]
    return parts


def _name(schema: Mapping[str, Any]) -> str:
    title = schema.get("title")
    name = _NOT_IN_A_NAME.sub("_", title) if isinstance(title, str) else ""
    return name.strip("_")[:_LONGEST_NAME] or "answer"
