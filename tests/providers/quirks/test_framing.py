"""Rows 1 to 17: how streams and bodies are framed, cut, delayed and ended."""

from __future__ import annotations

import gzip
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from one_request import BOTH, complete, error_of, stream
from weave_async.errors import BadResponseError, DeadlineError
from weave_async.records import ToolCall, Usage
from weave_async.testing.scripted_endpoint import (
    Piece,
    Reply,
    chat_chunks,
    chat_completion,
    dripped,
    json_reply,
    silence,
    sse_reply,
)
from wire_shapes import event

from .shapes import DONE, SSE, ending, said, streamed, whole

TEXT = "naïve 😀 日本語 — fin"
EVENTS = [event({"role": "assistant"}), *(event({"content": c}) for c in TEXT), event({}, "stop")]


def test_quirk_01_comments_are_no_chunks_and_keep_a_slow_stream_alive() -> None:
    comments: list[Piece] = [b": OPENROUTER PROCESSING\n\n", 0.4, b": keep-alive\n\n", 0.4] * 2
    started = time.perf_counter()
    chunks = stream([streamed(*comments, *EVENTS, DONE)], timeout_s=1.2)
    assert time.perf_counter() - started > 1.2
    assert chunks[0].text == "n"
    assert said(chunks) == TEXT


@pytest.mark.parametrize(
    "filler",
    [
        b"data: : keepalive\n\n",
        b"data:\n\n",
        b"data: \n\n",
        b"id: 1\n: comment\n\n",
        b"event: ping\ndata:\n\n",
        b"\n\n\n",
    ],
)
def test_quirk_02_keep_alives_that_look_like_data_are_skipped(filler: bytes) -> None:
    pieces = [piece for one in EVENTS for piece in (filler, one)]
    pieces[3] = b"id: 7\n: comment\n" + pieces[3]
    assert said(stream([streamed(filler, *pieces, filler, DONE)])) == TEXT


@BOTH
def test_quirk_03_blank_lines_before_a_whole_answer_are_no_answer(ask: Callable[..., Any]) -> None:
    body = [b"\n", 0.05, b"\n\n", 0.05, json.dumps(chat_completion("at last")).encode()]
    answer = ask([Reply(headers={"content-type": "application/json"}, body=body)])
    assert (said(answer) if isinstance(answer, list) else answer.text) == "at last"


def test_quirk_03_blank_lines_without_end_meet_the_deadline_and_not_the_timeout() -> None:
    blanks = dripped(b"\n" * 1_000, 0.05)
    reply = Reply(headers={"content-type": "application/json"}, body=blanks)
    with pytest.raises(DeadlineError, match=r"deadline_s=0\.6"):
        complete([reply], timeout_s=0.5, deadline_s=0.6)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda body: body.replace(b"data: ", b"data:"),
        lambda body: body.replace(b"\n", b"\r\n"),
        lambda body: body.replace(b"\n", b"\r"),
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body.replace(b"data: ", b"event: message\nid: 1\nretry: 5\ndata: "),
        lambda body: body.replace(b', "', b',\ndata: "'),
    ],
    ids=["no space", "CRLF", "CR", "BOM", "named events", "data in several lines"],
)
def test_quirk_04_events_are_read_by_the_specification(rewrite: Callable[[bytes], bytes]) -> None:
    assert said(stream([streamed(rewrite(b"".join(EVENTS) + DONE))])) == TEXT


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1_000, 100_000])
def test_quirk_05_text_is_the_same_however_the_bytes_are_cut(size: int) -> None:
    body = "".join(f"data: {json.dumps(c, ensure_ascii=False)}\n\n" for c in chat_chunks(TEXT))
    data = body.encode() + DONE
    pieces: list[Piece] = []
    for start in range(0, len(data), size):
        pieces += [data[start : start + size], 0.0]
    assert said(stream([streamed(*pieces)])) == TEXT


def test_quirk_06_halves_of_a_surrogate_pair_are_joined_across_chunks() -> None:
    halves = event({"content": "a\ud83d"}), event({"content": "\ude00b"}, "stop")
    assert said(stream([streamed(*halves, DONE)])) == "a😀b"


def test_quirk_06_a_half_that_stays_alone_can_still_be_written() -> None:
    chunks = stream([streamed(event({"content": "a\ud83d", "reasoning": "\udc00"}, "stop"))])
    assert said(chunks).encode() == "a\ufffd".encode()
    response = complete([whole({"content": "a\ud83d", "tool_calls": [_call("f", "\ud83d")]})])
    assert response.text == "a\ufffd"
    assert response.tool_calls[0].arguments.encode() == "\ufffd".encode()


def test_quirk_07_an_answer_without_done_is_whole_after_its_finish_reason() -> None:
    assert said(stream([streamed(*EVENTS)])) == TEXT


def test_quirk_07_done_ends_a_stream_whose_socket_stays_open() -> None:
    started = time.perf_counter()
    assert said(stream([streamed(*EVENTS, DONE, 60.0)])) == TEXT
    assert time.perf_counter() - started < 10


