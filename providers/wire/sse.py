"""Server-sent events, by the specification, from bytes however they are cut.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
Lines are found in bytes and an event is decoded only when it is whole, so a character cut across
two reads needs no care.
"""

from __future__ import annotations

from collections.abc import Iterator

from weave_async.errors import ResponseTooLargeError

_BOM = b"\xef\xbb\xbf"


class EventDecoder:
    """Bytes in, the ``data`` of each finished event out; ``event:``, ``id:`` and comments go by."""

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []  # pieces of a line whose end has not come
        self._data: list[bytes] = []  # data lines of an event whose end has not come
        self._held_bytes = 0
        self._at_start = True
        self._after_cr = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of every event that ``piece`` completes.

        Raises ``ResponseTooLargeError`` rather than hold more than ``max_event_bytes``: an endless
        line, or data lines without an end.
        """
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")  # CR LF, cut in two
        for part in piece.splitlines(keepends=True):
            self._hold(part)
            self._after_cr = part[-1:] == b"\r"
            if part[-1] not in b"\r\n":
                return
            if data := self._end_line():
                yield data

    def close(self) -> bytes:
        """What is left at the end of the stream: many servers omit the last blank line."""
        if self._line:
            self._end_line()
        return self._end_event()

    def _hold(self, part: bytes) -> None:
        self._held_bytes += len(part)
        if self._held_bytes > self._max_event_bytes:
            raise ResponseTooLargeError(
                f"one event of the stream is larger than {self._max_event_bytes} bytes"
            )
        self._line.append(part)

    def _end_line(self) -> bytes:
        line = self._line[0] if len(self._line) == 1 else b"".join(self._line)
        self._line.clear()
        size = len(line)
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        line = line.rstrip(b"\r\n")
        if not line:
            return self._end_event()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value[1:] if value[:1] == b" " else value)
        else:
            self._held_bytes -= size
        return b""

    def _end_event(self) -> bytes:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        self._held_bytes = 0
        return data
