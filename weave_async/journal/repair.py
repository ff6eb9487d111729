"""Keep what is whole of a damaged segment; the segment as it was stays beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from weave_async.journal import frames
from weave_async.journal.segments import Segment, is_damaged, list_segments
from weave_async.rundir import storage_errors, sync_folder


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of one damaged segment; ``original`` is what it looked like before."""

    path: Path
    original: Path
    num_frames: int
    num_bytes_lost: int


def repair(folder: Path) -> list[Repaired]:
    """Replace every damaged segment by its whole frames. The caller holds the run's lock.

    At each moment the segment's name stands for a file with all of its whole frames, so that a
    crash in between leaves either the damaged segment or the repaired one.
    """
    return [_repaired(segment) for segment in list_segments(folder) if _is_damaged(segment)]


def _is_damaged(segment: Segment) -> bool:
    with segment.open() as file:
        end = frames.end_of_last(segment.frames(file))
        return end < segment.limit and is_damaged(segment, file, end)


def _repaired(segment: Segment) -> Repaired:
    part = segment.path.with_suffix(".part")
    with storage_errors(part), segment.open() as damaged, part.open("wb") as mended:
        os.fchmod(mended.fileno(), os.fstat(damaged.fileno()).st_mode)
        num_frames = _copy_whole_frames(damaged, mended, segment.limit)
        num_bytes = mended.tell()
        mended.flush()
        os.fsync(mended.fileno())
    original = _free_name(segment.path)
    with storage_errors(original):
        os.link(segment.path, original)
        sync_folder(original.parent)
        os.replace(part, segment.path)
        sync_folder(original.parent)
    return Repaired(segment.path, original, num_frames, segment.limit - num_bytes)


def _copy_whole_frames(damaged: IO[bytes], mended: IO[bytes], limit: int) -> int:
    num_frames = 0
    for offset, body in frames.whole_behind(damaged, -1):
        if offset < limit:
            mended.write(frames.wrap(body))
            num_frames += 1
    return num_frames


def _free_name(path: Path) -> Path:
    """``000001.log.damaged``, or with a number where an earlier repair has taken that."""
    name, number = path.with_name(path.name + ".damaged"), 1
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.damaged-{number}")
    return name
