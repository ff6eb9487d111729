"""One response, cut, shortened and broken in every way: it is read right, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malformed_responses import MALFORMED
from providers.transport.response_reader import MalformedResponse, ResponseReader

BODY = b'{"choices": [{"message": {"content": "hi\r\n\r\n0\r\n\r\n"}}]}'


def in_chunks(body: bytes, *sizes: int, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    chunks = []
    for size in sizes:
        chunk, body = body[:size], body[size:]
        chunks.append(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk))
    return b"".join([*chunks, b"%X\r\n%b\r\n" % (len(body), body), b"0\r\n", trailers, b"\r\n"])


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
WITH_LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
BOUNDED = {
    "a length": WITH_LENGTH,
    "a length said twice": WITH_LENGTH.replace(
        b"\r\n", b"\r\nContent-Length:%d\r\n" % len(BODY), 1
    ),
    "chunks": CHUNKED + in_chunks(BODY, 1, 17),
    "chunks with extensions": CHUNKED + in_chunks(BODY, 3, 3, extension=b' \t;a="b";c'),
    "chunks and trailers": CHUNKED + in_chunks(BODY, 5, trailers=b"a: b\r\nc:\r\n"),
    "after interim responses": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\na: b\r\n\r\n"
    + WITH_LENGTH,
    "no reason": WITH_LENGTH.replace(b" OK", b""),
    "bytes that are no text": WITH_LENGTH.replace(b"OK", b"\xff\xfe"),
}
TO_THE_END = {
    "no length": b"HTTP/1.1 200 OK\r\na: b\r\n\r\n" + BODY,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
}


def read(*pieces: bytes) -> ResponseReader:
    reader = ResponseReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(data) for place in places} - {0})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@pytest.mark.parametrize("data", BOUNDED.values(), ids=BOUNDED)
@settings(max_examples=50)
@given(places=st.lists(st.integers(0, 10_000), max_size=30))
def test_any_cut_gives_the_same_response(data: bytes, places: list[int]) -> None:
    reader = read(*cut(data, places))
    assert (reader.status, reader.body) == (200, BODY)
    assert reader.is_complete
    assert reader.can_go_on


@pytest.mark.parametrize("data", [*BOUNDED.values(), *TO_THE_END.values()])
def test_byte_by_byte_is_read_as_well(data: bytes) -> None:
    reader = read(*(data[i : i + 1] for i in range(len(data))))
    reader.end()
    assert (reader.is_complete, reader.body) == (True, BODY)


@pytest.mark.parametrize("data", BOUNDED.values(), ids=BOUNDED)
def test_no_shortened_response_is_complete(data: bytes) -> None:
    for end in range(len(data)):
        reader = read(data[:end])
        reader.end()
        assert not reader.is_complete


@pytest.mark.parametrize("data", BOUNDED.values(), ids=BOUNDED)
@pytest.mark.parametrize("surplus", [b"H", b"\r\n", WITH_LENGTH])
def test_surplus_changes_no_answer_and_ends_the_connection(data: bytes, surplus: bytes) -> None:
    for pieces in ([data + surplus], [data, surplus]):
        reader = read(*pieces)
        assert reader.body == BODY
        assert not reader.can_go_on


@pytest.mark.parametrize("data", TO_THE_END.values(), ids=TO_THE_END)
def test_body_without_a_length_ends_with_the_connection(data: bytes) -> None:
    reader = read(data)
    assert not reader.is_complete
    reader.end()
    assert (reader.is_complete, reader.can_go_on, reader.body) == (True, False, BODY)


@pytest.mark.parametrize(
    ("status", "head", "goes_on"),
    [
        (204, b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (304, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", True),
        (200, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
        (200, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: x, Close\r\n\r\n", False),
        (200, b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\nConnection: keep-alive\r\n\r\n", False),
        (200, CHUNKED + b"0\r\n\r\n", True),
    ],
)
def test_response_without_a_body(status: int, head: bytes, goes_on: bool) -> None:
    reader = read(head)
    assert (reader.status, reader.body) == (status, b"")
    assert (reader.is_complete, reader.can_go_on) == (True, goes_on)


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
@settings(max_examples=10)
@given(places=st.lists(st.integers(0, 100_000), max_size=8))
def test_malformed_response_is_refused_however_it_is_cut(data: bytes, places: list[int]) -> None:
    with pytest.raises(MalformedResponse):
        read(*cut(data, places))


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_no_bytes_whatever_break_it(noise: bytes, places: list[int]) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"5\r\nhello\r\n"):
        reader = ResponseReader()
        try:
            for piece in cut(start + noise + b"\n", places):
                reader.feed(piece)
        except MalformedResponse:
            continue


def test_headers_are_found_by_their_name_and_come_as_they_were_sent() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A:  Bee \r\nx-b: \xff\r\nx-a: late\r\nx-c:\r\n\r\n"
    reader = read(head)
    names = ("x-a", "x-b", "x-c", "x-d", "a")
    assert [reader.header(name) for name in names] == ["Bee", None, "", None, None]


def test_many_small_chunks_are_read_in_linear_time() -> None:
    body = b"x" * 50_000
    reader = read(CHUNKED + in_chunks(body, *[1] * len(body)))
    assert reader.body == body
