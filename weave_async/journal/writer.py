"""The journal's files, written: appended on the loop, synced in a thread, one segment at a time.

What the disk may do, and what then happens:

- **It is full** (ENOSPC, EDQUOT): the partial frame is cut off again, the reserve is given free,
  and the frames are written into its room. Where a limit on the file's size is met (EFBIG), or the
  disk refuses a write otherwise, they are written into a new segment.
- **A sync fails**: the kernel may have dropped what it could not write and will not say so again,
  so that descriptor is never synced a second time. All since its last sync is written anew.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weave_async.errors import RunFolderError, StorageError
from weave_async.journal.disk import Disk
from weave_async.journal.index import place_of
from weave_async.journal.segments import BORN, path_of, synced_frame
from weave_async.rundir import reserve_of

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 64 << 20
RESERVE_BYTES = 16 << 20
"""Kept for answers that are on their way when the disk is full."""
RESERVE_SHARE = 4
"""On a small disk the reserve is one part in so many of what is free."""
LEAST_FREE_BYTES = 256 << 10
"""With less than this there is no point in asking for anything."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

Opening = Callable[[dict[int, int]], bytes]
"""Makes the first frame of a segment, which tells how far others count."""


@dataclass(slots=True, eq=False)
class OpenSegment:
    """A segment that is being written. ``synced`` bytes of its ``size`` are known to be on disk."""

    fd: int
    number: int
    path: Path
    size: int = 0
    synced: int = 0
    opening_bytes: int = 0
    said: int = 0
    """Up to which byte it tells itself that it is synced."""
    is_refused: bool = False
    """A sync of it has failed: what it says afterwards cannot be believed."""

    @property
    def is_new(self) -> bool:
        return self.path.suffix == BORN

    @property
    def is_untouched(self) -> bool:
        """Nothing but its opening stands in it."""
        return self.size == self.opening_bytes


ToSync = list[tuple[OpenSegment, int]]
"""Segments, and up to which byte."""


