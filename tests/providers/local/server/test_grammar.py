"""Answers that must have a shape: any model, even a random one, keeps to it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import jsonschema
import pytest

from providers.local.server.errors import InvalidRequest
from providers.local.server.generation import RunningEngine
from providers.local.server.grammar import MAX_COMPILED, MAX_SCHEMA_BYTES, GrammarCompiler
from providers.local.server.weights import Codec, LoadedModel
from tiny_models import make_model, make_tokenizer

from .test_engines import both_engines, load_reciter, run

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "é"]}, "maxItems": 3},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{1,3}$"},
    },
    "required": ["name", "age", "tags", "code"],
    "additionalProperties": False,
}
END_ID = 1


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(make_tokenizer().backend_tokenizer.to_str(), frozenset({END_ID}))


def allows(allowed: bytes) -> set[int]:
    return {n for n in range(len(allowed) * 8) if allowed[n // 8] >> n % 8 & 1}


def test_the_text_may_end_only_where_the_grammar_does(compiler: GrammarCompiler) -> None:
    tokenizer = make_tokenizer()
    matcher = compiler.json_schema({"enum": [1, 12]}).matcher()
    one, two = tokenizer.encode("12", add_special_tokens=False)
    assert allows(matcher.allowed()) == {one}
    matcher.accept(one)
    assert allows(matcher.allowed()) == {two, END_ID}
    matcher.accept(two)
    assert allows(matcher.allowed()) == {END_ID}
    assert matcher.failure is None


def test_sequences_of_one_grammar_stand_at_their_own_places(compiler: GrammarCompiler) -> None:
    grammar = compiler.json_object()
    moved, other = grammar.matcher(), grammar.matcher()
    before = other.allowed()
    moved.accept(min(allows(moved.allowed())))
    assert moved.allowed() != other.allowed() == before == grammar.matcher().allowed()


def test_a_token_out_of_turn_leaves_nothing_to_say(compiler: GrammarCompiler) -> None:
    matcher = compiler.json_object().matcher()
    matcher.accept(END_ID)
    assert not allows(matcher.allowed())
    assert matcher.failure


def test_a_schema_is_compiled_once_and_few_are_kept(compiler: GrammarCompiler) -> None:
    first = compiler.json_schema(PERSON)
    assert compiler.json_schema(dict(PERSON)) is first
    for n in range(MAX_COMPILED):
        compiler.json_schema({"const": n})
    assert compiler.json_schema(PERSON) is not first


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "strin"}, "strin"),
        ({"if": {"type": "string"}, "then": {"minLength": 3}}, "Unimplemented keys"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"$ref": "http://127.0.0.1:1/x.json"}, "does not fetch"),
        ({"$ref": "#"}, "NoExtension"),
        (False, "no text"),
        ({"x-guidance": {"whitespace_pattern": "x*"}, "type": "object"}, "x-guidance"),
        ({"description": "x" * MAX_SCHEMA_BYTES}, "bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_schema_that_cannot_be_kept_to_is_refused(
    compiler: GrammarCompiler, schema: dict[str, Any] | bool, why: str
) -> None:
    with pytest.raises(InvalidRequest, match=why) as refused:
        compiler.json_schema(schema)
    assert (refused.value.param, refused.value.code) == ("response_format", "invalid_schema")


def test_the_schema_true_is_any_json(compiler: GrammarCompiler) -> None:
    anything = compiler.json_schema({}).matcher().allowed()
    assert compiler.json_schema(True).matcher().allowed() == anything


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema, "minItems": 2}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(a?){200}a{200}$"},
        {"type": "string", "pattern": "((((a{1,100}){1,100}){1,100}){1,100})"},
        {"type": "string", "pattern": ".*a.{200}$"},
        {"type": "string", "maxLength": 10**7},
        {"type": "integer", "multipleOf": 10**9 + 7},
        {"type": "array", "minItems": 10**6, "items": {"type": "integer"}},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}},
        {"allOf": [{"anyOf": [{"const": n}, {"const": n + 1}, {}]} for n in range(40)]},
        deep(90),
        deep(400),
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_a_hostile_schema_costs_little(compiler: GrammarCompiler, schema: dict[str, Any]) -> None:
    """Refused, or kept to for as long as its limits go; in CPU time, whatever else runs."""
    began = time.thread_time()
    try:
        matcher = compiler.json_schema(schema).matcher()
    except InvalidRequest:
        pass
    else:
        for _ in range(50):
            if not (tokens := allows(matcher.allowed()) - {END_ID}):
                break
            matcher.accept(max(tokens))
    assert time.thread_time() - began < 3


def load_random() -> LoadedModel:
    """As `load_reciter`, but what it says is noise."""
    from dataclasses import replace

    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer))
    return replace(load_reciter(), model=model, codec=Codec(tokenizer))


async def chat(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "who?"}]
    body = {"model": "reciter", "messages": messages, "max_tokens": 200, **fields}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    assert isinstance(choice, dict)
    return choice


def person_format(schema: Any = PERSON) -> dict[str, Any]:
    described = {"name": "person", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": described}


@both_engines
def test_a_random_model_answers_in_the_schema_beside_others_that_are_free(kind: str) -> None:
    async def test(client: httpx.AsyncClient, _engine: RunningEngine) -> None:
        free = {"seed": 5, "max_tokens": 20, "ignore_eos": True}
        alone = await chat(client, **free)
        shaped = [{"seed": n, "response_format": person_format()} for n in range(3)]
        shaped.append({"temperature": 0, "response_format": person_format()})
        choices = await asyncio.gather(
            chat(client, **free), *(chat(client, **fields) for fields in shaped)
        )
        assert choices[0] == alone
        for choice in choices[1:]:
            assert choice["finish_reason"] == "stop"
            jsonschema.validate(json.loads(choice["message"]["content"]), PERSON)
        assert await chat(client, **shaped[0]) == choices[1]

    run(kind, test, load_random())


@both_engines
def test_a_json_object_is_an_object_however_its_tokens_are_weighed(kind: str) -> None:
    async def test(client: httpx.AsyncClient, _engine: RunningEngine) -> None:
        (brace,) = make_tokenizer().encode("}", add_special_tokens=False)
        choice = await chat(
            client, response_format={"type": "json_object"}, logit_bias={str(brace): 100}
        )
        assert isinstance(json.loads(choice["message"]["content"]), dict)
        assert choice["finish_reason"] == "stop"

    run(kind, test, load_random())


@both_engines
def test_refusals_of_a_response_format_name_it(kind: str) -> None:
    async def test(client: httpx.AsyncClient, _engine: RunningEngine) -> None:
        for wrong, more in (
            ("json", {}),
            ({"type": "xml"}, {}),
            ({"type": "json_schema"}, {}),
            (person_format("not a schema"), {}),
            (person_format({"not": {}}), {}),
        ):
            messages = [{"role": "user", "content": "x"}]
            body = {"model": "reciter", "messages": messages, "response_format": wrong, **more}
            answer = await client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]["param"].startswith("response_format")
        body |= {"response_format": person_format(), "ignore_eos": True}
        answer = await client.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "ignore_eos")

    run(kind, test)


@both_engines
def test_a_schema_that_runs_into_a_limit_within_a_text_is_the_one_to_blame(kind: str) -> None:
    many = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}}

    async def test(client: httpx.AsyncClient, engine: RunningEngine) -> None:
        body = {"model": "reciter", "messages": [{"role": "user", "content": "x"}], "seed": 1}
        body |= {"max_tokens": 50, "response_format": person_format(many)}
        answer = await client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "invalid_schema"
        assert "max is" in answer.json()["error"]["message"]
        assert engine.state().num_running == 0

    run(kind, test, load_random())


@both_engines
def test_text_is_the_format_that_asks_for_nothing(kind: str) -> None:
    async def test(client: httpx.AsyncClient, _engine: RunningEngine) -> None:
        asked = {"seed": 1, "max_tokens": 5}
        assert await chat(client, response_format={"type": "text"}, **asked) == await chat(
            client, **asked
        )

    run(kind, test)
