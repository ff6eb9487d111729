"""Rows of files that somebody else has made: JSON Lines, CSV or text, each with its line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import InputError


def rows_in(path: Path) -> Iterator[tuple[int, Any]]:
    """Each row with the line on which it begins, from 1; of a text file, the lines that hold
    something. Its name must end with one of ``SUFFIXES``.

    Raises ``InputError``, which says the file and the line, at the first row that is none.
    """
    try:
        yield from _READERS[path.suffix.lower()](path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason}") from error


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            try:
                yield number, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InputError(f"{path}:{number}: not JSON: {error.msg}") from error


def _csv(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        line = 2  # where the row begins: it may have several lines
        try:
            for row in rows:
                if None in row:
                    raise InputError(f"{path}:{line}: more cells than the header has")
                yield line, row
                line = rows.line_num + 1
        except csv.Error as error:
            raise InputError(f"{path}:{line}: not CSV: {error}") from error


def _text(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


_READERS = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".txt": _text}
SUFFIXES = frozenset(_READERS)
