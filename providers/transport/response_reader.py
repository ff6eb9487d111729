"""One HTTP/1.1 response out of bytes, however they are cut. It knows no sockets.

Strict, because a lenient reader can be made to see the end of a body in another place than the
server does, and would then take the rest for the answer to the next request (response smuggling):
two lengths, a length that is no number, folded lines, a bare LF or a NUL are refused, not guessed
at. https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_HEAD_BYTES = 64 * 1024
MAX_HEAD_LINES = 256
MAX_CHUNK_LINE_BYTES = 1024

_FIELDS = rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)*+"
_HEAD = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t -~\x80-\xff]*+)?\r\n" + _FIELDS)
_TRAILERS = re.compile(_FIELDS)
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding|connection):([^\r]*+)")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,12})[\t ]*+(?:;[\t -~\x80-\xff]*+)?")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_VERSION = b"HTTP/1."


class MalformedResponse(Exception):
    """The server does not speak HTTP/1.1 as it should; the text says where."""


class ResponseReader:
    """Feed it; ``pieces`` collects the body. ``num_head_bytes`` counts interim responses too.

    When it ``is_complete`` the connection ``can_go_on`` unless the server wants to end it, or has
    sent more than it was asked for.
    """

    __slots__ = (
        "_head",
        "_held",
        "_left",
        "_lower_head",
        "_step",
        "can_go_on",
        "has_head",
        "is_complete",
        "num_body_bytes",
        "num_head_bytes",
        "pieces",
        "status",
    )

    def __init__(self) -> None:
        self.status = 0
        self.has_head = False
        self.is_complete = False
        self.can_go_on = True
        self.pieces: list[bytes] = []
        self.num_body_bytes = 0
        self.num_head_bytes = 0
        self._head = self._lower_head = b""
        self._held = b""  # the beginning of what is not whole yet: a head, a line
        self._left = 0  # bytes of the body, or of a chunk, that are to come
        # A function and not a bound method: that would be a cycle, and work for the collector.
        self._step: Callable[[ResponseReader, bytes], bytes] = ResponseReader._read_head

    def feed(self, data: bytes) -> None:
        """Read on. Raises ``MalformedResponse``."""
        while data and not self.is_complete:
            data = self._step(self, data)
        if data:
            self.can_go_on = False

    def end(self) -> None:
        """The connection has ended in order, which may be how the body ends, too."""
        self.can_go_on = False
        if self._step is ResponseReader._read_to_end:
            self.is_complete = True

    def header(self, name: str) -> str | None:
        """The first header of that name, which is in lower case, if it is ASCII."""
        mark = f"\r\n{name}:".encode()
        at = self._lower_head.find(mark)
        if at < 0:
            return None
        start = at + len(mark)
        value = self._head[start : self._head.index(b"\r\n", start)]
        return value.decode().strip() if value.isascii() else None

    @property
    def body(self) -> bytes:
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    # --- the head

    def _read_head(self, data: bytes) -> bytes:
        num_searched = max(len(self._held) - 3, 0)
        data = self._held + data
        end = data.find(b"\r\n\r\n", num_searched)
        if end < 0:
            self._check_start(data, num_searched)
            self._held = data
            return b""
        self._held = b""
        self._head = data[: end + 2]
        self.num_head_bytes += end + 4
        found = _HEAD.fullmatch(self._head)
        if (
            found is None
            or self.num_head_bytes > MAX_HEAD_BYTES
            or self._head.count(b"\n") > MAX_HEAD_LINES
        ):
            raise MalformedResponse("invalid head")
        self.status = int(found[2])
        if 100 <= self.status < 200:
            if self.status == 101:
                raise MalformedResponse("a switch of protocols that nobody asked for")
        else:
            self.has_head = True
            self._frame(is_http_10=found[1] == b"0")
        return data[end + 4 :]

    def _check_start(self, data: bytes, num_searched: int) -> None:
        """Refuse what cannot become a head, so that nobody waits for its end."""
        if data[:7] != _VERSION[: len(data)]:
            raise MalformedResponse("invalid HTTP version")
        if self.num_head_bytes + len(data) > MAX_HEAD_BYTES:
            raise MalformedResponse("too large a head")
        if _BARE_LF.search(data, num_searched):
            raise MalformedResponse("a line that ends in LF alone")

    def _frame(self, *, is_http_10: bool) -> None:
        """Where the body ends: RFC 9112, section 6.3, without its lenient parts."""
        length, is_chunked = self._read_framing()
        if is_chunked and (length is not None or is_http_10):
            raise MalformedResponse("a transfer-encoding where none can be")
        if is_http_10:
            self.can_go_on = False
        if self.status in (204, 304) or length == 0:
            self.is_complete = True
        elif is_chunked:
            self._step = ResponseReader._read_chunks
        elif length is not None:
            self._left = length
            self._step = ResponseReader._read_length
        else:
            self.can_go_on = False
            self._step = ResponseReader._read_to_end

    def _read_framing(self) -> tuple[int | None, bool]:
        """The length and whether the body is chunked; two headers that agree count as one."""
        self._lower_head = self._head.lower()
        lengths, codings = set(), []
        for name, value in _FRAMING.findall(self._lower_head):
            value = value.strip(b" \t")
            if name == b"content-length":
                lengths.add(value)
            elif name == b"transfer-encoding":
                codings.append(value)
            elif b"close" in [option.strip(b" \t") for option in value.split(b",")]:
                self.can_go_on = False
        if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise MalformedResponse("invalid content-length")
        if codings not in ([], [b"chunked"]):
            raise MalformedResponse("invalid transfer-encoding")
        return (int(lengths.pop()) if lengths else None), bool(codings)

    # --- the body

    def _take(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.num_body_bytes += len(piece)

    def _read_to_end(self, data: bytes) -> bytes:
        self._take(data)
        return b""

    def _read_length(self, data: bytes) -> bytes:
        rest = b""
        if len(data) > self._left:
            data, rest = data[: self._left], data[self._left :]
        self._take(data)
        self._left -= len(data)
        self.is_complete = not self._left
        return rest

    def _read_chunks(self, data: bytes) -> bytes:
        """Walks by position: to cut the rest off at each chunk would be quadratic."""
        data, self._held = self._held + data, b""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                piece = data[at : at + self._left]
                self._take(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            starts_at = at
            if self.num_body_bytes:  # the CR LF that ends the chunk before
                if data[at : at + 2] != b"\r\n"[: size - at]:
                    raise MalformedResponse("a chunk longer than its size")
                at += 2
            end = data.find(b"\r\n", at)
            if end < 0 or end - at > MAX_CHUNK_LINE_BYTES:
                if size - at > MAX_CHUNK_LINE_BYTES or b"\n" in data[at:]:
                    raise MalformedResponse("invalid chunk size")
                self._held = data[starts_at:]
                return b""
            found = _CHUNK_LINE.fullmatch(data, at, end)
            if found is None:
                raise MalformedResponse("invalid chunk size")
            self._left = int(found[1], 16)
            at = end + 2
            if not self._left:
                self._step = ResponseReader._read_trailers
                self._held = b"\r\n"  # so that no trailers look like the end of some
                break
        return data[at:]

    def _read_trailers(self, data: bytes) -> bytes:
        """Checked, and dropped: no header of ours comes late."""
        num_searched = max(len(self._held) - 3, 0)
        data = self._held + data
        end = data.find(b"\r\n\r\n", num_searched)
        if end < 0:
            if len(data) > MAX_HEAD_BYTES or _BARE_LF.search(data, num_searched):
                raise MalformedResponse("invalid trailers")
            self._held = data
            return b""
        if end > MAX_HEAD_BYTES or not _TRAILERS.fullmatch(data, 2, end + 2):
            raise MalformedResponse("invalid trailers")
        self.is_complete = True
        return data[end + 4 :]
