"""Rows 24 to 30: failures in every shape, with and without the status that goes with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from one_request import BOTH, KEY, complete, error_of, stream
from weave_async.errors import (
    BadResponseError,
    ContentFilterError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
)
from weave_async.testing.scripted_endpoint import (
    Reply,
    ScriptedEndpoint,
    chat_chunks,
    error_reply,
    json_reply,
    sse_reply,
)
from wire_shapes import event

from .shapes import DONE, JSON, ending, said, streamed, whole


def anthropic_says(message: str) -> Reply:
    error = {"type": "invalid_request_error", "message": message}
    return json_reply({"type": "error", "error": error}, 400)


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        error_reply(429, "You exceeded your current quota", "insufficient_quota"),
        json_reply({"error": {"message": "Insufficient Balance"}}, 402),
        Reply(status=402),
        anthropic_says("Your credit balance is too low to access the Anthropic API. Please go"),
        anthropic_says("You have reached your specified API usage limits. You will regain access"),
    ],
)
def test_quirk_24_an_account_that_is_spent_stops_its_endpoint(
    ask: Callable[..., Any], reply: Reply
) -> None:
    error = error_of(lambda: ask([reply]))
    assert type(error) is QuotaError
    assert error.stops_endpoint
    assert not error.retryable


def test_quirk_24_words_like_quota_and_credit_stop_nothing() -> None:
    together = {"message": "rate limited", "type": "credit_limit", "code": None}
    assert (
        type(error_of(lambda: complete([json_reply({"error": together}, 429)]))) is RateLimitError
    )
    told = anthropic_says("the prompt says: Your credit balance is too low to access the bank")
    assert type(error_of(lambda: complete([told]))) is RequestRefusedError


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "slow down"}, RateLimitError),
        ({"code": "502", "message": "upstream"}, ServerError),
        ({"message": "the engine died"}, ServerError),
        ("out of memory", ServerError),
        ({"code": 400, "message": "no"}, RequestRefusedError),
        ({"code": "insufficient_quota"}, QuotaError),
    ],
)
def test_quirk_25_an_error_inside_a_200_is_that_error(
    error: Any, kind: type[ProviderError]
) -> None:
    chunks = chat_chunks("half of an answer")[:3]
    for raised in (
        error_of(lambda: complete([json_reply({"error": error})])),
        error_of(lambda: stream([json_reply({"error": error})])),
        error_of(lambda: stream([sse_reply([{"error": error}])])),
        error_of(lambda: stream([sse_reply([*chunks, {"error": error}])])),
    ):
        assert type(raised) is kind


def test_quirk_25_a_generation_that_ends_in_error_is_tried_again() -> None:
    for raised in (
        error_of(lambda: complete([whole({"content": "hal"}, "error")])),
        error_of(lambda: stream([streamed(event({"content": "hal"}), event({}, "error"), DONE)])),
    ):
        assert type(raised) is ServerError
        assert raised.retryable


@BOTH
@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"error": {}}, "HTTP 500"),
        ({"error": {"message": "as OpenAI says it", "code": None}}, "as OpenAI says it"),
        ({"object": "error", "message": "as old vLLM says it", "code": 40303}, "as old vLLM"),
        ({"message": {"detail": [{"msg": "as Mistral says it"}]}}, "as Mistral says it"),
        ({"detail": "as FastAPI says it"}, "as FastAPI says it"),
        ({"detail": [{"loc": ["body"], "msg": "as pydantic says it"}]}, "as pydantic says it"),
        ([{"error": {"message": "as Gemini says it"}}], "as Gemini says it"),
        ({"error": "as Ollama says it", "error_type": "overloaded"}, "as Ollama says it"),
        ({"error": {"message": "code as a number", "code": 500}}, "code as a number"),
        ({"error": {"message": "code as a text", "code": "500"}}, "code as a text"),
        ({"error": {"message": "x" * 9_999}}, "xxx"),
        ("as nobody says it", "HTTP 500"),
    ],
)
def test_quirk_26_the_words_of_an_error_are_found_in_any_shape(
    ask: Callable[..., Any], document: Any, words: str
) -> None:
    error = error_of(lambda: ask([json_reply(document, 500)]))
    assert type(error) is ServerError
    assert words in str(error)
    assert len(str(error)) < 2_200


@BOTH
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 521, 522, 524, 525, 529])
@pytest.mark.parametrize("body", [b"", b"<html><title>Bad gateway</title>" + b"x" * 9_999])
def test_quirk_27_a_gateways_page_is_a_breakdown_and_is_not_logged_whole(
    ask: Callable[..., Any], status: int, body: bytes
) -> None:
    error = error_of(
        lambda: ask([Reply(status=status, headers={"content-type": "text/html"}, body=body)])
    )
    assert type(error) is ServerError
    assert len(str(error)) < 300
    assert ("Bad gateway" in str(error)) == bool(body)


def test_quirk_27_a_page_that_says_413_ends_the_row() -> None:
    reply = Reply(status=413, body=b"<html><title>Request Entity Too Large</title>")
    assert type(error_of(lambda: complete([reply]))) is RequestRefusedError


@BOTH
def test_quirk_27_a_redirect_is_not_followed_with_the_key(ask: Callable[..., Any]) -> None:
    with ScriptedEndpoint() as elsewhere:
        headers = {"location": f"{elsewhere.base_url}/chat/completions"}
        with pytest.raises(ModelNotFoundError, match="redirects to"):
            ask([Reply(status=307, headers=headers)], api_key=SecretStr(KEY))
    assert elsewhere.num_connections == 0


@BOTH
@pytest.mark.parametrize(
    ("status", "document"),
    [
        (503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}),
        (503, {"error": "Model is overloaded", "error_type": "overloaded"}),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        (409, {"error": {"message": "a deployment is in progress"}}),
    ],
)
def test_quirk_28_a_server_that_is_not_ready_is_waited_for(
    ask: Callable[..., Any], status: int, document: Any
) -> None:
    error = error_of(lambda: ask([json_reply(document, status)]))
    assert type(error) is ServerError
    assert error.retryable
    assert not error.may_be_billed


@BOTH
def test_quirk_29_a_prompt_that_azure_filters_is_not_sent_again(ask: Callable[..., Any]) -> None:
    inner = {"code": "ResponsibleAIPolicyViolation"}
    error = {"message": "filtered", "code": "content_filter", "innererror": inner}
    raised = error_of(lambda: ask([json_reply({"error": error}, 400)]))
    assert type(raised) is ContentFilterError
    assert not raised.retryable


def test_quirk_29_an_answer_that_is_filtered_or_refused_says_so() -> None:
    for message, finish in (({"content": "half"}, "content_filter"), ({"refusal": "half"}, "stop")):
        response = complete([whole(message, finish)])
        chunks = stream([streamed(event(message), event({}, finish), DONE)])
        assert (response.text, response.finish_reason) == ("half", "content_filter")
        assert (said(chunks), ending(chunks).finish_reason) == ("half", "content_filter")


@BOTH
@pytest.mark.parametrize("body", [b'{"choices": [', b"", b"upstream error", b"{'choices': []}"])
def test_quirk_30_a_200_that_is_not_json_is_tried_again(
    ask: Callable[..., Any], body: bytes
) -> None:
    error = error_of(lambda: ask([Reply(headers=JSON, body=body)]))
    assert type(error) is BadResponseError
    assert error.retryable


def test_quirk_30_an_event_that_is_not_json_is_tried_again() -> None:
    broken = b"data: " + json.dumps({"choices": []}).encode()[:-2] + b"\n\n"
    error = error_of(lambda: stream([streamed(event({"content": "a"}), broken, DONE)]))
    assert type(error) is BadResponseError
    assert error.retryable
