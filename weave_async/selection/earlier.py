"""Rows of other runs and files, that samples are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weave_async.errors import InputError
from weave_async.foreign_rows import SUFFIXES, rows_in
from weave_async.records import Message
from weave_async.selection.compared import Compared, turns_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands. Our own rows have a sample id."""

    file: Path
    line: int
    sample_id: str | None

    @property
    def evidence(self) -> dict[str, str]:
        """How a rejection names it."""
        where = f"{self.file}:{self.line}".encode(errors="replace").decode()
        return {"of": self.sample_id, "in": where} if self.sample_id else {"of": where}


def files_of(against: str | Sequence[str]) -> list[Path]:
    """The files to read: those named, and the datasets of the run folders named.

    Raises ``ValueError`` where there is nothing to read.
    """
    named = [against] if isinstance(against, str) else against
    return [_file_of(Path(name)) for name in named]


def rows_of(file: Path, on: Compared) -> Iterator[tuple[list[str], Place]]:
    """The turns of each row that are compared, as they are read.

    Raises ``InputError`` at the first row that cannot be compared. Of a row with ``messages`` their
    turns count; of another the columns ``prompt`` and ``completion``, as far as they are compared;
    else ``text``, or the only text that there is.
    """
    for line, row in rows_in(file):
        sample_id = row.get("sample_id") if isinstance(row, Mapping) else None
        turns = _turns_in(row, on, f"{file}:{line}")
        yield turns, Place(file, line, sample_id if isinstance(sample_id, str) else None)


def _file_of(path: Path) -> Path:
    if path.is_dir():
        rows = path / "samples.jsonl"
        if not rows.is_file():
            raise ValueError(
                f"against: {path} has no samples.jsonl: name the folder of a run that has ended"
            )
        return rows
    if not path.is_file():
        raise ValueError(f"against: there is no {path}: name a run folder or a file of rows")
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(sorted(SUFFIXES))
        raise ValueError(f"against: {path} is no file of rows: they end with one of {known}")
    return path


def _turns_in(row: Any, on: Compared, where: str) -> list[str]:
    if isinstance(row, str):
        return [row]
    if not isinstance(row, Mapping):
        raise InputError(f"{where}: a row is an object or a text, and this is {_shown(row)}")
    if "messages" in row:
        return turns_of(_messages(row["messages"], where), on)
    columns = ("prompt", "completion") if on == "messages" else (on,)
    if all(column in row for column in columns):
        return [text for column in columns for text in _texts(row[column], where)]
    texts = [value for value in row.values() if isinstance(value, str)]
    if "text" in row:
        return _texts(row["text"], where)
    if len(texts) == 1:
        return texts
    raise InputError(
        f"{where}: no column to compare with: expected messages, {' and '.join(columns)}, or text; "
        f"it has: {', '.join(map(str, row)) or 'none'}"
    )


def _texts(value: Any, where: str) -> list[str]:
    """A column as trainers know it: a text, or messages."""
    if isinstance(value, str):
        return [value]
    return [message.content for message in _messages(value, where)]


def _messages(value: Any, where: str) -> list[Message]:
    if isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
        turns = [(each.get("role"), each.get("content") or "") for each in value]
        if all(isinstance(text, str) for turn in turns for text in turn):
            return [Message(role, content) for role, content in turns]
    raise InputError(f"{where}: expected a text or a list of messages, got {_shown(value)}")


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) < 60 else f"{repr(value)[:59]}…"
