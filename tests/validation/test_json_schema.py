"""Schemas of answers: which are taken, what an answer is told, and what one answer can cost."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from weave_async.validation import json_keywords
from weave_async.validation.json_answer import MAX_CHARS, unfenced
from weave_async.validation.json_schema import AnswerSchema, BadSchemaError, read_schema

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def reason(schema: dict[str, Any], text: str) -> str:
    finding = AnswerSchema(schema).finding(text)
    return "" if finding is None else finding.reason


# --- what is taken for an answer -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Zoë 🎉"}',
        '  \n{"name": "x"}\n ',
        '```json\n{"name": "x"}\n```',
        '```\n{"name": "x"}\n```',
        '```JSON {"name": "x"}```',
    ],
)
def test_whitespace_and_one_code_fence_around_the_json_are_tolerated(text: str) -> None:
    assert reason(PERSON, text) == ""
    assert json.loads(unfenced(text))["name"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "```",
        "``````",
        'Here you are: {"name": "x"}',
        '{"name": "x"} I hope this helps!',
        '```python\n{"name": "x"}\n```',
        "{'name': 'x'}",
        '{"name": "x", "name": "y"}',
        '{"name": "x", "age": NaN}',
        '{"name": "x", "age": 1e999}',
        '{"name": "x", "age": ' + "9" * 5000 + "}",
    ],
)
def test_what_readers_would_not_agree_on_is_not_json(text: str) -> None:
    assert reason(PERSON, text) == "not_json"


def test_a_problem_is_told_with_its_place() -> None:
    schema = {"type": "object", "properties": {"people": {"type": "array", "items": PERSON}}}
    text = '{"people": [{"name": "a"}, {"name": "b", "age": -1, "pets": 2}]}'
    verdict = AnswerSchema(schema)(text)
    assert verdict.reason == "schema_mismatch"
    places = [verdict.evidence["path"], *(also.split(": ")[0] for also in verdict.evidence["also"])]
    assert sorted(places) == ["$.people[1]", "$.people[1].age"]


def test_of_alternatives_the_nearest_is_told() -> None:
    schema = {"anyOf": [{"type": "null"}, PERSON]}
    evidence = AnswerSchema(schema)('{"name": "x", "age": "old"}').evidence
    assert evidence["path"] == "$.age"


def test_what_is_told_is_bounded_and_can_be_stored() -> None:
    verdict = AnswerSchema(PERSON)(json.dumps({"name": ["\ud800" * 100_000]}))
    assert len(json.dumps(dict(verdict.evidence))) < 2_000
    json.dumps(dict(verdict.evidence), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({"type": "array", "items": {"type": "integer"}, "minItems": 1}, "[1, 2]", "[]"),
        ({"type": "string", "maxLength": 2}, '"ü😀"', '"abc"'),
        ({"enum": [None, 3]}, "null", "false"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}, "1.5", '"1.5"'),
        ({"type": "array", "items": {"$ref": "#"}}, "[[[]], []]", "[[1]]"),
        ({"$id": "https://example.org/a", "items": {"$ref": "#"}, "type": "array"}, "[]", "[3]"),
        ({"$anchor": "a", "type": "array", "items": {"$ref": "#a"}}, "[[]]", "[0]"),
        ({"pattern": r"^\p{Lu}+$"}, '"ÄB"', '"äb"'),
        ({"patternProperties": {"^x": {"type": "null"}}}, '{"x1": null, "y": 1}', '{"x1": 1}'),
        (
            {"patternProperties": {"^x": {}}, "additionalProperties": {"type": "null"}},
            '{"x": 1, "y": null}',
            '{"x": 1, "y": 1}',
        ),
        ({"uniqueItems": True}, '[1, true, "1", [1], {"a": 1}]', '[{"a": [1]}, {"a": [1.0]}]'),
        ({"properties": {"pattern": {"type": "null"}, "$ref": {}}}, '{"$ref": 1}', '{"pattern":1}'),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "null"}]},
            "[null, 1]",
            "[1]",
        ),
    ],
)
def test_roots_references_patterns_and_drafts(
    schema: dict[str, Any], fits: str, does_not: str
) -> None:
    assert reason(schema, fits) == ""
    assert reason(schema, does_not) == "schema_mismatch"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=8,
)
_SCHEMAS = st.sampled_from(
    [
        {"uniqueItems": True, "items": {"type": ["integer", "boolean", "array"]}},
        {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": False},
        {"additionalProperties": {"uniqueItems": True}, "properties": {"a": {"pattern": "^b"}}},
        {"anyOf": [{"type": "string", "pattern": "^a"}, {"type": "array", "uniqueItems": True}]},
    ]
)


@given(_SCHEMAS, _JSON)
def test_bounded_keywords_judge_as_the_library_does(schema: dict[str, Any], value: Any) -> None:
    theirs = Draft202012Validator(schema).is_valid(value)
    assert AnswerSchema(schema)(json.dumps(value)).passed == theirs


# --- what one answer can cost --------------------------------------------------------------------


def test_a_pattern_that_explodes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_keywords, "MATCHING_S", 0.05)
    schema = AnswerSchema({"items": {"pattern": "^(a|aa|b?a)+$"}})
    text = json.dumps(["a" * 60 + "!"] * 10_000)
    finding = schema.finding(text)
    assert finding is not None
    assert finding.reason == "too_slow"
    assert schema.finding('["aaa"]') is None, "the next answer has time of its own"


def test_a_naming_of_the_draft_does_not_bring_unbounded_patterns_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_keywords, "MATCHING_S", 0.05)
    draft = "https://json-schema.org/draft/2020-12/schema"
    items = {"$ref": "#/$defs/x"}
    explosive = {"x": {"pattern": "^(a|aa|b?a)+$"}}
    schema = {"$schema": draft, "items": items, "$defs": explosive}
    assert reason(schema, json.dumps(["a" * 60 + "!"])) == "too_slow"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 500 + "]" * 500,
        '{"a":' * 150 + "1" + "}" * 150,
        json.dumps("x" * MAX_CHARS),
    ],
)
def test_answers_too_large_or_too_deep_are_not_looked_at(text: str) -> None:
    assert reason({"items": {"$ref": "#"}}, text) == "too_large"


def test_comparing_all_items_takes_no_square_of_their_number() -> None:
    text = json.dumps([{"n": n} for n in range(50_000)])
    assert reason({"uniqueItems": True}, text) == ""  # else minutes, and the test's timeout


# --- which schemas are taken ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, r"\$\.type"),
        ({"$ref": "https://example.org/other.json"}, "leads outside"),
        ({"items": {"$ref": "other.json#/a"}}, r"\$\.items.*leads outside"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "leads outside"),
        ({"$ref": "#/$defs/nowhere"}, "leads nowhere"),
        ({"$ref": "#"}, "without end"),
        ({"$schema": "https://example.org/mine"}, "no draft"),
        ({"properties": {"a": {"pattern": "("}}}, "no pattern"),
        ({"items": {"$id": "b", "type": "null"}}, "as a whole"),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "not supported"),
        ({"enum": ["x" * 140_000]}, "more than 131072"),
        ({"enum": list(range(10_001))}, "values"),
    ],
)
def test_a_schema_that_is_none_or_not_safe_is_refused(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSchemaError, match=said):
        AnswerSchema(schema)


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("it opens a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(BadSchemaError):
        AnswerSchema({"items": {"$ref": "http://127.0.0.1:9/schema.json"}})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", r"a\.json:1: not JSON"),
        (b"[]", "no JSON object"),
        (b'{"a":"' + b"x" * 140_000 + b'"}', "bytes"),
        (b'{"type":"\xff"}', "not JSON"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_holds_no_schema_is_named(content: bytes | None, said: str) -> None:
    if content is not None:
        Path("a.json").write_bytes(content)
    with pytest.raises(BadSchemaError, match=said):
        read_schema(Path("a.json"))