class Writer:
    """The tail of the journal. ``append`` on the loop; ``sync`` in one thread, one at a time."""

    def __init__(self, folder: Path, number: int, *, opening: Opening, disk: Disk) -> None:
        self._folder = folder
        self._opening = opening
        self._disk = disk
        self._reserve: Path | None = None
        self._open: list[OpenSegment] = []
        self._cut: dict[int, int] = {}
        self.next_number = number

    def __repr__(self) -> str:
        return f"<Writer {self.tail.path.name}, {self.tail.size - self.tail.synced} bytes to sync>"

    @property
    def tail(self) -> OpenSegment:
        """The segment that is appended to."""
        return self._open[-1]

    @property
    def is_begun(self) -> bool:
        return bool(self._open)

    @property
    def path(self) -> Path:
        """Where is written to, for messages."""
        return self.tail.path if self._open else self._folder

    @property
    def is_full(self) -> bool:
        return self.tail.size >= SEGMENT_BYTES

    @property
    def is_empty(self) -> bool:
        """Nothing has been recorded: ``close`` may discard it."""
        return len(self._open) == 1 and self.tail.is_untouched

    def begin(self) -> None:
        """Take the reserve and open the first segment, durably. Raises ``OSError``."""
        self._take_reserve()
        self._open.append(self._create(path_of(self._folder, self.next_number)))
        self._disk.sync(self.tail.fd)
        self._disk.sync_folder(self._folder)
        self.tail.synced = self.tail.size

    def append(self, blob: bytes) -> int:
        """Write, and return the place of the first byte. Raises ``OSError``: nothing is written."""
        if self.tail.number in self._cut:
            self.roll()
        tail, synced = self.tail, self._news_of_sync()
        self._write(tail, synced + blob)
        tail.said = tail.synced
        return place_of(tail.number, tail.size - len(blob))

    def make_room(self, error: OSError) -> bool:
        """After a failed ``append``: whether it is worth another try."""
        if error.errno in FULL_DISK:
            return self.free_reserve()
        return not self.tail.is_untouched and self._try_to_roll()

    def roll(self) -> None:
        """Go on in a new segment; the present one keeps its place and is synced with it."""
        path = path_of(self._folder, self.next_number, BORN)
        self._open.append(self._create(path))

    def give_up_unsynced(self) -> None:
        """After a failed ``sync``: a new segment, for all that came since the last good one."""
        refused, self._open = self._open, []
        self._cut |= {segment.number: segment.synced for segment in refused}
        try:
            self.roll()
        except OSError:
            self._open = refused
            raise
        for segment in refused:
            self._disk.close(segment.fd)

    def to_sync(self) -> ToSync:
        """What ``sync`` is to make durable, taken on the loop."""
        return [(segment, segment.size) for segment in self._open]

    def sync(self, segments: ToSync) -> None:
        """In the thread: return when those bytes are on disk, and the segments under their names.

        Raises ``OSError``; or ``RunFolderError`` if somebody has deleted the file.
        """
        for segment, _ in segments:
            self._sync_once(segment)
            self._require_present(segment)
            if segment.is_new:
                path = path_of(self._folder, segment.number)
                self._disk.rename(segment.path, path)
                segment.path = path

    def note_synced(self, segments: ToSync) -> None:
        """On the loop again: keep in mind what ``sync`` has done, let go of full segments."""
        for segment, size in segments:
            segment.synced = size
        done = [segment for segment, size in segments if segment.size == size]
        for segment in done:
            if segment is not self.tail and segment in self._open:
                self._open.remove(segment)
                self._disk.close(segment.fd)

    def sync_rest(self) -> None:
        """``sync`` all that has not been, and then that it is, where no loop runs any more."""
        self._sync_now()
        if self._news_of_sync():
            self.append(b"")
            self._sync_now()

    def require_present(self) -> None:
        """Raises ``RunFolderError`` if the file that is written to has no name any more."""
        self._require_present(self.tail)

    def free_reserve(self) -> bool:
        """Delete the reserve; whether there was one."""
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            reserve.unlink(missing_ok=True)
        return reserve is not None

    def close(self, *, discard: bool = False) -> None:
        """Let go of all files; with ``discard``, delete a segment in which nothing stands."""
        self.free_reserve()
        if discard and self.is_empty:
            self.tail.path.unlink(missing_ok=True)
        for segment in self._open:
            self._disk.close(segment.fd)
        self._open = []

    def _news_of_sync(self) -> bytes:
        """How far the tail is synced, if it does not say so; it goes before what comes next."""
        tail = self.tail
        is_news = tail.synced > max(tail.said, tail.opening_bytes)
        return synced_frame(tail.synced) if is_news else b""

    def _sync_now(self) -> None:
        segments = self.to_sync()
        if any(segment.synced < size for segment, size in segments):
            self.sync(segments)
            self.note_synced(segments)

    def _require_present(self, segment: OpenSegment) -> None:
        if self._disk.is_deleted(segment.fd):
            raise RunFolderError(f"{segment.path} was deleted while the run wrote to it")

    def _sync_once(self, segment: OpenSegment) -> None:
        if segment.is_refused:
            raise OSError(errno.EIO, "an earlier sync of it has failed")
        try:
            self._disk.sync(segment.fd)
        except OSError:
            segment.is_refused = True
            raise

    def _create(self, path: Path) -> OpenSegment:
        segment = OpenSegment(self._disk.create(path), self.next_number, path)
        self.next_number += 1
        try:
            self._write(segment, self._opening(self._cut))
        except OSError:
            self._disk.close(segment.fd)
            path.unlink(missing_ok=True)
            self.next_number -= 1  # a gap would read as a segment that was lost
            raise
        segment.opening_bytes = segment.size
        return segment

    def _write(self, segment: OpenSegment, blob: bytes) -> None:
        rest = memoryview(blob)
        try:
            while rest:  # a write may take only a part
                rest = rest[self._disk.write(segment.fd, rest) :]
        except OSError:
            if len(rest) < len(blob):
                self._cut_back(segment)
            raise
        segment.size += len(blob)

    def _cut_back(self, segment: OpenSegment) -> None:
        """Remove a part of a frame, or else have it ignored: behind it nothing would be found."""
        try:
            self._disk.truncate(segment.fd, segment.size)
        except OSError:
            self._cut[segment.number] = segment.size
            raise

    def _try_to_roll(self) -> bool:
        try:
            self.roll()
        except OSError as error:
            logger.warning("no new segment after a failed write: %s", error.strerror)
            return False
        return True

    def _take_reserve(self) -> None:
        free_bytes = self._disk.free_bytes(self._folder)
        if free_bytes < LEAST_FREE_BYTES:
            raise StorageError(
                f"only {free_bytes} bytes are free where {self._folder} is: make room first"
            )
        size = min(RESERVE_BYTES, free_bytes // RESERVE_SHARE)
        self._reserve = reserve_of(self._folder)
        try:
            self._disk.allocate(self._reserve, size)
        except OSError as error:
            self.free_reserve()
            if error.errno not in (errno.EFBIG, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            logger.warning("no room is kept for a full disk: %s", error.strerror)
