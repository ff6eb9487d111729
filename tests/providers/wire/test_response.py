"""Whole answers, however sloppy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from providers.wire.fields import finish_reason_of
from providers.wire.response import parse_models, parse_response
from weave_async.errors import (
    BadResponseError,
    ContextLengthError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
)
from weave_async.records import Usage
from wire_shapes import ANY_JSON, ERRORS, URL, answer


def test_answer_without_usage_knows_no_counts() -> None:
    assert parse_response(answer(), URL, ERRORS).usage == Usage(None, None)


def test_usage_of_the_wrong_type_is_not_known() -> None:
    body = json.loads(answer()) | {"usage": {"prompt_tokens": "9", "completion_tokens": -1}}
    assert parse_response(json.dumps(body).encode(), URL, ERRORS).usage == Usage(None, None)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("stop", "stop"),
        ("eos_token", "stop"),
        ("STOP", "stop"),
        ("model_length", "length"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("abort", "error"),
        ("", "unknown"),
        (None, "unknown"),
        ("never heard of", "unknown"),
    ],
)
def test_finish_reasons_are_translated(raw: str | None, expected: str) -> None:
    assert finish_reason_of(raw) == expected


def test_raw_finish_reason_is_kept() -> None:
    response = parse_response(answer(finish_reason="eos_token"), URL, ERRORS)
    assert (response.finish_reason, response.raw_finish_reason) == ("stop", "eos_token")


def test_refusal_is_an_answer_that_was_filtered() -> None:
    response = parse_response(answer(message={"content": None, "refusal": "no"}), URL, ERRORS)
    assert (response.text, response.finish_reason) == ("no", "content_filter")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{broken",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [null]}',
        b'{"choices": {"0": 1}}',
        b"<html><title>Welcome</title>" + b"x" * 9_000,
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b'{"choices": [' + b"9" * 5_000 + b"]}",
    ],
)
def test_200_that_is_no_answer_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponseError) as caught:
        parse_response(body, URL, ERRORS)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\xef\xbb\xbf" + answer(), "hi"),
        (b"\n\n\n" + answer(), "hi"),
        (answer(logprobs=float("nan")), "hi"),
        (answer(message={"content": "a\ud83db"}), "a\ufffdb"),
        (answer(message={"content": "\ud83d\ude00"}), "😀"),
        (b'{"choices":[{"message":{"content":"\xff"}}]}', "\ufffd"),
        (b'{"choices":[{"text":"plain"}]}', "plain"),
    ],
)
def test_sloppy_200_is_read_anyway(body: bytes, text: str) -> None:
    assert parse_response(body, URL, ERRORS).text == text


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, RateLimitError),
        ({"error": {"code": "502"}}, ServerError),
        ({"error": "out of memory"}, ServerError),
        ([{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}], RequestRefusedError),
        ({"object": "error", "message": "maximum context length is 5"}, ContextLengthError),
        ({"error": {"code": "insufficient_quota"}}, QuotaError),
    ],
)
def test_200_with_an_error_inside_is_that_error(document: Any, kind: type[ProviderError]) -> None:
    with pytest.raises(ProviderError) as caught:
        parse_response(json.dumps(document).encode(), URL, ERRORS)
    assert type(caught.value) is kind


@given(ANY_JSON)
def test_no_document_breaks_the_response_parser(document: Any) -> None:
    try:
        response = parse_response(json.dumps(document).encode(), URL, ERRORS)
    except ProviderError as error:
        str(error).encode()
    else:
        (response.text + response.reasoning).encode()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"data": [{"id": "a", "max_model_len": 9}, {"id": "b"}]}', ["a", "b"]),
        (b'{"models": [{"name": "a"}], "data": null}', ["a"]),
        (b'["a", {"id": "b"}, null, 7]', ["a", "b"]),
        (b'{"data": "what"}', []),
        (b"{}", []),
    ],
)
def test_models_are_found_in_any_shape(body: bytes, names: list[str]) -> None:
    assert parse_models(body, URL, ERRORS) == names
