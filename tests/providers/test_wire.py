"""The pure half of the OpenAI-shaped providers: bytes in, records or errors out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.errors import ErrorReader
from providers.wire.fields import ThinkSplitter, finish_reason_of
from providers.wire.request import request_body
from providers.wire.response import parse_models, parse_response
from providers.wire.retry_after import retry_after_in_text, retry_after_s
from providers.wire.sse import EventDecoder
from providers.wire.stream import ChunkReader
from providers.wire.text import SurrogateJoiner, shown
from weave_async.errors import (
    AuthenticationError,
    BadResponseError,
    ContentFilterError,
    ContextLengthError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ResponseTooLargeError,
    ServerError,
)
from weave_async.records import Chunk, Message, Request, SamplingParams, Usage

URL = "http://127.0.0.1:1/v1/chat/completions"
KEY = "sk-canary-0123456789abcdef"
ERRORS = ErrorReader(secret=KEY, key_advice="set WEAVE_ASYNC_API_KEY")
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "status",
                    "detail",
                    "msg",
                    "object",
                    "metadata",
                    "details",
                    "choices",
                    "delta",
                    "content",
                    "usage",
                    "data",
                    "finish_reason",
                    "reasoning",
                    "tool_calls",
                    "refusal",
                    "text",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


def reply_error(status: int, body: Any, headers: Mapping[str, str] | None = None) -> ProviderError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ERRORS.from_reply(status, URL, (headers or {}).get, data)


def answer(**fields: Any) -> bytes:
    choice = {"message": {"content": "hi"}, "finish_reason": "stop", **fields}
    return json.dumps({"model": "m", "choices": [choice]}).encode()


def read_stream(*pieces: bytes) -> list[Chunk]:
    reader = ChunkReader(URL, ERRORS, 1_000_000)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks + list(reader.close())


def event(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


# --- requests


def test_request_sends_only_the_parameters_that_are_set() -> None:
    request = Request("r", "m", (Message("user", "é"),), SamplingParams(max_tokens=5, seed=0))
    assert json.loads(request_body(request, {"top_k": 1}, streamed=False)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "é"}],
        "max_tokens": 5,
        "seed": 0,
        "top_k": 1,
    }


def test_completions_request_sends_one_prompt_text() -> None:
    messages = (Message("system", "a"), Message("user", "b"))
    body = json.loads(
        request_body(
            Request("r", "m", messages, SamplingParams(), "completions"), {}, streamed=True
        )
    )
    assert body["prompt"] == "a\n\nb"
    assert body["stream_options"] == {"include_usage": True}
    assert "messages" not in body


def test_lone_surrogate_in_a_prompt_refuses_that_request_only() -> None:
    request = Request("r", "m", (Message("user", "\ud83d"),), SamplingParams())
    with pytest.raises(RequestRefusedError, match="request r"):
        request_body(request, {}, streamed=False)


# --- events


SSE_BODY = (
    "\ufeffdata: one\n\n"
    ": OPENROUTER PROCESSING\r\n\r\n"
    "event: delta\r\nid: 7\r\ndata:no space\r\n\r\n"
    "data: one\r\ndata: two\r\n\r\n"
    "data: first\ndata:  second\rdata\r\r"
    "data: 📖 wörld\n\n"
    "retry: 5\ndata:\n\n"
    "data: [DONE]"
).encode()
SSE_EVENTS = [
    b"one",
    b"no space",
    b"one\ntwo",
    b"first\n second\n",
    "📖 wörld".encode(),
    b"[DONE]",
]


def events_of(pieces: list[bytes]) -> list[bytes]:
    decoder = EventDecoder(1_000)
    events = [data for piece in pieces for data in decoder.feed(piece)]
    return [data for data in [*events, decoder.close()] if data]


@given(st.lists(st.integers(0, len(SSE_BODY))))
def test_events_do_not_depend_on_where_reads_cut_the_stream(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SSE_BODY)]
    pieces = [SSE_BODY[a:b] for a, b in pairwise(edges)]
    assert events_of(pieces) == SSE_EVENTS


def test_line_feed_is_swallowed_only_right_after_a_carriage_return() -> None:
    assert events_of([b"data: a\r\rdata: b", b"\n\ndata: c\n\n"]) == [b"a", b"b", b"c"]


def test_events_survive_one_byte_at_a_time() -> None:
    assert events_of([bytes([byte]) for byte in SSE_BODY]) == SSE_EVENTS


@given(st.lists(st.binary()))
def test_any_bytes_decode_the_same_whole_or_cut(pieces: list[bytes]) -> None:
    assert events_of(pieces) == events_of([b"".join(pieces)])


@pytest.mark.parametrize("piece", [b"x" * 300, b"data: " + b"x" * 290 + b"\n"])
def test_endless_event_is_refused(piece: bytes) -> None:
    with pytest.raises(ResponseTooLargeError):
        events_of([piece] * 4)


def test_many_comments_are_not_an_endless_event() -> None:
    assert events_of([b": keep-alive\n"] * 500 + [b"data: x\n\n"]) == [b"x"]


# --- streams


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


# --- thinking


@pytest.mark.parametrize(
    "text", ["<think>a < b</think>\n\nyes", "no <think> here", " <thin", "<think>x</th"]
)
def test_thinking_is_split_the_same_however_it_is_cut(text: str) -> None:
    def split(pieces: list[str]) -> tuple[str, str]:
        splitter = ThinkSplitter()
        parts = [splitter.feed(piece) for piece in pieces] + [splitter.close()]
        return "".join(a for a, _ in parts), "".join(r for _, r in parts)

    assert split(list(text)) == split([text])


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "<think>hm</think>\n\nyes"}, "yes", "hm"),
        ({"content": "<think>cut off"}, "", "cut off"),
        ({"content": "I say <think>"}, "I say <think>", ""),
        ({"content": "yes", "reasoning_content": "hm"}, "yes", "hm"),
        ({"content": "yes", "reasoning": "hm", "reasoning_content": None}, "yes", "hm"),
        ({"content": None}, "", ""),
        ({}, "", ""),
        ({"content": 7, "reasoning": {}}, "", ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", ""),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "yes"},
                    {"type": "image"},
                    None,
                ]
            },
            "yes",
            "hm",
        ),
    ],
)
def test_text_and_reasoning_are_found(message: dict[str, Any], text: str, reasoning: str) -> None:
    response = parse_response(answer(message=message), URL, ERRORS)
    assert (response.text, response.reasoning) == (text, reasoning)


# --- whole answers


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


# --- errors


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "bad"}}, RequestRefusedError),
        (400, {"error": {"code": "context_length_exceeded"}}, ContextLengthError),
        (400, {"error": {"type": "exceed_context_size_error"}}, ContextLengthError),
        (
            400,
            {"object": "error", "message": "This model's maximum context length is 4096 tokens."},
            ContextLengthError,
        ),
        (500, {"error": {"message": "Context size has been exceeded."}}, ContextLengthError),
        (
            400,
            {"error": {"code": "BadRequest", "innererror": {"code": "content_filter"}}},
            ContentFilterError,
        ),
        (401, {"error": {"code": "invalid_api_key"}}, AuthenticationError),
        (402, b"", QuotaError),
        (403, b"<html><title>Denied</title>", AuthenticationError),
        (403, {"error": {"code": 403, "metadata": {"flagged_input": "x"}}}, ContentFilterError),
        (404, {"detail": "Not Found"}, ModelNotFoundError),
        (408, b"", ServerError),
        (409, b"", ServerError),
        (413, b"<html><title>Too large</title>", RequestRefusedError),
        (418, b"", RequestRefusedError),
        (422, {"detail": [{"loc": ["body"], "msg": "extra_forbidden"}]}, RequestRefusedError),
        (429, b"", RateLimitError),
        (429, {"error": {"code": "insufficient_quota"}}, QuotaError),
        (429, {"error": {"type": "insufficient_quota", "code": None}}, QuotaError),
        (429, {"error": {"message": "you exceeded your insufficient_quota"}}, RateLimitError),
        (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}], RateLimitError),
        (503, {"error": {"message": "Loading model"}}, ServerError),
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, ServerError),
        (599, b"\xff\x00", ServerError),
        (307, b"", ModelNotFoundError),
    ],
)
def test_errors_are_classed_by_code_then_status(
    status: int, body: Any, kind: type[ProviderError]
) -> None:
    error = reply_error(status, body)
    assert type(error) is kind
    assert error.status_code == status


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "in error"}}, "in error"),
        ({"object": "error", "message": "at the top"}, "at the top"),
        ({"message": {"detail": [{"msg": "in a nested message"}]}}, "in a nested message"),
        ({"detail": "in detail"}, "in detail"),
        ({"detail": [{"loc": ["body"], "msg": "in a list"}]}, "in a list"),
        ([{"error": {"message": "in a list of errors"}}], "in a list of errors"),
        ({"error": "as a string", "error_type": "overloaded"}, "as a string"),
        (b"plain text", "plain text"),
        (b"<!DOCTYPE html><title>502 Bad Gateway</title><p>" + b"x" * 9_999, "502 Bad Gateway"),
    ],
)
def test_words_of_the_server_are_shown(body: Any, text: str) -> None:
    shown_text = str(reply_error(500, body))
    assert text in shown_text
    assert "xxxx" not in shown_text


@given(st.integers(300, 599), ANY_JSON)
def test_no_error_body_breaks_the_error_reader(status: int, document: Any) -> None:
    str(reply_error(status, document)).encode()


@given(st.integers(300, 599), st.binary())
def test_no_bytes_break_the_error_reader(status: int, body: bytes) -> None:
    str(reply_error(status, body)).encode()


def test_error_nested_without_end_is_survived() -> None:
    body = b'{"error":' * 900 + b"{}" + b"}" * 900
    assert isinstance(reply_error(500, body), ServerError)


def test_key_is_in_no_error() -> None:
    long = "x" * 1_995 + KEY
    for text in (f"Incorrect key: {KEY}", f"Bearer {KEY[:14]}", long, f"sk-other-{'9' * 20}"):
        message = str(reply_error(401, {"error": {"message": text}}))
        assert "canary" not in message
        assert "sk-" not in message
        assert "WEAVE_ASYNC_API_KEY" in message
    assert KEY not in repr(ERRORS)


def test_error_text_is_short_and_printable() -> None:
    text = shown("\x1b[31mred\x07\u202e" + "y" * 9_999)
    assert len(text) == 2_000
    assert text.startswith("[31mred y")


def test_redirect_shows_where_to_without_query_or_user() -> None:
    location = "https://user:pw@other.example/v1?token=secret"
    text = str(reply_error(302, b"", {"location": location}))
    assert "other.example/v1" in text
    assert "secret" not in text
    assert "pw" not in text


# --- retry-after


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        (
            {
                "retry-after": "Thu, 01 Jan 2026 12:00:30 GMT",
                "date": "Thu, 01 Jan 2026 12:00:20 GMT",
            },
            10.0,
        ),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, None),
        ({"retry-after": "Thu, 01 Jan 2036 12:00:00 GMT"}, None),
        ({"retry-after": "Thu, 99 Foo 99999 99:99:99 GMT"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1000000000"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "soon", "retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "-1"}, None),
    ],
)
def test_retry_after_headers(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers.get, NOW) == expected


@given(st.text())
def test_no_retry_after_header_breaks_the_parser(value: str) -> None:
    wait_s = retry_after_s({"retry-after": value, "retry-after-ms": value}.get, NOW)
    assert wait_s is None or 0 <= wait_s <= 86_400


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Please try again in 5.289s. Visit", 5.289),
        ("Please retry after 37 seconds.", 37.0),
        ("try again in 250ms", 0.25),
        ("try again in 2 minutes", 120.0),
        ("try again later", None),
        ("try again in 999999 minutes", None),
    ],
)
def test_retry_after_in_words(message: str, expected: float | None) -> None:
    assert retry_after_in_text(message) == expected


def test_header_outranks_the_words() -> None:
    body = {"error": {"message": "try again in 5s"}}
    assert reply_error(429, body, {"retry-after": "9"}).retry_after_s == 9.0
    assert reply_error(429, body).retry_after_s == 5.0


def test_retry_delay_of_gemini_is_read() -> None:
    body = [{"error": {"code": 429, "details": [{"@type": "x.RetryInfo", "retryDelay": "34s"}]}}]
    assert reply_error(429, body).retry_after_s == 34.0


def test_surrogate_half_that_stays_alone_is_replaced() -> None:
    joiner = SurrogateJoiner()
    assert joiner.feed("a\ud83d") + joiner.feed("b") + joiner.close() == "a\ufffdb"
