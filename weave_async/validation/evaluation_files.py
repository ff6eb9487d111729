"""The texts in evaluation files, with the lines on which they stand."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


class BadEvaluationFileError(ValueError):
    """Why a file cannot be compared with; says the file, and the line where it is one's fault."""


@dataclass(frozen=True, slots=True)
class EvaluationText:
    """One text of a row."""

    text: str
    file: str
    line: int


def texts_in(path: Path, columns: Sequence[str]) -> Iterator[EvaluationText]:
    """The texts of these columns, or all that there are, with those in their lists and objects.

    Raises ``BadEvaluationFileError`` at the first row that is none.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        known = ", ".join(sorted(_READERS))
        raise BadEvaluationFileError(f"{path}: evaluation files end with one of {known}")
    try:
        for line, row in read(path):
            for value in _chosen(row, columns, f"{path}:{line}"):
                for text in _texts(value):
                    yield EvaluationText(text, str(path), line)
    except OSError as error:
        raise BadEvaluationFileError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadEvaluationFileError(f"{path} is not UTF-8 text: {error.reason}") from error


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            try:
                yield number, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise BadEvaluationFileError(f"{path}:{number}: not JSON: {error.msg}") from error


def _csv(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        line = 2  # where the row begins: it may have several lines
        try:
            for row in rows:
                if None in row:
                    raise BadEvaluationFileError(f"{path}:{line}: more cells than the header has")
                yield line, row
                line = rows.line_num + 1
        except csv.Error as error:
            raise BadEvaluationFileError(f"{path}:{line}: not CSV: {error}") from error


def _text(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        yield from enumerate(file, start=1)


_READERS = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".txt": _text}


def _chosen(row: Any, columns: Sequence[str], origin: str) -> Iterator[Any]:
    if not columns:
        yield row
        return
    if not isinstance(row, Mapping):
        raise BadEvaluationFileError(
            f"{origin}: it has no columns, and {columns[0]!r} is asked for"
        )
    for name in columns:
        if name not in row:
            known = ", ".join(map(str, row)) or "none"
            raise BadEvaluationFileError(f"{origin}: no column {name!r}; it has: {known}")
        yield row[name]


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, however deep: questions, choices, the turns of a conversation."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            waiting += reversed(list(each.values()))
        elif isinstance(each, list):
            waiting += reversed(each)
