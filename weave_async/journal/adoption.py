"""One journal behind another: what several processes have bought, in one folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from weave_async.errors import RunFolderError
from weave_async.journal import frames
from weave_async.journal.recovery import recover
from weave_async.journal.segments import Segment, list_segments, path_of, synced_frame
from weave_async.rundir import open_private, storage_errors, sync_folder

_RETOLD = (b'{"kind":"open"', b'{"kind":"synced"')
"""Frames about their file, which is another one now."""


def adopt(journals: Iterable[Path], into: Path) -> None:
    """Make the journal ``into`` of others, each in its order, in place of what is there.

    Whoever calls holds the locks of the others: what a crash has torn there is mended first. The
    new journal appears whole, or not at all. Each run of each journal stays one of its own, as the
    names of calls are unique within a run alone.
    """
    part = into.with_name(f"{into.name}.part")
    with storage_errors(part):
        _make_empty(part)
        number = num_runs = 0
        for journal in journals:
            last_epoch = recover(journal).last_epoch
            for segment in list_segments(journal):
                if not segment.limit:  # a crash has left nothing of it, or all of it was cut off
                    continue
                number += 1
                _copy(segment, path_of(part, number), epoch=num_runs + segment.epoch)
            num_runs += last_epoch
        sync_folder(part)
        if into.exists():
            _make_empty(into)
        os.rename(part, into)
        sync_folder(into.parent)


def _make_empty(folder: Path) -> None:
    """What is left there is of an adoption that was cut short."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()


def _copy(segment: Segment, path: Path, *, epoch: int) -> None:
    """``cut`` in an opening says how far files of other numbers count: so far they are copied."""
    if not segment.opening:
        raise RunFolderError(f"{segment.path} has no beginning: try `weave-async verify`")
    opening = {name: value for name, value in segment.opening.items() if name != "cut"}
    with segment.open() as source, open_private(path) as file:
        num_bytes = _write(file, frames.encode({**opening, "epoch": epoch}))
        for _, body in segment.frames(source):
            if not body.startswith(_RETOLD):
                num_bytes += _write(file, frames.wrap(body))
        _write(file, synced_frame(num_bytes))
        file.flush()
        os.fsync(file.fileno())


def _write(file: IO[bytes], frame: bytes) -> int:
    return file.write(frame)
