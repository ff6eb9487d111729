"""The texts in evaluation files, with the lines on which they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weave_async.errors import InputError
from weave_async.foreign_rows import SUFFIXES, rows_in


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
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(sorted(SUFFIXES))
        raise BadEvaluationFileError(f"{path}: evaluation files end with one of {known}")
    try:
        for line, row in rows_in(path):
            for value in _chosen(row, columns, f"{path}:{line}"):
                for text in _texts(value):
                    yield EvaluationText(text, str(path), line)
    except InputError as error:
        raise BadEvaluationFileError(str(error)) from error


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
