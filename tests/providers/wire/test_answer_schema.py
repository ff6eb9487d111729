"""A schema on its way to the model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from one_request import REQUEST, use
from providers.wire.answer_schema import instructions, is_strict, response_format
from providers.wire.capabilities import Capabilities
from providers.wire.request import request_fields
from weave_async.errors import FieldRefusedError, RequestRefusedError
from weave_async.records import Message, Request
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_reply,
    error_reply,
)

STRICT: dict[str, Any] = {
    "title": "Order form!",
    "type": "object",
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "note": {"type": ["string", "null"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "kind": {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]},
    },
    "required": ["size", "note", "lines", "kind"],
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": False,
        }
    },
}
ASKING = replace(REQUEST, schema=STRICT)


def test_schema_that_keeps_the_strict_rules_is_sent_as_strict() -> None:
    assert response_format(STRICT, "json_schema") == {
        "type": "json_schema",
        "json_schema": {"name": "Order_form", "schema": STRICT, "strict": True},
    }


LOOSE: list[dict[str, Any]] = [
    {},
    {"type": "array", "items": {"type": "string"}},
    {"type": "object"},
    STRICT | {"additionalProperties": True},
    STRICT | {"required": ["size"]},
    STRICT | {"anyOf": [{"type": "object"}]},
    STRICT | {"patternProperties": {}},
    STRICT | {"properties": "what"},
    STRICT | {"$defs": {"line": {"type": "object", "properties": {"text": {}}}}},
    STRICT | {"$defs": {"line": {"type": "string", "minLength": 3}}},
    STRICT | {"$defs": {"line": True}},
]


@pytest.mark.parametrize("schema", LOOSE)
def test_schema_that_breaks_a_strict_rule_is_sent_without_the_word(schema: dict[str, Any]) -> None:
    assert not is_strict(schema)
    sent = response_format(schema, "json_schema")
    assert sent is not None
    assert set(sent["json_schema"]) == {"name", "schema"}


@pytest.mark.parametrize(
    ("capabilities", "kind", "is_told"),
    [
        (Capabilities(), "json_schema", False),
        (Capabilities(response_format="json_object"), "json_object", True),
        (Capabilities(response_format="none"), None, True),
        (Capabilities(lacks=frozenset({"response_format"})), None, True),
    ],
)
def test_model_is_told_in_words_what_the_endpoint_cannot_hold_it_to(
    capabilities: Capabilities, kind: str | None, is_told: bool
) -> None:
    fields = request_fields(ASKING, {}, streamed=False, capabilities=capabilities)
    assert fields.get("response_format", {}).get("type") == kind
    assert fields["messages"][-1] == {"role": "user", "content": "hello"}
    told = [m for m in fields["messages"] if m["role"] == "system"]
    assert [json.loads(m["content"].split("\n")[-1]) for m in told] == [STRICT] * is_told


def test_schema_is_told_at_the_end_of_the_system_turn_that_is_there() -> None:
    messages = (Message("system", "Be kind."), Message("user", "hello"))
    request = replace(ASKING, messages=messages)
    none = Capabilities(response_format="none")
    fields = request_fields(request, {}, streamed=False, capabilities=none)
    system, user = fields["messages"]
    assert system["content"] == f"Be kind.\n\n{instructions(STRICT)}"
    assert user["content"] == "hello"
    assert request.messages == messages


def test_plain_completions_are_told_in_front_of_the_prompt() -> None:
    fields = request_fields(replace(ASKING, api="completions"), {}, streamed=False)
    assert fields["prompt"] == f"{instructions(STRICT)}\n\nhello"
    assert "response_format" not in fields


REFUSALS = [
    error_reply(400, "This response_format type is unavailable now"),
    error_reply(422, "response_format.type `json_schema` is unavailable now at line 1 column 9"),
    error_reply(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported"),
    error_reply(400, "Invalid schema for response_format 'Order_form': 'minimum' is not permitted"),
    error_reply(400, "The provided JSON schema contains features not supported by xgrammar."),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refused_response_format_is_lowered_step_by_step_and_told_in_words(refusal: Reply) -> None:
    def script(request: RecordedRequest) -> Reply:
        return refusal if "response_format" in request.body else chat_reply("{}")

    async def act(provider: Any) -> str:
        for _ in range(2):
            with pytest.raises(FieldRefusedError):
                await provider.complete(ASKING)
        return str((await provider.complete(ASKING)).text)

    with ScriptedEndpoint(script) as server:
        assert use(server.base_url, act) == "{}"
    kinds = [request.body.get("response_format", {}).get("type") for request in server.requests]
    assert kinds == ["json_schema", "json_object", None]
    told = [request.body["messages"][0]["role"] == "system" for request in server.requests]
    assert told == [False, True, True]


def test_response_format_of_extra_body_is_a_persons_own() -> None:
    options = {"extra_body": {"response_format": {"type": "text"}}}
    with ScriptedEndpoint([REFUSALS[0]]) as server, pytest.raises(RequestRefusedError) as caught:
        use(server.base_url, lambda p: p.complete(ASKING), options=options)
    assert type(caught.value) is RequestRefusedError
    assert server.requests[0].body["response_format"] == {"type": "text"}


def test_schema_that_json_cannot_carry_refuses_that_request_only() -> None:
    none = {"capabilities": {"response_format": "none"}}
    request: Request = replace(REQUEST, schema={"title": "\ud83d"})
    with ScriptedEndpoint() as server:
        for options in ({}, none):
            with pytest.raises(RequestRefusedError, match="request r1"):
                use(server.base_url, lambda p: p.complete(request), options=options)
    assert server.num_connections == 0
