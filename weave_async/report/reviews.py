"""What people have found in a run, where somebody has reviewed it."""

from __future__ import annotations

from pathlib import Path

from weave_async.errors import InputError, RunFolderError
from weave_async.review.results import Results
from weave_async.review_log import ReviewLog
from weave_async.run_rows import RunRows
from weave_async.rundir import RunFolder


def reviews_of(run: Path, notes: list[str]) -> Results | None:
    """``None`` where nobody has; what cannot be read is said in ``notes``."""
    if not RunFolder(run).review.exists():
        return None
    try:
        rows = RunRows(run)
        log = ReviewLog.read(rows.folder.review)
        return Results.of(rows, log, seed=rows.seed) if log.standing else None
    except (InputError, RunFolderError) as error:
        notes.append(f"the reviews are left out: {error}")
        return None
