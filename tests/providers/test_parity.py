"""The SDK's provider and the fast one make the same of the same bytes.

Neither is right by itself: where they differ, one of them is looked at. What is left of differences
stands in the tables below, each with its reason.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bodies import BODIES
from one_request import REQUEST, endpoint_at
from providers.openai_compatible import OpenAICompatibleProvider
from providers.openai_sdk import OpenAISdkProvider
from weave_async.errors import ProviderError
from weave_async.interfaces import Provider
from weave_async.records import Chunk, Response
from weave_async.testing.scripted_endpoint import (
    Reply,
    ScriptedEndpoint,
    chat_chunks,
    chat_completion,
    error_reply,
    json_reply,
    sse_reply,
)
from wire_shapes import ANY_JSON, event

Ending = Response | list[Chunk] | tuple[Any, ...]
Ask = Callable[[Provider], Any]

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}


async def whole(provider: Provider) -> Response:
    return replace(await provider.complete(REQUEST), e2e_s=None)


async def streamed(provider: Provider) -> list[Chunk]:
    return [chunk async for chunk in provider.stream(REQUEST)]


async def ending(ask: Ask, provider: Provider) -> Ending:
    try:
        return await ask(provider)  # type: ignore[no-any-return]
    except ProviderError as error:
        kind = type(error)
        return kind, error.status_code, error.retry_after_s, error.may_be_billed


def endings(provider_class: type[Provider], replies: Sequence[Reply], ask: Ask) -> list[Ending]:
    async def scenario() -> list[Ending]:
        async with provider_class(endpoint_at(server.base_url, timeout_s=5)) as provider:
            return [await ending(ask, provider) for _ in replies]

    with ScriptedEndpoint(replies) as server:
        ended = asyncio.run(scenario())
    assert len(server.requests) == len(replies)
    return ended


def differing(replies: Mapping[str, Reply], ask: Ask) -> dict[str, tuple[Ending, Ending]]:
    ours = endings(OpenAICompatibleProvider, list(replies.values()), ask)
    theirs = endings(OpenAISdkProvider, list(replies.values()), ask)
    pairs = zip(replies, zip(ours, theirs, strict=True), strict=True)
    return {name: pair for name, pair in pairs if pair[0] != pair[1]}


WHOLE_DIFFERS = {
    "utf-16": "the SDK reads any encoding that JSON ever had; an endpoint that sends it is broken",
}
EVENT_DIFFERS = {
    "byte order mark": "the SDK looks for none inside of an event",
    "bad utf-8": "the SDK refuses the line, and what came before it is lost with it",
}
STREAM_DIFFERS = {
    "byte order mark": "the SDK drops the first event of such a stream without a word",
    "no blank line at the end": "the SDK drops an event that nothing ends, and with it the finish",
    "comment as data": "the SDK takes it for JSON, and stops",
    "empty data": "as above",
    "done in the middle of a line": "the SDK stops at any event that begins with [DONE]",
}


def sse(*parts: bytes, **options: Any) -> Reply:
    return Reply(headers=SSE, body=list(parts), **options)


def said(*texts: str) -> list[bytes]:
    return [event({"content": text}) for text in texts]


DONE = b"data: [DONE]\n\n"
END = event({}, "stop")
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
CALL = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":'}}
HELLO = b"".join([*said("hel", "lo"), END, DONE])

STREAMS: Mapping[str, Reply] = {
    "as OpenAI sends it": sse_reply(chat_chunks("a b c")),
    "byte by byte": sse(*(HELLO[i : i + 1] for i in range(len(HELLO)))),
    "all in one read": sse(HELLO),
    "without a content type": Reply(body=[HELLO]),
    "comments": sse(b": OPENROUTER PROCESSING\n\n", *said("hi"), b": keep-alive\n\n", END, DONE),
    "comment as data": sse(b"data: : keepalive\n\n", *said("hi"), END, DONE),
    "empty data": sse(b"data:\n\n", *said("hi"), END, DONE),
    "no space after the colon": sse(HELLO.replace(b"data: ", b"data:")),
    "CRLF": sse(HELLO.replace(b"\n", b"\r\n")),
    "CR": sse(HELLO.replace(b"\n", b"\r")),
    "named events": sse(HELLO.replace(b"data:", b"event: message\nid: 7\nretry: 1\ndata:")),
    "byte order mark": sse(b"\xef\xbb\xbf" + HELLO),
    "data in two lines": sse(HELLO.replace(b', "', b',\ndata: "')),
    "no DONE": sse(*said("hi"), END),
    "no blank line at the end": sse(*said("hi"), END.rstrip()),
    "no finish, but DONE": sse(*said("hi"), DONE),
    "neither finish nor DONE": sse(*said("hi")),
    "nothing": sse(),
    "DONE, and the socket stays open": Reply(headers=SSE, body=[HELLO, 60.0]),
    "only DONE": sse(DONE),
    "done in the middle of a line": sse(*said("hi"), b"data: [DONE] and more\n\n", END, DONE),
    "DONE in the text": sse(*said("data: [DONE]", "\ndata: [DONE]")),
    "role first": sse(event({"role": "assistant", "content": ""}), *said("hi"), END, DONE),
    "nulls": sse(
        event({"role": None, "content": None, "tool_calls": None}), *said("hi"), END, DONE
    ),
    "no choices first, usage last": sse(
        b'data: {"choices": [], "prompt_filter_results": []}\n\n',
        *said("hi"),
        END,
        b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n",
        DONE,
    ),
    "usage in the finish": sse(*said("hi"), event({}, "length", usage=USAGE)),
    "usage in every chunk": sse(
        event({"content": "a"}, usage={"prompt_tokens": 3}), event({}, "stop", usage=USAGE), DONE
    ),
    "reasoning_content": sse(event({"reasoning_content": "hm"}), *said("hi"), END, DONE),
    "reasoning": sse(event({"reasoning": "hm"}), *said("hi"), END, DONE),
    "think tags, cut": sse(*said("<th", "ink>h", "m</thi", "nk>\n\nhi"), END, DONE),
    "blocks": sse(event({"content": [{"type": "text", "text": "hi"}]}), END, DONE),
    "surrogates in two chunks": sse(*said("\ud83d", "\ude00"), END, DONE),
    "lone surrogate": sse(*said("a\ud83d"), END, DONE),
    "tool call in deltas": sse(
        event({"tool_calls": [CALL]}),
        event({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        event({}, "tool_calls"),
        DONE,
    ),
    "tool call without index, and stop": sse(
        event({"tool_calls": [{k: v for k, v in CALL.items() if k != "index"}]}, "stop"), DONE
    ),
    "refusal": sse(event({"refusal": "no"}), END, DONE),
    "filtered": sse(event({"content": "a"}), event({}, "content_filter"), DONE),
    "foreign finish": sse(event({"content": "a"}, "eos_token"), DONE),
    "broken down": sse(*said("a"), event({}, "insufficient_system_resource"), DONE),
    "error in the middle": sse(
        *said("a"), b'data: {"error": {"message": "slow down", "code": 429}}\n\n', DONE
    ),
    "error of an old vllm": sse(
        b'data: {"object": "error", "message": "no", "code": 404}\n\n', DONE
    ),
    "error as text": sse(b'data: {"error": "out of memory"}\n\n', DONE),
    "error as a named event": sse(b'event: error\ndata: {"error": {"code": 503}}\n\n', DONE),
    "half an event": sse(*said("a"), b'data: {"choices"\n\n', END, DONE),
    "an event of text": sse(*said("a"), b"data: hello\n\n", END, DONE),
    "an event of a number": sse(b"data: 7\n\n", *said("a"), END, DONE),
    "plain completions": sse(
        b'data: {"choices": [{"text": "hi", "finish_reason": "stop"}]}\n\n', DONE
    ),
    "cut after the finish": sse(*said("hi"), END, b": more\n\n", cut_after=110, reset=True),
    "cut": sse(*said("hi"), END, cut_after=30),
    "reset": sse(*said("hi"), 0.02, *said("ho"), cut_after=90, reset=True),  # type: ignore[arg-type]
    "whole, where a stream was asked for": json_reply(chat_completion("all at once")),
    "html": Reply(headers={"content-type": "text/html"}, body=b"<html><title>Hi</title>"),
}

REFUSALS: Mapping[str, Reply] = {
    **{f"{status}": error_reply(status) for status in (400, 401, 402, 403, 404, 409, 413, 422)},
    **{f"{status}": error_reply(status) for status in (429, 500, 502, 503, 504, 529, 599)},
    **{f"{status} without a word": Reply(status=status) for status in (204, 304, 404, 500, 503)},
    "no quota": error_reply(429, code="insufficient_quota"),
    "too long": error_reply(400, code="context_length_exceeded"),
    "filtered": error_reply(400, code="content_filter"),
    "retry-after": error_reply(429, headers={"retry-after": "7"}),
    "retry-after-ms": error_reply(429, headers={"retry-after-ms": "250"}),
    "wait in the text": error_reply(429, "Please try again in 5.289s"),
    "should not be retried": error_reply(500, headers={"x-should-retry": "false"}),
    "a redirect": Reply(status=307, headers={"location": "http://127.0.0.1:9/v1"}),
    "a page": Reply(status=502, headers={"content-type": "text/html"}, body=b"<html>Bad"),
    "a field": error_reply(400, "Unsupported parameter: 'seed'", "unsupported_parameter"),
    "FastAPI": json_reply({"detail": [{"msg": "bad"}]}, 422),
    "an endless error": Reply(status=500, body=b"x" * 200_000),
    "limits": json_reply(
        chat_completion("hi"),
        headers={"x-ratelimit-limit-requests": "60", "x-ratelimit-reset-requests": "1s"},
    ),
    "header that is no text": Reply(
        # A raw reply hangs up; unannounced, the next request may go out on this connection.
        raw=b"HTTP/1.1 429 X\r\nretry-after: \xff7\r\n"
        b"connection: close\r\ncontent-length: 0\r\n\r\n"
    ),
    "hung up": Reply(raw=b""),
    "garbage": Reply(raw=b"\x00garbage\r\n\r\n"),
    "cut short": Reply(body=b'{"choices"', content_length=500),
}


@pytest.mark.parametrize("ask", [whole, streamed])
def test_bodies_come_to_the_same(ask: Ask) -> None:
    replies = {name: Reply(headers=JSON, body=body) for name, (body, _) in BODIES.items()}
    reasons = WHOLE_DIFFERS if ask is whole else {}
    assert set(differing(replies, ask)) == set(reasons)


def test_bodies_as_events_come_to_the_same() -> None:
    lines = {name: body.replace(b"\n", b"\ndata: ") for name, (body, _) in BODIES.items()}
    replies = {name: sse(b"data: " + line + b"\n\n", DONE) for name, line in lines.items()}
    assert set(differing(replies, streamed)) == set(EVENT_DIFFERS)


def test_streams_come_to_the_same() -> None:
    assert set(differing(STREAMS, streamed)) == set(STREAM_DIFFERS)


@pytest.mark.parametrize("ask", [whole, streamed])
def test_refusals_and_faults_come_to_the_same(ask: Ask) -> None:
    assert differing(REFUSALS, ask) == {}


# --- whatever an endpoint might say

WORDS = st.text(max_size=12) | st.sampled_from(["<think>a</think>b", "\ud83d", "", "data: [DONE]"])
USAGES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": st.integers(-1, 2**54) | st.none(),
        "completion_tokens": st.integers(0, 9) | st.text(max_size=3),
        "completion_tokens_details": st.none() | st.dictionaries(st.text(max_size=3), ANY_JSON),
    },
)
CALLS = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({}, optional={"name": WORDS, "arguments": WORDS})},
    optional={"id": WORDS | st.none(), "index": st.integers(0, 2), "type": st.just("function")},
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant") | st.none(),
        "content": WORDS | st.none() | st.just([{"type": "text", "text": "a"}]),
        "reasoning_content": WORDS | st.none(),
        "refusal": st.none() | WORDS,
        "tool_calls": st.none() | st.lists(CALLS, max_size=2),
    },
)
REASONS = st.sampled_from(["stop", "length", "eos", "error", "tool_calls", "odd", "", None, 7])


def documents(said: str) -> st.SearchStrategy[dict[str, Any]]:
    choice = st.fixed_dictionaries({said: MESSAGES}, optional={"finish_reason": REASONS})
    return st.fixed_dictionaries(
        {"choices": st.lists(choice, max_size=2)},
        optional={"usage": USAGES, "model": WORDS | st.none(), "error": st.none() | ANY_JSON},
    )


many_at_once = settings(  # an example is many answers, too many to be made smaller one by one
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@many_at_once
@given(st.lists(documents("message") | ANY_JSON, min_size=10, max_size=30))
def test_plausible_answers_come_to_the_same(answers: list[Any]) -> None:
    bodies = {f"{i}": json.dumps(answer).encode() for i, answer in enumerate(answers)}
    replies = {name: Reply(headers=JSON, body=body) for name, body in bodies.items()}
    assert differing(replies, whole) == {}


@many_at_once
@given(st.lists(st.lists(documents("delta"), max_size=5), min_size=5, max_size=20), st.booleans())
def test_plausible_streams_come_to_the_same(streams: list[list[Any]], done: bool) -> None:
    pieces = [[b"data: " + json.dumps(e).encode() + b"\n\n" for e in events] for events in streams]
    end = DONE if done else END
    replies = {f"{i}": sse(*parts, end) for i, parts in enumerate(pieces)}
    assert differing(replies, streamed) == {}
