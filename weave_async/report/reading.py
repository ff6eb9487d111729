"""A run folder, read for its report: what there is of it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from weave_async.errors import InputError, RunFolderError
from weave_async.report.calls import Calls, read_calls
from weave_async.report.row import ENDINGS, ROW_ERRORS, Ending, ReportRow
from weave_async.report.sampling import Place, StratifiedSample
from weave_async.report.tally import Tally
from weave_async.rundir import RunFolder, open_regular
from weave_async.visible import cut, path_text

MAX_RECIPE_CHARS = 200_000
MAX_NOTES_OF_A_KIND, MAX_NOTE_CHARS = 3, 200
MAX_CHARS_OF_ALL, MOST_CHARS_OF_ONE, LEAST_CHARS_OF_ONE = 16_000_000, 8_000, 1_000
"""Of the turns of the rows that are shown."""


@dataclass(slots=True)
class Reading:
    """``manifest`` and ``metrics`` are empty where a run has not come to its end. ``notes`` say
    what the reader of a report has to know of it; ``rows`` are those that are shown.
    """

    path: Path
    manifest: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    tally: Tally = field(default_factory=Tally)
    calls: Calls = field(default_factory=Calls)
    questions: Calls = field(default_factory=Calls)
    """What judges and other stages have asked models."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_finished: bool = False

    @property
    def name(self) -> str:
        """As its recipe calls it, or else its folder."""
        name = self.manifest.get("name")
        if not isinstance(name, str) or not name:
            name = path_text(Path(self.path.absolute().name))
        return cut(name, MAX_NOTE_CHARS)

    @property
    def place(self) -> str:
        return path_text(self.path)


def read_run(path: Path, *, num_samples: int, seed: int = 0) -> Reading:
    """Reads everything once, and the rows that are shown a second time.

    Raises ``RunFolderError`` where there is no run, or one of a newer version, and ``InputError``
    where its manifest is damaged. Damaged rows and frames are left out, and counted in ``notes``.
    """
    folder = RunFolder(path)
    folder.require_run()
    found = Reading(path, manifest=folder.read_manifest() or {})
    found.is_finished = bool(found.manifest)
    _note_state(folder, found)
    found.metrics = _metrics_of(folder, found)
    found.recipe = _recipe_of(folder, found)
    _read_outputs(folder, found, num_samples, seed)
    if folder.journal.is_dir():
        found.calls = read_calls(folder.journal)
        found.notes += found.calls.notes
    if folder.consultations.is_dir():
        found.questions = read_calls(folder.consultations)
        found.notes += found.questions.notes
    if not found.is_finished and found.calls.num_answers:
        found.notes.append(
            f"{found.tally.total:,} samples have ended; {found.calls.num_answers:,} answers are "
            "in its journal, which keeps them for the next run"
        )
    _note_unpublished(found)
    return found


def _note_state(folder: RunFolder, found: Reading) -> None:
    unfinished = [path_text(Path(part.name)) for part in folder.unfinished()]
    if not found.is_finished:
        found.notes.append(
            "This run is unfinished: it goes on, or was cut short before it published its files. "
            "What stands here is what it had written until now. Run the same command again to go on"
        )
    elif unfinished:
        found.notes.append(
            f"A later run in this folder goes on, or was cut short ({', '.join(unfinished)}): what "
            "stands here is what the last one has published"
        )


def _metrics_of(folder: RunFolder, found: Reading) -> Mapping[str, Any]:
    try:
        with open_regular(folder.path / "metrics.json") as file:
            metrics = orjson.loads(file.read())
        if not isinstance(metrics, dict):
            raise ValueError("no JSON object")
    except FileNotFoundError:
        if found.is_finished:
            found.notes.append("metrics.json is missing: diversity, bias and stages are left out")
        return {}
    except (OSError, ValueError, RunFolderError) as error:
        found.notes.append(
            f"metrics.json cannot be read: diversity, bias and stages are left out ({error})"
        )
        return {}
    return metrics