def test_quirk_07_a_connection_lost_after_the_answer_loses_nothing() -> None:
    assert said(stream([streamed(*EVENTS, reset=True)])) == TEXT


def test_quirk_08_a_stream_that_just_ends_is_no_answer() -> None:
    error = error_of(lambda: stream([streamed(*EVENTS[:-1])]))
    assert type(error) is BadResponseError
    assert error.retryable
    assert "neither a finish_reason nor [DONE]" in str(error)


@pytest.mark.parametrize("finish", [None, ""])
def test_quirk_09_an_answer_without_a_finish_reason_ended_for_reasons_unknown(
    finish: str | None,
) -> None:
    chunks = stream([streamed(event({"content": "a"}, finish), DONE)])
    assert (said(chunks), ending(chunks).finish_reason) == ("a", "unknown")
    response = complete([whole({"content": "a"}, finish)])
    assert (response.text, response.finish_reason) == ("a", "unknown")


@BOTH
@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
def test_quirk_10_a_body_cut_in_its_middle_is_asked_for_again(
    ask: Callable[..., Any], reset: bool
) -> None:
    body = b"".join(EVENTS) if ask is stream else json.dumps(chat_completion(TEXT)).encode()
    headers = SSE if ask is stream else {"content-type": "application/json"}
    reply = Reply(headers=headers, body=[body, 0.05], cut_after=150, reset=reset)
    error = error_of(lambda: ask([reply]))
    assert type(error) is BadResponseError
    assert error.retryable
    assert error.may_be_billed


def test_quirk_11_chunks_without_a_choice_are_no_text_and_may_hold_the_usage() -> None:
    azure = {"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "usage": None}
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    chunks = stream([sse_reply([azure, *chat_chunks("a b")[:-1], usage])])
    assert chunks[0].text == "a"
    assert chunks[-1].usage == Usage(3, 2)


def test_quirk_12_the_first_chunk_is_the_first_that_says_something() -> None:
    role = event({"role": "assistant", "content": ""})
    chunks = stream([streamed(role, 0.3, role, *EVENTS, DONE)])
    assert chunks[0].text == "n"


def test_quirk_13_null_is_as_good_as_absent() -> None:
    nulls = {"role": None, "content": None, "tool_calls": None, "refusal": None, "reasoning": None}
    body = [event(nulls), event({"content": "a"} | {"tool_calls": None}), event(nulls, "stop")]
    missing = b'data: {"choices": [{"delta": {}}]}\n\ndata: {}\n\ndata: {"choices": null}\n\n'
    chunks = stream([streamed(missing, *body, DONE)])
    assert (said(chunks), ending(chunks).finish_reason) == ("a", "stop")
    response = complete([whole(nulls | {"content": "a"}, usage=None, model=None)])
    assert (response.text, response.finish_reason, response.model) == ("a", "stop", None)


def test_quirk_14_tokens_are_counted_by_usage_and_not_by_chunks() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 40}}
    chunks = stream([sse_reply([*chat_chunks("several\ntokens\nin\none")[:-1], usage])])
    assert len([chunk for chunk in chunks if chunk.text]) == 1
    assert chunks[-1].usage == Usage(3, 40)


