"""From run folders to the file that holds their report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from weave_async.errors import UsageError
from weave_async.report.page import page_of
from weave_async.report.reading import read_run
from weave_async.report.reviews import reviews_of
from weave_async.report.side_by_side import SideBySide, side_by_side
from weave_async.report.view import RunView
from weave_async.rundir import RunFolder, replace_file


def make_report(
    run: Path,
    other: Path | None = None,
    *,
    output: Path | None = None,
    num_samples: int,
    seed: int = 0,
) -> Path:
    """Writes the page, whole or not at all, and returns where it is.

    Raises ``RunFolderError`` where there is no run, ``InputError`` where a manifest is damaged,
    and ``UsageError`` where ``output`` is none of ours to write.
    """
    paths = [run] if other is None else [run, other]
    for path in paths:
        RunFolder(path).require_run()
    target = output or _default_for(paths)
    _refuse_files_of_runs(target, paths)
    labels = [""] if other is None else ["A", "B"]
    views = [
        _view_of(path, label, num_samples, seed) for path, label in zip(paths, labels, strict=True)
    ]
    comparison: SideBySide | None = None
    if other is not None:
        found = side_by_side(run, other, seed=seed)
        if isinstance(found, str):
            views[-1].run.notes.append(found)
        else:
            comparison = found
    made_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    replace_file(target, page_of(views, made_at=made_at, comparison=comparison).encode())
    return target


def _view_of(path: Path, label: str, num_samples: int, seed: int) -> RunView:
    reading = read_run(path, num_samples=num_samples, seed=seed)
    return RunView(reading, label, reviews_of(path, reading.notes))


def _default_for(paths: list[Path]) -> Path:
    folder = RunFolder(paths[-1])
    return folder.report if len(paths) == 1 else folder.comparison


def _refuse_files_of_runs(target: Path, paths: list[Path]) -> None:
    """A slip of the hand must not replace what a run has made."""
    if target.is_dir():
        raise UsageError(f"-o {target} is a folder: name a file in it, as {target / 'report.html'}")
    folder = target.absolute().parent.resolve()
    if not folder.is_dir():
        raise UsageError(f"-o {target}: there is no folder {folder}")
    is_inside = any(folder.is_relative_to(path.resolve()) for path in paths)
    if is_inside and target.suffix != ".html":
        raise UsageError(f"-o {target} is in the run's folder: there, its name ends with .html")