def _recipe_of(folder: RunFolder, found: Reading) -> str:
    try:
        with open_regular(folder.recipe) as file:
            text = file.read(4 * MAX_RECIPE_CHARS).decode(errors="replace")
    except FileNotFoundError:
        found.notes.append("recipe.yaml is missing")
        return ""
    except (OSError, RunFolderError) as error:
        found.notes.append(f"recipe.yaml cannot be read ({error})")
        return ""
    if len(text) > MAX_RECIPE_CHARS:
        return f"{text[:MAX_RECIPE_CHARS]}\n# … cut: see recipe.yaml"
    return text


def _read_outputs(folder: RunFolder, found: Reading, num_samples: int, seed: int) -> None:
    sample = StratifiedSample(num_samples, seed)
    sources: dict[str, Path] = {}
    for stem, ending in ENDINGS.items():
        path = _output_of(folder, stem, is_finished=found.is_finished)
        if path is None:
            if found.is_finished and found.manifest.get(ending):
                found.notes.append(f"{stem}.jsonl is missing: try `weave-async verify`")
            continue
        try:
            _count_rows(path, stem, ending, found, sample)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        sources[stem] = path
    found.rows = list(_shown_rows(sources, sample, found))


def _output_of(folder: RunFolder, stem: str, *, is_finished: bool) -> Path | None:
    """The published file; what it grows as, where no run has come to its end yet."""
    path = folder.path / f"{stem}.jsonl"
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    return part if not is_finished and part.exists() else None


def _count_rows(
    path: Path, stem: str, ending: Ending, found: Reading, sample: StratifiedSample
) -> None:
    offset, damaged, reasons = 0, 0, list[str]()
    with open_regular(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = ReportRow.of(line, ending)
                found.tally.count(row)
                sample.offer(row, Place(stem, offset))
            except ROW_ERRORS as error:
                if not _is_torn(path, line):
                    damaged += 1
                    if len(reasons) < MAX_NOTES_OF_A_KIND:
                        reasons.append(f"line {number}: {cut(repr(error), MAX_NOTE_CHARS)}")
            offset += len(line)
    if damaged:
        examples = "; ".join([*reasons, *(["…"] if damaged > len(reasons) else [])])
        found.notes.append(
            f"left out of {path_text(Path(path.name))}, as damaged: {damaged:,} "
            f"row{'s' if damaged > 1 else ''} ({examples}); try `weave-async verify`"
        )


def _is_torn(path: Path, line: bytes) -> bool:
    """Whether it is the end of a file that was being written: that is no damage."""
    return path.suffix == ".part" and not line.endswith(b"\n")


def _shown_rows(
    sources: Mapping[str, Path], sample: StratifiedSample, found: Reading
) -> Iterator[dict[str, Any]]:
    places, num_odd = sample.places(), 0
    each = MAX_CHARS_OF_ALL // max(1, len(places))
    most_chars = max(LEAST_CHARS_OF_ONE, min(MOST_CHARS_OF_ONE, each))
    for stem, path in sources.items():
        with open_regular(path) as file:
            for place in places:
                if place.stem == stem:
                    row = _row_at(file, place, most_chars)
                    num_odd += row is None
                    if row is not None:
                        yield row
    if num_odd:
        found.notes.append(
            f"{num_odd:,} rows are counted, but cannot be shown: their edits are not of their texts"
        )


def _row_at(file: IO[bytes], place: Place, most_chars: int) -> dict[str, Any] | None:
    file.seek(place.offset)
    try:
        return ReportRow.of(file.readline(), ENDINGS[place.stem]).shown(most_chars=most_chars)
    except ROW_ERRORS:
        return None


def _note_unpublished(found: Reading) -> None:
    for stem, ending in ENDINGS.items():
        told = found.manifest.get(ending, 0)
        counted = found.tally.num_ended[ending]
        if found.is_finished and told != counted:
            found.notes.append(
                f"{stem}.jsonl holds {counted:,} rows that can be read, and the manifest says "
                f"{told:,}: try `weave-async verify`"
            )
