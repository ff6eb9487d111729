"""Responses that a strict reader of HTTP/1.1 refuses, each for a reason of its own."""

from __future__ import annotations

from collections.abc import Mapping


def _with(header: bytes, body: bytes = b"hello") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (header, body)


def _chunks(body: bytes) -> bytes:
    return _with(b"transfer-encoding: chunked", body)


MALFORMED: Mapping[str, bytes] = {
    # the status line
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "garbage": b"\x00garbage\r\n\r\n",
    "a TLS alert": bytes.fromhex("15030300020228"),
    "html": b"<html><body>It works!</body></html>",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of nought": b"HTTP/1.1 000 OK\r\n\r\n",
    "a status in words": b"HTTP/1.1 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\n\r\n",
    "protocols switched": b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\n\r\n",
    # lines
    "LF alone": b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    "LF alone in a header": _with(b"a: b\ncontent-length: 5"),
    "CR alone in a header": _with(b"a: b\rcontent-length: 5"),
    "NUL in a value": _with(b"a: b\x00c"),
    "DEL in a value": _with(b"a: b\x7fc"),
    "escape in a value": _with(b"a: \x1b[2J"),
    "a folded line": _with(b"content-length: 5\r\n 5"),
    "a line folded by a tab": _with(b"a: b\r\n\tc"),
    "no colon": _with(b"content-length 5"),
    "no name": _with(b": 5"),
    "a space before the colon": _with(b"content-length : 5"),
    "a space in the name": _with(b"content length: 5"),
    "a name that is not ASCII": _with("länge: 5".encode()),
    "a header of 100 kB": _with(b"a: " + b"b" * 100_000),
    "a head of 100 kB": _with(b"\r\n".join([b"a: " + b"b" * 1_000] * 100)),
    "300 headers": _with(b"\r\n".join([b"a: b"] * 300)),
    "interim responses without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 3_000,
    # lengths
    "a negative length": _with(b"content-length: -5"),
    "a length with a sign": _with(b"content-length: +5"),
    "a length in hex": _with(b"content-length: 0x5"),
    "a length with a point": _with(b"content-length: 5.0"),
    "a length with an underscore": _with(b"content-length: 1_0"),
    "a length of blanks": _with(b"content-length: "),
    "a length of 30 digits": _with(b"content-length: " + b"5" * 30),
    "a length in Arabic digits": _with("content-length: ٥".encode()),
    "two lengths": _with(b"content-length: 5\r\ncontent-length: 6"),
    "two lengths that are worth the same": _with(b"content-length: 5\r\ncontent-length: 05"),
    "two lengths in a line": _with(b"content-length: 5, 6"),
    "one length twice in a line": _with(b"content-length: 5, 5"),
    "a length and chunks": _with(b"content-length: 5\r\ntransfer-encoding: chunked", b"0\r\n\r\n"),
    "a length of nought and chunks": _with(
        b"transfer-encoding: chunked\r\ncontent-length: 0", b"5\r\nhello\r\n0\r\n\r\n"
    ),
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": _with(b"transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
    "chunked not last": _with(b"transfer-encoding: chunked, identity"),
    "compressed and chunked": _with(b"transfer-encoding: gzip, chunked"),
    "a coding nobody knows": _with(b"transfer-encoding: xchunked"),
    "a quoted coding": _with(b'transfer-encoding: "chunked"'),
    "chunked after a vertical tab": _with(b"transfer-encoding: \x0bchunked"),
    # chunks
    "a size that is no number": _chunks(b"zz\r\nhello\r\n0\r\n\r\n"),
    "no size": _chunks(b"\r\nhello\r\n0\r\n\r\n"),
    "a negative size": _chunks(b"-5\r\nhello\r\n0\r\n\r\n"),
    "a size with a sign": _chunks(b"+5\r\nhello\r\n0\r\n\r\n"),
    "a size with 0x": _chunks(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a size with an underscore": _chunks(b"0_5\r\nhello\r\n0\r\n\r\n"),
    "a size after a blank": _chunks(b" 5\r\nhello\r\n0\r\n\r\n"),
    "a size of 2**64": _chunks(b"10000000000000000\r\nhello\r\n0\r\n\r\n"),
    "a size that ends in LF alone": _chunks(b"5\nhello\r\n0\r\n\r\n"),
    "a size that ends in CR alone": _chunks(b"5\rhello\r\n0\r\n\r\n"),
    "NUL in a chunk extension": _chunks(b"5;a=\x00\r\nhello\r\n0\r\n\r\n"),
    "a chunk extension of 10 kB": _chunks(b"5;" + b"a" * 10_000 + b"\r\nhello\r\n0\r\n\r\n"),
    "a chunk longer than its size": _chunks(b"4\r\nhello\r\n0\r\n\r\n"),
    "a chunk shorter than its size": _chunks(b"6\r\nhello\r\n0\r\n\r\n"),
    "a chunk that ends in LF alone": _chunks(b"5\r\nhello\n0\r\n\r\n"),
    "trailers without a colon": _chunks(b"0\r\nhello\r\n\r\n"),
    "trailers folded": _chunks(b"0\r\na: b\r\n c\r\n\r\n"),
    "trailers of LF alone": _chunks(b"0\r\na: b\n\r\n"),
    "trailers of 100 kB": _chunks(b"0\r\na: " + b"b" * 100_000 + b"\r\n\r\n"),
}
