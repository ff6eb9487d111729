"""Answers that must be JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.records import Sample
from weave_async.validation.json import JsonValidator

MakeSample = Callable[..., Sample]
NAME = "weave_async.validation.json:JsonValidator"
PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ('{"a": [1, null]}', ""),
        ('```json\n{"a": 1}\n```', ""),
        ("```\n[1]\n```", ""),
        ('Here it is: {"a": 1}', "not_json"),
        ("{'a': 1}", "not_json"),
        ('{"a": NaN}', "not_json"),
        ('{"a": 1', "not_json"),
        ("", "not_json"),
        ("[" * 100_000, "too_large"),
        ('"' + "x" * 1_000_000 + '"', "too_large"),
    ],
)
def test_an_answer_is_json_and_nothing_besides(
    make_sample: MakeSample, completion: str, reason: str
) -> None:
    verdict = JsonValidator()(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_a_schema_stands_in_the_recipe_or_in_a_file(make_sample: MakeSample) -> None:
    Path("person.json").write_text(json.dumps(PERSON))
    for schema in (PERSON, "person.json"):
        rule = registry.build("validator", NAME, {"schema": schema})
        assert rule(make_sample('{"age": 3}')).passed
        verdict = rule(make_sample('{"age": "three"}'))
        assert (verdict.reason, verdict.evidence["path"]) == ("schema_mismatch", "$.age")


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "objekt"}, "'objekt' is not valid"),
        ("missing.json", "cannot read missing.json"),
        ("broken.json", "broken.json:2: not JSON"),
        (3, "schema"),
    ],
)
def test_a_schema_that_is_none_is_refused_when_the_rule_is_built(schema: Any, told: str) -> None:
    Path("broken.json").write_text('{"type":\n"object"')
    with pytest.raises(RecipeError, match=told):
        registry.build("validator", NAME, {"schema": schema})
