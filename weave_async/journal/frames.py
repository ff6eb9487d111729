"""The journal's frame: length, CRC32, JSON, newline. People can read it, programs can trust it.

::

    0000003f 9f1c0a2e {"kind":"answer", …}\\n
    ─length─ ─CRC32── ───────JSON──────────
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any
from zlib import crc32

import orjson

_HEAD = len("0000003f 9f1c0a2e ")
MAX_FRAME_BYTES = 64 << 20


def encode(record: dict[str, Any]) -> bytes:
    """One frame, ready to append."""
    body = orjson.dumps(record)
    return b"%08x %08x %s\n" % (len(body), crc32(body), body)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as found: ``offset`` is where it starts, ``end`` where the next one would."""

    offset: int
    end: int
    body: bytes

    def decode(self) -> Any:
        return orjson.loads(self.body)


def scan(file: IO[bytes], offset: int = 0) -> Iterator[Frame]:
    """The whole frames from ``offset`` on; stops without a word at the first that is not.

    The caller compares the last frame's ``end`` with the size of the file to learn of a torn tail.
    """
    file.seek(offset)
    while True:
        head = file.read(_HEAD)
        length = _parse_head(head)
        if length is None:
            return
        body = file.read(length + 1)
        if body[length:] != b"\n" or crc32(body[:length]) != int(head[9:17], 16):
            return
        end = offset + _HEAD + length + 1
        yield Frame(offset, end, body[:length])
        offset = end


def has_frame_after(file: IO[bytes], offset: int) -> bool:
    """Whether a whole frame begins behind ``offset``: what stands there is then no torn tail."""
    file.seek(offset)
    starts = [offset]
    for line in iter(file.readline, b""):
        starts.append(starts[-1] + len(line))
    return any(next(scan(file, start), None) is not None for start in starts[1:])


def read_at(file: IO[bytes], offset: int) -> Any:
    """The record of the frame at ``offset``, which ``scan`` has found whole before."""
    return next(scan(file, offset)).decode()


def _parse_head(head: bytes) -> int | None:
    if len(head) != _HEAD or head[8:9] != b" " or head[17:18] != b" ":
        return None
    try:
        length = int(head[:8], 16)
        int(head[9:17], 16)
    except ValueError:
        return None
    return length if length <= MAX_FRAME_BYTES else None
