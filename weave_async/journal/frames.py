"""The journal's frame: length, CRC32, JSON, newline. People can read it, programs can trust it.

::

    0000003f 9f1c0a2e {"kind":"answer", …}\\n
    ─length─ ─CRC32── ───────JSON──────────

JSON holds no raw newline, so a frame is a line, and reading lines is the fastest way through.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any
from zlib import crc32

import orjson

HEAD_BYTES = len("0000003f 9f1c0a2e ")
FRAME_OVERHEAD = HEAD_BYTES + 1
_LIKE_A_HEAD = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8} \{")


def encode(record: dict[str, Any]) -> bytes:
    """One frame, ready to append."""
    return wrap(orjson.dumps(record))


def wrap(body: bytes) -> bytes:
    """The frame of a record that is encoded already."""
    return b"%08x %08x %s\n" % (len(body), crc32(body), body)


def scan(
    file: IO[bytes], offset: int = 0, *, limit: int = sys.maxsize
) -> Iterator[tuple[int, bytes]]:
    """Where each whole frame starts from ``offset`` on, and its body; stops without a word at
    ``limit``, or at the first that is not whole.

    The caller compares ``end_of`` the last one with the size of the file to learn of a torn tail.
    """
    file.seek(offset)
    for line in file:
        body = line[HEAD_BYTES:-1]
        if line[:HEAD_BYTES] != b"%08x %08x " % (len(body), crc32(body)) or line[-1:] != b"\n":
            return
        if offset >= limit:
            return
        yield offset, body
        offset += len(line)


def end_of(offset: int, body: bytes) -> int:
    """Where the next frame would start."""
    return offset + len(body) + FRAME_OVERHEAD


def end_of_last(found: Iterable[tuple[int, bytes]]) -> int:
    """Go through what ``scan`` finds, for where the last whole frame ends."""
    end = 0
    for offset, body in found:
        end = offset + len(body) + FRAME_OVERHEAD
    return end


def next_whole(file: IO[bytes], offset: int) -> int | None:
    """Where the first whole frame behind ``offset`` starts, whatever stands between; from the very
    start with -1.

    Damage may have made two lines of a frame, or one line of two: only the heads are looked for.
    """
    file.seek(max(offset, 0))
    content = file.read()  # of one segment, and only where something is wrong with it
    for head in _LIKE_A_HEAD.finditer(content, 1 if offset >= 0 else 0):
        start = head.start()
        end = start + FRAME_OVERHEAD + int(content[start : start + 8], 16)
        if is_whole(content[start:end]):
            return max(offset, 0) + start
    return None


def whole_behind(file: IO[bytes], offset: int) -> Iterator[tuple[int, bytes]]:
    """Like ``scan``, but goes on behind whatever is damaged, from ``offset`` on."""
    start = next_whole(file, offset)
    while start is not None:
        for offset, body in scan(file, start):
            start = end_of(offset, body)
            yield offset, body
        start = next_whole(file, start)


def is_whole(frame: bytes) -> bool:
    """Whether these bytes are one frame, and nothing but that frame."""
    body = frame[HEAD_BYTES:-1]
    return frame[-1:] == b"\n" and frame[:HEAD_BYTES] == b"%08x %08x " % (len(body), crc32(body))


def body_length(head: bytes) -> int:
    """What a frame's first eight bytes say; only for frames that ``scan`` has found whole."""
    return int(head[:8], 16)