def _call(name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return {"type": "function", "function": function, **more}


TWO = (ToolCall("c1", "f", '{"a": "\\ud83d\\ude00"}'), ToolCall("c2", "g", "{}"))
DELTAS: dict[str, list[list[dict[str, Any]]]] = {
    "by the book": [
        [_call("f", "", index=0, id="c1")],
        [_call(None, '{"a": "\\ud8', index=0)],  # cut inside an escape
        [_call(None, '3d\\ude00"}', index=0)],
        [_call("g", "{}", index=1, id="c2")],
    ],
    "interleaved": [
        [_call("f", '{"a": ', index=0, id="c1"), _call("g", "{", index=1, id="c2")],
        [_call(None, "}", index=1), _call(None, '"\\ud83d\\ude00"}', index=0)],
    ],
    "no index, whole calls": [
        [_call("f", '{"a": "\\ud83d\\ude00"}', id="c1"), _call("g", "{}", id="c2")],
    ],
    "no index, in pieces": [
        [_call("f", "", id="c1")],
        [_call(None, '{"a": "\\ud83d')],
        [_call(None, '\\ude00"}')],
        [_call("g", "", id="c2")],
        [_call(None, "{}")],
    ],
    "all index 0": [
        [_call("f", '{"a": "\\ud83d\\ude00"}', index=0, id="c1")],
        [_call("g", "{", index=0, id="c2")],
        [_call(None, "}", index=0)],
    ],
    "id in every delta": [
        [_call("f", '{"a": ', id="c1", index=0)],
        [_call("g", "{", id="c2", index=0)],
        [_call("", '"\\ud83d\\ude00"}', id="c1", index=0)],
        [_call(None, "}", id="c2", index=0)],
    ],
    "name in every delta": [
        [_call("f", '{"a": ', id="c1", index=0)],
        [_call("f", '"\\ud83d\\ude00"}', index=0)],
        [_call("g", "{", id="c2", index=1)],
        [_call("g", "}", index=1)],
    ],
    "a new id in every delta": [
        [_call("f", '{"a": ', id="c1", index=0)],
        [_call(None, '"\\ud83d\\ude00"}', id="c9", index=0)],
        [_call("g", "{}", id="c2", index=1)],
    ],
    "extra content": [
        [_call("f", '{"a": "\\ud83d\\ude00"}', id="c1", extra_content={"google": {"x": "y"}})],
        [_call("g", "{}", id="c2", extra_content=None)],
    ],
}


@pytest.mark.parametrize("name", DELTAS)
def test_quirk_15_tool_calls_are_assembled_from_any_deltas(name: str) -> None:
    body = [event({"tool_calls": calls}) for calls in DELTAS[name]]
    last = ending(stream([streamed(*body, event({}, "stop"), DONE)]))
    assert last.tool_calls == TWO
    assert (last.finish_reason, last.raw_finish_reason) == ("tool_calls", "stop")


def test_quirk_15_calls_without_any_sign_go_by_their_order() -> None:
    body = [event({"tool_calls": [_call("f", "{}"), _call("f", "{}"), _call("g", "")]})]
    last = ending(stream([streamed(*body, DONE)]))
    assert [(call.name, call.arguments) for call in last.tool_calls] == [
        ("f", "{}"),
        ("f", "{}"),
        ("g", ""),
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [_call("f", '{"a":1}', id="c1", index=0)]},
        {"tool_calls": [_call("f", {"a": 1}, id="c1")]},
        {"tool_calls": _call("f", '{"a":1}', id="c1")},
        {"tool_calls": [{"id": "c1", "name": "f", "arguments": {"a": 1}}]},
        {
            "tool_calls": [
                {"id": "c1", "type": "custom", "custom": {"name": "f", "input": '{"a":1}'}}
            ]
        },
        {"tool_calls": [None, 7, {}, _call("f", '{"a":1}', id="c1")]},
    ],
)
def test_quirk_15_tool_calls_of_a_whole_answer_are_lifted(message: dict[str, Any]) -> None:
    response = complete([whole({"content": None, **message}, "stop")])
    assert response.tool_calls == (ToolCall("c1", "f", '{"a":1}'),)
    assert (response.text, response.finish_reason) == ("", "tool_calls")


def test_quirk_15_calls_of_a_whole_answer_stay_apart_though_all_are_number_0() -> None:
    calls = [_call("f", "{}", index=0), _call("f", "{}", index=0)]
    assert len(complete([whole({"tool_calls": calls})]).tool_calls) == 2


def test_quirk_15_the_function_call_of_old_is_a_tool_call() -> None:
    old = {"function_call": {"name": "f", "arguments": '{"a":1}'}}
    response = complete([whole({"content": None, **old}, "function_call")])
    assert response.tool_calls == (ToolCall("", "f", '{"a":1}'),)
    pieces = [event({"function_call": {"name": "f"}})]
    pieces += [event({"function_call": {"arguments": part}}) for part in ('{"a"', ":1}")]
    last = ending(stream([streamed(*pieces, event({}, "function_call"), DONE)]))
    assert last.tool_calls == response.tool_calls
    assert last.finish_reason == response.finish_reason == "tool_calls"


def test_quirk_16_a_stream_compressed_against_our_word_is_read_as_it_comes() -> None:
    packed = gzip.compress(b"".join(EVENTS) + DONE)
    pieces = itertools.chain.from_iterable((packed[i : i + 10], 0.0) for i in range(0, 9_999, 10))
    headers = SSE | {"content-encoding": "gzip"}
    assert said(stream([Reply(headers=headers, body=[p for p in pieces if p != b""])])) == TEXT


def test_quirk_16_a_whole_answer_compressed_against_our_word_is_read() -> None:
    packed = gzip.compress(json.dumps(chat_completion("inflated")).encode())
    reply = Reply(headers={"content-encoding": "gzip"}, body=packed)
    assert complete([reply]).text == "inflated"


@BOTH
def test_quirk_16_what_only_begins_like_gzip_is_a_bad_response(ask: Callable[..., Any]) -> None:
    with pytest.raises(BadResponseError):
        ask([Reply(headers=SSE if ask is stream else {}, body=b"\x1f\x8b\x08" + b"?" * 50)])


def test_quirk_17_silence_in_the_middle_ends_at_the_timeout_and_is_tried_again() -> None:
    error = error_of(
        lambda: stream([streamed(*EVENTS[:3], *silence())], timeout_s=0.3, deadline_s=30)
    )
    assert type(error) is DeadlineError
    assert "timeout_s=0.3" in str(error)
    assert error.retryable


def test_quirk_17_silence_after_a_whole_head_ends_at_the_timeout_too() -> None:
    reply = json_reply({}, body_delay_s=60.0)
    assert type(error_of(lambda: complete([reply], timeout_s=0.3))) is DeadlineError
