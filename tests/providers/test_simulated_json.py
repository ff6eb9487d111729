"""Answers of the simulated provider to recipes that want a shape."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import jsonschema
import pytest

from providers.simulated_json import ValueMaker

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q", "extra"]},
    {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "maxItems": 3},
    {"type": ["integer", "null"], "minimum": 3, "maximum": 5},
    {"type": "number", "minimum": 0, "exclusiveMaximum": 7},
    {"anyOf": [{"const": 1}, {"type": "boolean"}]},
    {"type": "string", "minLength": 30, "maxLength": 40},
    {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "of": {"$ref": "#/$defs/list"}},
                "required": ["name"],
            },
            "list": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 1},
        },
    },
    {},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_a_value_fits_its_schema(schema: dict[str, Any]) -> None:
    for seed in range(50):
        value = ValueMaker(schema, Random(seed), ["card", "fees", "transfer"]).value()
        jsonschema.validate(value, schema)


def test_a_schema_that_holds_itself_comes_to_an_end() -> None:
    endless = {"type": "object", "properties": {"of": {"$ref": "#"}}, "required": ["of"]}
    assert json.dumps(ValueMaker(endless, Random(1), ["word"]).value())
    assert ValueMaker({"$ref": "#"}, Random(1), ["word"]).value() == "word"
