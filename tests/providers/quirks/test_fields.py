"""Rows 36 to 42: fields that answers spell in their own way, or leave out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from one_request import BOTH, REQUEST, complete, error_of, stream, use
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import ProviderError, ServerError
from weave_async.records import FinishReason, Response
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_chunks,
    chat_completion,
    chat_reply,
    error_reply,
    json_reply,
    sse_reply,
)
from wire_shapes import event

from .shapes import DONE, ending, said, streamed, whole

THINKING: dict[str, dict[str, Any]] = {
    "DeepSeek's": {"reasoning_content": "hm", "content": "hi"},
    "vLLM's": {"reasoning": "hm", "content": "hi"},
    "both": {"reasoning": "hm", "reasoning_content": "hm", "content": "hi"},
    "an object": {"reasoning": {"content": "hm"}, "content": "hi"},
    "Ollama's": {"thinking": "hm", "content": "hi"},
    "details only": {
        "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": None}],
        "content": "hi",
    },
    "a summary": {
        "reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}],
        "content": "hi",
    },
    "litellm's": {"thinking_blocks": [{"type": "thinking", "thinking": "hm"}], "content": "hi"},
    "tags": {"content": "<think>hm</think>hi"},
    "tags after a blank": {"content": "\n<think>hm</think>\n\nhi"},
    "longer tags": {"content": "<thinking>hm</thinking>hi"},
    "Gemini's": {"content": "<thought>hm</thought>hi"},
    "Magistral's": {"content": "[THINK]hm[/THINK]hi"},
    "Mistral's": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "hi"},
        ]
    },
}


@pytest.mark.parametrize("name", THINKING)
def test_quirk_36_thinking_is_one_field_however_it_is_spelt(name: str) -> None:
    message = THINKING[name]
    response = complete([whole(message)])
    assert (response.text, response.reasoning) == ("hi", "hm")
    thought = {key: value for key, value in message.items() if key != "content"}
    deltas = event(thought), event({"content": message["content"]}), event({}, "stop")
    chunks = stream([streamed(*deltas, DONE)])
    assert (said(chunks), "".join(c.reasoning for c in chunks)) == ("hi", "hm")


def test_quirk_36_thinking_is_the_first_that_is_heard() -> None:
    deltas = [event({"content": "", "reasoning_content": "h"}), event({"content": "hi"}, "stop")]
    chunks = stream([streamed(*deltas, DONE)])
    assert (chunks[0].text, chunks[0].reasoning) == ("", "h")


@pytest.mark.parametrize(
    ("message", "text", "finish"),
    [
        ({"content": None}, "", "stop"),
        ({"content": ""}, "", "stop"),
        ({}, "", "stop"),
        ({"content": None, "tool_calls": [{"function": {"name": "f"}}]}, "", "tool_calls"),
        ({"content": "", "refusal": "no"}, "no", "content_filter"),
        ({"content": None, "refusal": "no"}, "no", "content_filter"),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, "no", "stop"),
        ({"content": []}, "", "stop"),
    ],
)
def test_quirk_37_an_answer_without_content_is_an_empty_one(
    message: dict[str, Any], text: str, finish: str
) -> None:
    response = complete([whole(message)])
    assert (response.text, response.finish_reason) == (text, finish)
    chunks = stream([streamed(event(message), event({}, "stop"), DONE)])
    assert (said(chunks), ending(chunks).finish_reason) == (text, finish)


FINISH_REASONS: list[tuple[Any, FinishReason]] = [
    ("stop", "stop"),
    ("eos", "stop"),
    ("eos_token", "stop"),
    ("stop_sequence", "stop"),
    ("STOP", "stop"),
    ("length", "length"),
    ("model_length", "length"),
    ("MAX_TOKENS", "length"),
    ("tool_calls", "tool_calls"),
    ("function_call", "tool_calls"),
    ("content_filter", "content_filter"),
    ("SAFETY", "content_filter"),
    ("", "unknown"),
    ("tired", "unknown"),
]


@pytest.mark.parametrize(("raw", "reason"), FINISH_REASONS)
def test_quirk_38_finish_reasons_are_translated_and_kept(raw: str, reason: str) -> None:
    response = complete([whole({"content": "hi"}, raw)])
    assert (response.finish_reason, response.raw_finish_reason) == (reason, raw)
    last = ending(stream([streamed(event({"content": "hi"}, raw), DONE)]))
    assert (last.finish_reason, last.raw_finish_reason) == (reason, raw or None)


@pytest.mark.parametrize("raw", ["insufficient_system_resource", "error", "abort"])
def test_quirk_38_a_generation_that_broke_down_is_tried_again(raw: str) -> None:
    for error in (
        error_of(lambda: complete([whole({"content": "hal"}, raw)])),
        error_of(lambda: stream([streamed(event({"content": "hal"}, raw), DONE)])),
    ):
        assert type(error) is ServerError
        assert raw in str(error)


@pytest.mark.parametrize(
    ("asked", "answered", "is_said"),
    [
        ("big-model", "small-model", True),
        ("gpt-4", "local-weights.gguf", True),
        ("m-1", "m-1", False),
        ("m-1", "m-1-2026-08-06", False),
        ("m-1:latest", "m-1", False),
        ("maker/m-1", "m-1", False),
        ("m-1", "/models/M-1.gguf", False),
        ("C:\\models\\m-1.gguf", "m-1", False),
        ("m-1", None, False),
    ],
)
def test_quirk_39_another_model_than_asked_for_is_said_once(
    caplog: pytest.LogCaptureFixture, asked: str, answered: str | None, is_said: bool
) -> None:
    async def act(provider: OpenAICompatibleProvider) -> list[Response]:
        request = replace(REQUEST, model=asked)
        return [await provider.complete(request) for _ in range(3)]

    script = json_reply(chat_completion("hi") | {"model": answered})
    with ScriptedEndpoint(lambda request: script) as server:
        responses = use(server.base_url, act)
    assert {response.model for response in responses} == {answered}
    assert [f"answers as model {answered!r}" in r.message for r in caplog.records] == [
        True
    ] * is_said


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"data": [{"id": "/models/a.gguf", "max_model_len": 9}]}, ["/models/a.gguf"]),
        ({"models": [{"name": "b"}], "data": [{"id": "a"}]}, ["a"]),
        ({"models": [{"model": "b"}]}, ["b"]),
        ([{"id": "a"}, None, {"id": 7}], ["a"]),
        ({}, []),
    ],
)
def test_quirk_40_models_are_found_in_any_shape(document: Any, names: list[str]) -> None:
    with ScriptedEndpoint([json_reply(document)]) as server:
        assert use(server.base_url, lambda provider: provider.models()) == names


@pytest.mark.parametrize("reply", [error_reply(500), error_reply(404), Reply(body=b"<html>")])
def test_quirk_40_a_server_without_a_list_answers_all_the_same(reply: Reply) -> None:
    async def act(provider: OpenAICompatibleProvider) -> str:
        with pytest.raises(ProviderError):
            await provider.models()
        return (await provider.complete(REQUEST)).text

    with ScriptedEndpoint([reply, chat_reply("hi")]) as server:
        assert use(server.base_url, act) == "hi"


ANTHROPIC = {"capabilities": {"response_format": "none", "lacks": ["n", "seed", "logprobs"]}}


def test_quirk_41_fields_that_would_be_ignored_are_not_sent_once_that_is_said() -> None:
    schema = {"type": "object"}
    request = replace(REQUEST, num_choices=3, schema=schema)
    with ScriptedEndpoint() as server:
        response = use(server.base_url, lambda p: p.complete(request), options=ANTHROPIC)
    body = server.requests[0].body
    assert set(body) == {"model", "messages"}
    assert "JSON" in body["messages"][0]["content"]
    assert response.others == ()


@pytest.mark.parametrize(
    "words",
    [
        "n must be 1",
        "'n' : number must be at most 1",
        "Only one completion choice is allowed",
        "multiple completions are not supported",
    ],
)
def test_quirk_41_an_endpoint_of_single_choices_is_asked_for_one_from_then_on(words: str) -> None:
    def script(request: RecordedRequest) -> Reply:
        return error_reply(400, words) if "n" in request.body else chat_reply("one")

    async def act(provider: OpenAICompatibleProvider) -> list[Response]:
        request = replace(REQUEST, num_choices=4)
        with pytest.raises(ProviderError, match=words) as caught:
            await provider.complete(request)
        assert caught.value.retryable
        return [await provider.complete(request) for _ in range(2)]

    with ScriptedEndpoint(script) as server:
        responses = use(server.base_url, act)
    assert [request.body.get("n") for request in server.requests] == [4, None, None]
    assert [(response.text, response.others) for response in responses] == [("one", ())] * 2


@BOTH
@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": []}]},
        {"content": [{"token": "a b c", "logprob": None}, {"token": "x"}, {"token": "y"}]},
        {"content": "what"},
        {"tokens": ["a"], "token_logprobs": [-1.0, -2.0]},
        [],
        7,
    ],
)
def test_quirk_42_logprobs_of_any_shape_break_nothing(
    ask: Callable[..., Any], logprobs: Any
) -> None:
    if ask is stream:
        chunks = chat_chunks("a b")
        for chunk in chunks:
            chunk["choices"] = [choice | {"logprobs": logprobs} for choice in chunk["choices"]]
        assert said(ask([sse_reply(chunks)])) == "a b"
    else:
        document = chat_completion("a b")
        document["choices"][0]["logprobs"] = logprobs
        assert ask([json_reply(document)]).text == "a b"
