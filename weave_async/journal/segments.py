"""The journal's files, read: ``000001.log``, ``000002.log``, … in the order of writing.

A segment is born as ``NNNNNN.new`` where a run goes on from one segment to the next, and takes its
final name once all before it is durable. So a torn frame may end the last file, or where that is
still ``.new``, the one before it; anywhere else it is damage. A segment that the disk refused to
sync counts up to where it had been synced; the opening of the next one says so (``cut``).
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

from weave_async.errors import RunFolderError
from weave_async.journal import entries, frames
from weave_async.journal.index import segment_and_offset
from weave_async.rundir import FORMAT_VERSION, open_regular

NAME, BORN = ".log", ".new"
MAX_OPEN_SEGMENTS = 32
_LIKELY_FRAME_BYTES = 4096
_SEGMENT_NAME = re.compile(rf"[0-9]{{6}}({re.escape(NAME)}|{re.escape(BORN)})")
_SYNCED = b'{"kind":"synced",'


@dataclass(frozen=True, slots=True)
class Segment:
    """One file. ``opening`` is its first frame, empty if not even that is whole.

    ``limit`` is how far it counts. ``may_be_torn``: where a crash may have cut its last frame.
    """

    path: Path
    number: int
    opening: dict[str, Any] = field(default_factory=dict)
    limit: int = 0
    may_be_torn: bool = False

    @property
    def is_new(self) -> bool:
        return self.path.suffix == BORN

    @property
    def epoch(self) -> int:
        """The run that wrote it. In format 1 each run wrote one segment, and did not say more."""
        return int(self.opening.get("epoch", self.number))

    def open(self) -> IO[bytes]:
        return open_regular(self.path)

    def frames(self, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        """Where each frame starts, and its body; ends at the first that is not whole."""
        return frames.scan(file, limit=self.limit)


def synced_frame(num_bytes: int) -> bytes:
    """Tells that the segment is on the disk up to ``num_bytes``: what is damaged before them was
    whole once. Behind the last of these frames, a power cut may have kept some blocks and not
    others."""
    return frames.encode({"kind": "synced", "bytes": num_bytes})


def is_damaged(segment: Segment, file: IO[bytes], end: int) -> bool:
    """Whether what is wrong at ``end`` is more than a crash leaves: refuse it, or cut it off."""
    if segment.is_new:
        return False  # nothing in it was ever called durable
    if not segment.may_be_torn:
        return True
    says_what_is_synced = segment.opening.get("format_version", 0) > 1
    for _, body in frames.whole_behind(file, end):
        if not says_what_is_synced:
            return True
        if body.startswith(_SYNCED) and _says_synced_behind(body, end):
            return True
    return False


def _says_synced_behind(body: bytes, end: int) -> bool:
    try:
        return bool(entries.parse(body)["bytes"] > end)
    except ValueError:  # no crash makes such a frame
        return True


def path_of(folder: Path, number: int, suffix: str = NAME) -> Path:
    return folder / f"{number:06d}{suffix}"


def not_ours(path: Path, offset: int, error: ValueError) -> RunFolderError:
    """What to raise for a whole frame that no version known to us has written."""
    return RunFolderError(
        f"{path} holds at byte {offset} what this version does not write ({error}): "
        "was it written by a newer weave-async?"
    )


def missing_numbers(segments: Sequence[Segment]) -> Iterator[int]:
    """Segments that were there once, and whose answers are lost: numbers have no gaps otherwise.

    A power cut may take a segment that is still ``.new``, or one of which a later one says that
    nothing in it counts.
    """
    present = {segment.number for segment in segments}
    voided = {
        int(number)
        for segment in segments
        for number, size in segment.opening.get("cut", {}).items()
        if size == 0
    }
    last = max((segment.number for segment in segments if not segment.is_new), default=0)
    return (number for number in range(1, last) if number not in present | voided)


def list_segments(folder: Path) -> list[Segment]:
    """All segments of a journal, in order. Raises ``RunFolderError`` for a newer format, and for
    what is no journal of ours.
    """
    found = sorted(
        (
            Segment(path, int(path.stem))
            for path in folder.iterdir()
            if _SEGMENT_NAME.fullmatch(path.name)
        ),
        key=lambda segment: (segment.number, segment.is_new),
    )
    return with_limits([_opened(segment) for segment in found])


def with_limits(segments: Sequence[Segment]) -> list[Segment]:
    """The same segments, each knowing what the openings of later ones say of it."""
    cuts = {
        int(number): size
        for segment in segments
        for number, size in segment.opening.get("cut", {}).items()
    }
    num_born = sum(1 for _ in takewhile(lambda segment: segment.is_new, reversed(segments)))
    first_torn = len(segments) - 1 - num_born
    return [
        replace(
            segment,
            limit=min(segment.limit, cuts.get(segment.number, segment.limit)),
            may_be_torn=place >= first_torn,
        )
        for place, segment in enumerate(segments)
    ]


def _opened(segment: Segment) -> Segment:
    with segment.open() as file:
        first = next(frames.scan(file), None)
        size = os.fstat(file.fileno()).st_size
    try:
        opening = entries.parse(first[1]) if first else {}
    except ValueError as error:
        raise not_ours(segment.path, 0, error) from error
    if opening.get("kind") != "open":
        return replace(segment, limit=size)
    if opening.get("format_version", 0) > FORMAT_VERSION:
        raise RunFolderError(f"{segment.path} was written by a newer weave-async: upgrade first")
    return replace(segment, opening=opening, limit=size)


class FrameReader:
    """Reads single frames by their place, with few files open however long the journal is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fds: OrderedDict[int, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<FrameReader {len(self._fds)} segments open>"

    def read(self, place: int) -> dict[str, Any]:
        """The entry at a place that the index has given out."""
        number, offset = segment_and_offset(place)
        path = path_of(self._folder, number)
        try:
            fd = self._open(number, path)
            frame = os.pread(fd, _LIKELY_FRAME_BYTES, offset)
            length = frames.FRAME_OVERHEAD + frames.body_length(frame)
            if length > len(frame):
                frame += os.pread(fd, length - len(frame), offset + len(frame))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"cannot read {path} at byte {offset}: {error}") from error
        frame = frame[:length]
        if not frames.is_whole(frame):
            raise RunFolderError(f"{path} has changed at byte {offset} since the run began")
        try:
            return entries.parse(frame[frames.HEAD_BYTES :])
        except ValueError as error:
            raise not_ours(path, offset, error) from error

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _open(self, number: int, path: Path) -> int:
        if number in self._fds:
            self._fds.move_to_end(number)
            return self._fds[number]
        if len(self._fds) == MAX_OPEN_SEGMENTS:
            os.close(self._fds.popitem(last=False)[1])
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(path, flags)
        except FileNotFoundError:  # who only looks does not give it its name
            fd = os.open(path.with_suffix(BORN), flags)
        self._fds[number] = fd
        return fd
