"""From a run to an export: which rows, in which shape, into which files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

from weave_async.columns import Column
from weave_async.errors import InputError, RecipeError, UsageError
from weave_async.export.files import WRITERS, RowWriter, json_line, require_place, whole_file
from weave_async.export.formats import FORMATS, PREFERENCE_COLUMNS
from weave_async.export.preference import Pairing, Pairs, Record
from weave_async.export.quality import why_no_worse
from weave_async.export.reviewed import ReviewedRows, Reviews
from weave_async.export.split import Split, split
from weave_async.run_rows import ExportRow

To = Literal["jsonl", "parquet", "csv", "txt"]
SUFFIXES: Mapping[str, To] = {
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
    ".txt": "txt",
}
"""Names that mean one file; any other name is a folder's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make of a run. ``validation`` is the share of rows to hold out; ``seed`` draws them,
    the run's own if ``None``. ``raw_csv`` leaves formulas in cells as they are.
    """

    format: str
    pairing: Pairing = field(default_factory=Pairing)
    validation: float = 0.0
    seed: int | None = None
    license: str | None = None
    raw_csv: bool = False
    force: bool = False
    reviews: Reviews = "follow"

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise UsageError(f"--validation is a share below 1, as 0.1, not {self.validation:g}")


class Export:
    """The records of one export, read once, with the counts of what was left out, and why."""

    def __init__(self, run: Path, wanted: Wanted) -> None:
        self.rows = ReviewedRows(run, wanted.reviews)
        self.wanted = wanted
        self.left_out: Counter[str] = Counter()
        self.num_rows: Counter[str] = Counter()
        """By the name of the split."""
        self.models: Counter[str] = Counter()
        self._pairs = Pairs(self.rows, wanted.pairing, unpaired=self.left_out)
        self.split: Split | None = None

    def __repr__(self) -> str:
        return f"<Export {self.wanted.format} of {self.rows.folder.path}>"

    @property
    def columns(self) -> Mapping[str, Column]:
        name = self.wanted.format
        return PREFERENCE_COLUMNS if name == "preference" else FORMATS[name].columns

    @property
    def with_rejected(self) -> bool:
        if self.wanted.format == "preference":
            return self.wanted.pairing.by in ("accepted", "judge")
        return FORMATS[self.wanted.format].with_rejected

    def divide(self) -> None:
        """Draw the rows to hold out, once, where some are wanted."""
        if not self.wanted.validation or self.split is not None:
            return
        seed = self.wanted.seed
        if seed is None:
            seed = self.rows.seed
        rejected = self.rows.rejected() if self.with_rejected else ()
        self.split = split(
            chain(self.rows.written(), rejected),
            fraction=self.wanted.validation,
            seed=seed,
            written_of=Export(self.rows.folder.path, self.wanted)._prompt_ids,
        )

    def _prompt_ids(self) -> Iterator[str]:
        return (prompt_id for prompt_id, _ in self._all_records())

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each with the name of its split. Raises ``InputError`` where there is none."""
        for prompt_id, record in self._all_records():
            name = self.split.name_of(prompt_id) if self.split else "train"
            self.num_rows[name] += 1
            yield name, record
        if not self.num_rows:
            why = ", ".join(f"{count} {reason}" for reason, count in (+self.left_out).items())
            raise InputError(f"nothing to write: {why or 'the run has written no rows'}")

    def _all_records(self) -> Iterator[Record]:
        if self.wanted.format == "preference":
            for prompt_id, record in self._pairs.records():
                self.models.update((record["chosen_model"], record["rejected_model"]))
                yield prompt_id, record
            return
        format = FORMATS[self.wanted.format]
        for row in self._wanted_rows():
            told = format.encode(row)
            if told is None:
                self.left_out[f"without {format.needs}"] += 1
                continue
            self.models[row.model] += 1
            yield row.prompt_id, told

    def _wanted_rows(self) -> Iterator[ExportRow]:
        yield from self.rows.written()
        if not self.with_rejected:
            return
        for row in self.rows.rejected():
            if row.rejection is not None and (reason := why_no_worse(row.rejection)):
                self.left_out[reason] += 1
            else:
                yield row

    def writer_of(self, to: To) -> Callable[[IO[bytes]], RowWriter]:
        """Raises ``UsageError`` where this format cannot be written as such a file."""
        if to == "txt" and self.wanted.format != "text":
            raise UsageError("only --format text is written as .txt: name a .jsonl file")
        if to == "parquet":
            _require_pyarrow()
        make = WRITERS["raw-csv" if to == "csv" and self.wanted.raw_csv else to]
        return lambda file: make(file, self.columns)


def to_file(export: Export, path: Path, to: To) -> None:
    """All rows in one file."""
    make = export.writer_of(to)
    if export.wanted.validation:
        raise UsageError("--validation writes a file for each split: name a folder with -o")
    require_place(export.rows.folder.path, path)
    with whole_file(path, force=export.wanted.force) as file:
        writer = make(file)
        try:
            for _, record in export.records():
                writer.write(record)
        except BaseException:
            writer.abandon()
            raise
        writer.finish()


def lines(export: Export) -> Iterator[bytes]:
    """All rows as JSON Lines."""
    if export.wanted.validation:
        raise UsageError("--validation writes a file for each split: name a folder with -o")
    return (json_line(record) for _, record in export.records())


def _require_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        raise RecipeError(
            "Parquet needs pyarrow: `pip install 'weave-async[parquet]'`, or write JSON Lines with "
            "--to jsonl"
        )
