"""Server-sent events, however the stream is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.sse import EventDecoder
from weave_async.errors import (
    ResponseTooLargeError,
)

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
