"""Ready-made replies for the faults of real endpoints: a client should survive each of them.

::

    with ScriptedEndpoint(rate_limited_burst(3, wait_s=0.2)) as endpoint:   # then it answers
        ...
    with ScriptedEndpoint([stream_without_end("half an ans")]) as endpoint:
        ...

A ``Reply`` is for one request, a list for as many, in order of arrival; ``echo`` answers the rest.
``BREAKDOWNS`` collects those that no client may take for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import orjson

from .replies import (
    Piece,
    Reply,
    chat_chunks,
    chat_completion,
    chat_reply,
    dripped,
    error_reply,
    json_reply,
    silence,
    sse_reply,
)

Hint = Literal["none", "retry-after", "retry-after-ms", "http-date", "openai", "anthropic", "text"]
"""How a 429 says when to come again: one of the header styles, only in its message, or not."""

# --- rate limits ---------------------------------------------------------------------------------


def rate_limited(wait_s: float = 1.0, hint: Hint = "retry-after") -> Reply:
    """One 429. ``retry-after`` and ``http-date`` are in whole seconds, as they are outside."""
    message = "Rate limit reached"
    if hint == "text":
        message += f". Please try again in {wait_s:g}s."
    return error_reply(429, message, "rate_limit_exceeded", headers=_hints(wait_s, hint))


def rate_limited_burst(times: int, wait_s: float = 1.0, hint: Hint = "retry-after") -> list[Reply]:
    """As many 429s, then answers."""
    return [rate_limited(wait_s, hint) for _ in range(times)]


def out_of_quota() -> Reply:
    """A 429 that no waiting will mend."""
    return error_reply(429, "You exceeded your current quota", "insufficient_quota")


def _hints(wait_s: float, hint: Hint) -> dict[str, str]:
    now = datetime.now(UTC)
    headers: dict[Hint, dict[str, str]] = {
        "retry-after": {"retry-after": f"{wait_s:.0f}"},
        "retry-after-ms": {"retry-after-ms": f"{wait_s * 1000:.0f}"},
        "http-date": {"retry-after": format_datetime(now + timedelta(seconds=wait_s), True)},
        "openai": {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": f"{wait_s * 1000:.0f}ms",
        },
        "anthropic": {
            "anthropic-ratelimit-requests-limit": "60",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": (now + timedelta(seconds=wait_s)).isoformat(),
        },
    }
    return headers.get(hint, {})


# --- slowness ------------------------------------------------------------------------------------


def slow_first_byte(delay_s: float, text: str = "At last.") -> Reply:
    return chat_reply(text, head_delay_s=delay_s)


def slow_stream(text: str, pause_s: float) -> Reply:
    """A chunk per word, with a pause after each."""
    return sse_reply(chat_chunks(text), pause_s=pause_s)


def dripped_reply(text: str, every_s: float) -> Reply:
    """A byte at a time: no wait for a single byte is long, and all of them together are."""
    headers = {"content-type": "application/json"}
    return Reply(headers=headers, body=dripped(orjson.dumps(chat_completion(text)), every_s))


def blank_lines_first(text: str, times: int = 3, pause_s: float = 0.0) -> Reply:
    """DeepSeek keeps a connection alive so, before the JSON of an answer."""

    def pieces() -> Iterator[Piece]:
        for _ in range(times):
            yield b"\n"
            yield pause_s
        yield orjson.dumps(chat_completion(text))

    return Reply(headers={"content-type": "application/json"}, body=pieces())


def stalled_stream(text: str, after: int = 3) -> Reply:
    """So many chunks, and then nothing more, with the connection open."""

    def pieces() -> Iterator[Piece]:
        yield from _pieces(sse_reply(chat_chunks(text)[:after], done=False))
        yield from silence()

    return _stream(pieces())


# --- streams that are odd, and answers nevertheless ----------------------------------------------


def stream_without_done(text: str) -> Reply:
    """``transformers serve`` ends so: a finish reason with the usage beside it, no ``[DONE]``."""
    *chunks, finish, usage = chat_chunks(text)
    return sse_reply([*chunks, {**finish, "usage": usage["usage"]}], done=False)


def stream_with_comments(text: str, pause_s: float = 0.0) -> Reply:
    """Keep-alive comments first and between the chunks, one of them wrapped in ``data:``."""

    def pieces() -> Iterator[Piece]:
        yield b": OPENROUTER PROCESSING\n\n"
        yield pause_s
        for piece in _pieces(sse_reply(chat_chunks(text))):
            yield b": keep-alive\n\ndata: : keep-alive\n\n"
            yield piece

    return _stream(pieces())


def stream_with_role_first(text: str, wait_s: float) -> Reply:
    """The role at once, the first token much later: the role must not pass for it."""

    def pieces() -> Iterator[Piece]:
        role, *rest = _pieces(sse_reply(chat_chunks(text)))
        yield role
        yield wait_s
        yield from rest

    return _stream(pieces())


def stream_left_open(text: str) -> Reply:
    """A whole stream, ``[DONE]`` and all, whose connection stays open."""
    return _stream([*_pieces(sse_reply(chat_chunks(text))), *silence()])


# --- streams that break --------------------------------------------------------------------------


def stream_cut_mid_event(text: str) -> Reply:
    """The connection ends inside an event."""
    body = _begun(text)
    return _stream([body], cut_after=len(body) - 20)


def stream_without_end(text: str) -> Reply:
    """A clean end of the body, with neither a finish reason nor ``[DONE]`` before it."""
    return sse_reply(chat_chunks(text)[:-2], done=False)


def stream_with_error(text: str, message: str = "the engine died", code: int = 500) -> Reply:
    """An error in place of the rest: the status had been sent."""
    error = {"error": {"message": message, "type": "server_error", "code": code}}
    return sse_reply([*chat_chunks(text)[:3], error], done=False)


def stream_reset(text: str) -> Reply:
    """The connection is reset inside the stream."""
    body = _begun(text)
    return _stream([body, 0.02, b"data: "], cut_after=len(body) + 1, reset=True)


# --- dropped sockets -----------------------------------------------------------------------------


def dropped_before_headers() -> Reply:
    return Reply(raw=b"")


def reset_before_headers() -> Reply:
    return Reply(raw=b"", reset=True)


def dropped_mid_headers() -> Reply:
    return Reply(raw=b"HTTP/1.1 200 OK\r\ncontent-type: appl")


def dropped_mid_body(text: str = "half of this") -> Reply:
    return chat_reply(text, cut_after=100)


def reset_mid_body(text: str = "half of this") -> Reply:
    return chat_reply(text, cut_after=100, reset=True)


# --- what is no answer ---------------------------------------------------------------------------


def html_error(status: int = 502) -> Reply:
    """What a proxy says of a server that it cannot reach."""
    page = f"<html><head><title>{status}</title></head><body>nginx</body></html>"
    return Reply(status=status, headers={"content-type": "text/html"}, body=page.encode())


def html_success() -> Reply:
    """A sign-in page, as a 200."""
    return Reply(
        headers={"content-type": "text/html"}, body=b"<!doctype html><title>Sign in</title>"
    )


def broken_json(text: str = "half of this") -> Reply:
    """A whole body of half a document."""
    document = orjson.dumps(chat_completion(text))
    return Reply(headers={"content-type": "application/json"}, body=document[:-40])


def redirect(location: str, status: int = 307) -> Reply:
    return Reply(status=status, headers={"location": location})


def wrong_types(**fields: Any) -> Reply:
    """A completion with these fields in place of its own: ``choices="none"``, ``usage=[]``."""
    return json_reply({**chat_completion("whatever"), **fields})


BREAKDOWNS: Mapping[str, Callable[[], Reply]] = {
    "stream cut in an event": lambda: stream_cut_mid_event("a b c d"),
    "stream without an end": lambda: stream_without_end("a b c d"),
    "stream with an error": lambda: stream_with_error("a b c d"),
    "stream reset": lambda: stream_reset("a b c d"),
    "stream stalled": lambda: stalled_stream("a b c d"),
    "dropped before headers": dropped_before_headers,
    "reset before headers": reset_before_headers,
    "dropped in headers": dropped_mid_headers,
    "dropped in the body": dropped_mid_body,
    "reset in the body": reset_mid_body,
    "html error": html_error,
    "html success": html_success,
    "broken json": broken_json,
    "choices of the wrong type": lambda: wrong_types(choices="none"),
    "error of the wrong type": lambda: json_reply({"error": True}),
    "nothing": lambda: Reply(headers={"content-type": "application/json"}),
    "dripped": lambda: dripped_reply("a b c d", every_s=0.2),
    "silent": lambda: Reply(head_delay_s=3600.0),
}
"""By name: each must end as a retryable ``ProviderError``, streamed or not, and never in text that
passes for the whole answer. Ask them with a deadline: some go on for ever."""


def _begun(text: str) -> bytes:
    """The first three chunks of a stream."""
    pieces = _pieces(sse_reply(chat_chunks(text)[:3], done=False))
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def _pieces(reply: Reply) -> list[Piece]:
    assert not isinstance(reply.body, bytes)
    return list(reply.body)


def _stream(pieces: Any, **options: Any) -> Reply:
    return Reply(headers={"content-type": "text/event-stream"}, body=pieces, **options)
