"""Chunks of a streamed answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from providers.wire.stream import ChunkReader
from weave_async.errors import (
    BadResponseError,
    ProviderError,
    RateLimitError,
    ResponseTooLargeError,
    ServerError,
)
from weave_async.records import Usage
from wire_shapes import ANY_JSON, ERRORS, URL, event, read_stream


def test_stream_yields_text_finish_and_late_usage() -> None:
    chunks = read_stream(
        event({"role": "assistant", "content": ""}),
        event({"content": "Hel"}),
        event({"content": "lo", "tool_calls": None}),
        event(finish="stop"),
        b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n',
        b"data: [DONE]\n\n",
    )
    assert [c.text for c in chunks] == ["Hel", "lo", "", ""]
    assert [c.finish_reason for c in chunks] == [None, None, "stop", None]
    assert chunks[-1].usage == Usage(3, 2)


def test_stream_without_done_is_whole_after_a_finish_reason() -> None:
    assert [c.text for c in read_stream(event({"content": "a"}, "stop"))] == ["a"]


def test_stream_with_done_but_no_finish_reason_ends_unknown() -> None:
    chunks = read_stream(event({"content": "a"}), b"data: [DONE]\n\n")
    assert chunks[-1].finish_reason == "unknown"


def test_stream_that_just_ends_is_a_bad_response() -> None:
    with pytest.raises(BadResponseError, match="neither a finish_reason nor"):
        read_stream(event({"content": "a"}))


@pytest.mark.parametrize("body", [b"", b"data: [DONE]\n\n", b": only a comment\n\n"])
def test_stream_with_nothing_in_it_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(BadResponseError):
        read_stream(body)


def test_event_cut_in_its_middle_is_a_bad_response() -> None:
    with pytest.raises(BadResponseError):
        read_stream(event({"content": "a"}), event({"content": "b"})[:30])


def test_keep_alives_disguised_as_data_are_skipped() -> None:
    chunks = read_stream(b"data: : keepalive\n\n", b"data:\n\n", event({"content": "a"}, "stop"))
    assert [c.text for c in chunks] == ["a"]


def test_surrogates_in_two_chunks_are_joined() -> None:
    chunks = read_stream(
        b'data: {"choices":[{"delta":{"content":"x\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00y"},"finish_reason":"stop"}]}\n\n',
    )
    assert "".join(c.text for c in chunks) == "x😀y"


def test_error_event_in_a_stream_is_raised_by_its_code() -> None:
    with pytest.raises(RateLimitError):
        read_stream(event({"content": "a"}), b'data: {"error": {"code": 429}}\n\n')


def test_generation_that_broke_down_is_a_server_error() -> None:
    with pytest.raises(ServerError, match="insufficient_system_resource"):
        read_stream(event({"content": "a"}, "insufficient_system_resource"))


def test_tool_calls_in_any_delta_outrank_the_final_word() -> None:
    chunks = read_stream(event({"tool_calls": [{"index": 0}]}), event(finish="stop"))
    assert [c.finish_reason for c in chunks if c.finish_reason] == ["tool_calls"]


def test_refusal_streams_as_filtered_text() -> None:
    chunks = read_stream(event({"refusal": "I "}), event({"refusal": "won't"}), event({}, "stop"))
    assert "".join(c.text for c in chunks) == "I won't"
    assert chunks[-1].finish_reason == "content_filter"


def test_text_of_a_stream_is_bounded() -> None:
    reader = ChunkReader(URL, ERRORS, 1_000)
    with pytest.raises(ResponseTooLargeError):
        for _ in range(11):
            list(reader.feed(event({"content": "x" * 100})))


@given(ANY_JSON)
def test_no_document_breaks_the_stream_reader(document: Any) -> None:
    data = b"data: " + json.dumps(document).encode() + b"\n\n"
    try:
        chunks = read_stream(data, b"data: [DONE]\n\n")
    except ProviderError as error:
        str(error).encode()
    else:
        for chunk in chunks:
            (chunk.text + chunk.reasoning + (chunk.raw_finish_reason or "")).encode()
