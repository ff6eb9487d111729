"""Rows 18 to 23: usage, and fields and lengths that an endpoint does not take."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from one_request import BOTH, REQUEST, collect, error_of, stream, use
from one_request import complete as complete_one
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import (
    ContextLengthError,
    FieldRefusedError,
    ProviderError,
    RequestRefusedError,
)
from weave_async.records import Message, Request, SamplingParams, Usage
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_chunks,
    chat_completion,
    echo,
    error_reply,
    json_reply,
    sse_reply,
)
from wire_shapes import event

from .shapes import DONE, said, streamed, whole

PARAMS = SamplingParams(max_tokens=9, temperature=0.5, top_k=5, presence_penalty=0.1, seed=1)
FULL = replace(REQUEST, params=PARAMS)


def refusing(*refused: str, reply: Callable[[str], Reply]) -> Callable[[RecordedRequest], Reply]:
    """An endpoint that answers requests without these fields only."""

    def script(request: RecordedRequest) -> Reply:
        for field in refused:
            if field in request.body:
                return reply(field)
        return echo(request)

    return script


async def ask(provider: OpenAICompatibleProvider, request: Request, *, whole: bool) -> str:
    if whole:
        return (await provider.complete(request)).text
    return said(await collect(provider.stream(request)))


async def tries(
    provider: OpenAICompatibleProvider, request: Request, *, whole: bool = True
) -> tuple[int, str]:
    """How often the request is refused for a field of its own, and what comes in the end."""
    for number in range(9):
        try:
            return number, await ask(provider, request, whole=whole)
        except FieldRefusedError:
            continue
    raise AssertionError("refused without end")


def learning(
    script: Callable[[RecordedRequest], Reply] | Sequence[Reply],
    request: Request,
    *,
    whole: bool = True,
    **fields: Any,
) -> tuple[list[int], list[RecordedRequest]]:
    """Ask twice: how often each was refused, and what arrived."""

    async def act(provider: OpenAICompatibleProvider) -> list[int]:
        return [(await tries(provider, request, whole=whole))[0] for _ in range(2)]

    with ScriptedEndpoint(script) as server:
        return use(server.base_url, act, **fields), server.requests


def mistral(field: str) -> Reply:
    extra = {
        "type": "extra_forbidden",
        "loc": ["body", field],
        "msg": "Extra inputs are not permitted",
    }
    document = {"object": "error", "message": {"detail": [extra]}, "type": "invalid_request_error"}
    return json_reply(document, 422)


def mistral_as_text(field: str) -> Reply:
    extra = {"type": "extra_forbidden", "loc": ["body", field], "input": 0.0}
    document = {"object": "error", "message": json.dumps({"detail": [extra]}), "code": "1000"}
    return json_reply(document, 422)


def old_azure(field: str) -> Reply:
    return error_reply(400, f"Unrecognized request argument supplied: {field}. Please contact us.")


def openai(field: str) -> Reply:
    message = f"Unsupported parameter: '{field}' is not supported with this model."
    error = {"message": message, "param": field, "code": "unsupported_parameter"}
    return json_reply({"error": error}, 400)


def openrouter(field: str) -> Reply:
    raw = json.dumps({"error": {"message": f"Unsupported parameter: '{field}'", "code": None}})
    error = {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}
    return json_reply({"error": error}, 400)


def gemini(field: str) -> Reply:
    message = f'Invalid JSON payload received. Unknown name "{field}": Cannot find field.'
    return json_reply(
        [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}], 400
    )


def groq(field: str) -> Reply:
    return error_reply(400, f"property '{field}' is unsupported, did you mean 'stop'?")


def xai(field: str) -> Reply:
    first, *rest = field.split("_")
    camel = first + "".join(map(str.title, rest))
    fault = f"Argument not supported on this model: {camel}"
    return json_reply({"code": "Client specified an invalid argument", "error": fault}, 400)


def anthropic(field: str) -> Reply:
    error = {"type": "invalid_request_error", "message": f"{field}: Extra inputs are not permitted"}
    return json_reply({"type": "error", "error": error}, 400)


def serde(field: str) -> Reply:
    text = f"Failed to deserialize: unknown field `{field}`, expected one of `model`, `top_p`"
    return Reply(status=422, body=text.encode())


def litellm(field: str) -> Reply:
    text = f"litellm.BadRequestError: 400 - {{'message': \"Unknown parameter: '{field}'.\"}}"
    return error_reply(400, text)


def vllm_of_old(field: str) -> Reply:
    message = (
        f"[{{'type': 'extra_forbidden', 'loc': ('body', '{field}'), 'msg': 'Extra', 'input': 5}}]"
    )
    return json_reply({"object": "error", "message": message, "code": 400}, 400)


WAYS = (
    *(mistral, mistral_as_text, old_azure, openai, openrouter, gemini),
    *(groq, xai, anthropic, serde, litellm, vllm_of_old),
)


def test_quirk_18_stream_options_is_dropped_once_refused(caplog: pytest.LogCaptureFixture) -> None:
    script = refusing("stream_options", reply=mistral)
    refused, requests = learning(script, FULL, whole=False)
    assert refused == [1, 0]
    assert ["stream_options" in request.body for request in requests] == [True, False, False]
    assert all(request.body["stream"] is True for request in requests)
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "providers.openai_compatible")
    assert "test does not take stream_options" in record.message


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", ["presence_penalty", "seed", "top_k"])
def test_quirk_18_any_optional_field_is_dropped_in_whatever_words_it_is_refused(
    way: Callable[[str], Reply], field: str
) -> None:
    refused, requests = learning(refusing(field, reply=way), FULL)
    assert refused == [1, 0]
    assert [field in request.body for request in requests] == [True, False, False]
    kept = requests[0].body
    del kept[field]
    assert requests[1].body == requests[2].body == kept


def test_quirk_18_several_fields_are_learned_one_after_the_other() -> None:
    refused, requests = learning(refusing("seed", "top_k", "temperature", reply=openai), FULL)
    assert refused == [3, 0]
    assert set(requests[-1].body) == {"model", "messages", "max_tokens", "presence_penalty"}


def test_quirk_18_requests_sent_before_the_lesson_heed_it_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def act(provider: OpenAICompatibleProvider) -> list[tuple[int, str]]:
        return await asyncio.gather(*(tries(provider, FULL) for _ in range(8)))

    with ScriptedEndpoint(refusing("seed", reply=openai)) as server:
        outcomes = use(server.base_url, act, max_concurrency=8)
    assert [num for num, _ in outcomes] == [1] * 8
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "reply",
    [
        mistral("messages"),
        openai("model"),
        json_reply(
            {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", "messages", 0, "user", "seed"]}
                ]
            },
            422,
        ),
        error_reply(400, "Unrecognized request argument supplied: logit_bias"),  # was not sent
        error_reply(400, "Unsupported value: 'messages[0].role' does not support 'system'"),
        Reply(status=400, body=b"<html><title>Bad Request</title>"),
        Reply(status=422),
    ],
)
def test_quirk_18_what_names_no_optional_field_of_ours_is_the_requests_own_fault(
    reply: Reply,
) -> None:
    assert type(error_of(lambda: learning([reply], FULL))) is RequestRefusedError


OUT_OF_RANGE = [
    {
        "message": "Unsupported value: 'temperature' does not support 0.5 with this model.",
        "param": "temperature",
        "code": "unsupported_value",
    },
    {"message": "invalid temperature: only 1 is allowed for this model"},
    {"message": "This model does not support temperature values other than 1"},
    {
        "message": "max_tokens is too large: 9. This model supports at most 4 completion tokens",
        "param": "max_tokens",
        "code": "invalid_value",
    },
    {"message": "Invalid 'seed': integer above maximum value", "param": "seed"},
    {
        "detail": [
            {"type": "less_than", "loc": ["body", "temperature"], "msg": "Input is too large"}
        ]
    },
]


@pytest.mark.parametrize("error", OUT_OF_RANGE)
def test_quirk_18_a_refused_value_is_told_and_not_dropped(error: dict[str, Any]) -> None:
    reply = json_reply({"error": error}, 400)
    raised = error_of(lambda: learning([reply, reply], FULL))
    assert type(raised) is RequestRefusedError
    assert str(error.get("message", "too large")) in str(raised)


def test_quirk_18_a_field_of_extra_body_is_never_dropped() -> None:
    extra = {"extra_body": {"top_k": 3}}
    error = error_of(lambda: learning(refusing("top_k", reply=openai), FULL, options=extra))
    assert type(error) is RequestRefusedError
    assert "take 'top_k' out of the extra_body of test" in str(error)


@BOTH
def test_quirk_19_an_answer_without_usage_knows_no_counts(ask: Callable[..., Any]) -> None:
    if ask is stream:
        chunks = stream([sse_reply(chat_chunks("a b")[:-1])])
        assert said(chunks) == "a b"
        assert not [chunk.usage for chunk in chunks if chunk.usage]
    else:
        assert complete_one([whole({"content": "a"})]).usage == Usage(None, None)


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


@pytest.mark.parametrize(
    "body",
    [
        [event({"content": "a"}), event({}, "stop", usage=USAGE)],
        [
            event({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
            event({}, "stop", usage=USAGE),
            event({}, usage=None),
            event({}, usage={"prompt_tokens": None, "completion_tokens": None}),
        ],
        [event({"content": "a"}, "stop"), event({"content": ""}, usage=USAGE)],
        [event({"content": "a"}, "stop", usage={"input_tokens": 3, "output_tokens": 2})],
        [event({"content": "a"}, "stop", x_groq={"usage": USAGE})],
        [
            b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop","usage":%b}]}\n\n'
            % json.dumps(USAGE).encode()
        ],
    ],
    ids=[
        "with the finish",
        "in every chunk",
        "with a choice",
        "Anthropic's",
        "Groq's",
        "Moonshot's",
    ],
)
def test_quirk_20_the_last_usage_counts_wherever_it_stands(body: list[bytes]) -> None:
    chunks = stream([streamed(*body, DONE)])
    assert [chunk.usage for chunk in chunks if chunk.usage][-1] == Usage(3, 2)
    assert said(chunks) == "a"


def test_quirk_20_usage_of_a_whole_answer_is_read_in_either_spelling() -> None:
    for usage in (USAGE, {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}):
        assert complete_one([whole({"content": "a"}, usage=usage)]).usage == Usage(3, 2)


def swapped(field: str) -> Reply:
    other = {"max_tokens": "max_completion_tokens"}.get(field, "max_tokens")
    message = (
        f"Unsupported parameter: '{field}' is not supported with this model. Use '{other}' instead."
    )
    error = {"message": message, "param": field, "code": "unsupported_parameter"}
    return json_reply({"error": error}, 400)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
def test_quirk_21_max_tokens_becomes_max_completion_tokens_once_refused(whole: bool) -> None:
    refused, requests = learning(refusing("max_tokens", reply=swapped), FULL, whole=whole)
    assert refused == [1, 0]
    assert [request.body.get("max_completion_tokens") for request in requests] == [None, 9, 9]
    assert [request.body.get("max_tokens") for request in requests] == [9, None, None]


@pytest.mark.parametrize("way", [swapped, mistral, old_azure, serde])
def test_quirk_21_max_completion_tokens_becomes_max_tokens_once_refused(
    way: Callable[[str], Reply],
) -> None:
    options = {"capabilities": {"max_tokens_field": "max_completion_tokens"}}
    script = refusing("max_completion_tokens", reply=way)
    refused, requests = learning(script, FULL, options=options)
    assert refused == [1, 0]
    assert [request.body.get("max_tokens") for request in requests] == [None, 9, 9]


def test_quirk_21_an_endpoint_that_takes_neither_name_is_not_asked_without_end() -> None:
    async def act(provider: OpenAICompatibleProvider) -> int:
        for number in range(9):
            try:
                await provider.complete(FULL)
            except FieldRefusedError:
                continue
            except RequestRefusedError:
                return number
        raise AssertionError("refused without end")

    with ScriptedEndpoint(refusing("max_tokens", "max_completion_tokens", reply=openai)) as server:
        assert use(server.base_url, act) == 2
    assert all(
        len({"max_tokens", "max_completion_tokens"} & set(r.body)) == 1 for r in server.requests
    )


def test_quirk_21_a_name_in_extra_body_is_not_sent_beside_the_other() -> None:
    options = {"extra_body": {"max_completion_tokens": 70}}
    _, requests = learning(echo, FULL, options=options)
    assert requests[0].body["max_completion_tokens"] == 70
    assert "max_tokens" not in requests[0].body


def counting(input_tokens: int) -> Callable[[RecordedRequest], Reply]:
    usage = {"prompt_tokens": input_tokens, "completion_tokens": 1}
    return lambda request: json_reply(chat_completion("a") | {"usage": usage})


@pytest.mark.parametrize(
    ("num_chars", "input_tokens", "is_cut"),
    [
        (40_000, 4_096, True),  # English has 4 characters in a token, and this would be 10
        (40_000, 2_047, True),
        (30_000, 4_096, True),
        (24_000, 4_096, False),
        (40_000, 4_097, False),  # dense, and not the size of a window
        (16_000, 4_000, False),
        (5_000, 100, False),  # too short to tell
        (100_000, 0, False),
    ],
)
def test_quirk_22_a_prompt_cut_to_the_window_is_said_once(
    caplog: pytest.LogCaptureFixture, num_chars: int, input_tokens: int, is_cut: bool
) -> None:
    long = replace(REQUEST, messages=(Message("user", "x" * num_chars),))
    learning(counting(input_tokens), long)
    assert ["num_ctx" in record.message for record in caplog.records] == [True] * is_cut


CONTEXT_WORDS = [
    "This model's maximum context length is 5 tokens.",
    "litellm.ContextWindowExceededError: Mock context error",
    "The number of tokens to keep from the initial prompt is greater than the context length",
    "Trying to keep the first 9 tokens when context the overflows.",  # LM Studio, as it stands
    "Cannot truncate prompt with n_keep (9) >= n_ctx (4)",
    "The input (9 tokens) is longer than the model's context length (4 tokens).",
    "The decoder prompt (length 9) is longer than the maximum model length of 4.",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4",
    "The input token count (9) exceeds the maximum number of tokens allowed (4).",
]
CONTEXT: list[tuple[int, Any]] = [
    (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
    (400, {"error": {"code": 400, "message": "x", "type": "exceed_context_size_error"}}),
    (500, {"error": {"message": "Context size has been exceeded.", "code": 500}}),
    *((400, {"error": words}) for words in CONTEXT_WORDS),
    *((422, [{"error": {"code": 400, "message": words}}]) for words in CONTEXT_WORDS),
]


@pytest.mark.parametrize(("status", "document"), CONTEXT)
def test_quirk_23_a_prompt_that_is_too_long_is_not_sent_again(status: int, document: Any) -> None:
    for ask_one in (complete_one, stream):
        error = error_of(lambda: ask_one([json_reply(document, status)]))  # noqa: B023
        assert type(error) is ContextLengthError
        assert not error.retryable


def test_quirk_23_so_it_is_when_a_stream_that_began_well_says_it() -> None:
    late = {"error": {"code": 400, "message": "the request exceeds the available context size"}}
    error = error_of(lambda: stream([sse_reply([*chat_chunks("a")[:2], late])]))
    assert type(error) is ContextLengthError


def test_quirk_23_a_stream_of_nothing_at_all_is_no_answer() -> None:
    with pytest.raises(ProviderError, match="nothing in it"):
        stream([sse_reply([])])
