"""Rows into files of one kind each. What is written appears whole under its name, or not at all."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Protocol
from uuid import uuid4

import orjson

from weave_async.columns import Column
from weave_async.errors import RunFolderError, StorageError, UsageError, WeaveError
from weave_async.rundir import open_private, sync_folder

Row = Mapping[str, Any]
Columns = Mapping[str, Column]
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection)."""


class RowWriter(Protocol):
    """Writes into a file that somebody else opens, syncs and closes."""

    def write(self, row: Row) -> None: ...

    def finish(self) -> None:
        """Write what is held back; the file stays open."""

    def abandon(self) -> None:
        """Let go of the file, whatever becomes of it."""


class JsonlWriter:
    def __init__(self, file: IO[bytes], columns: Columns) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(json_line(row))

    def finish(self) -> None:
        """Nothing is held back."""

    def abandon(self) -> None:
        """Nothing is held."""


class CsvWriter:
    """Nested values are JSON texts. A cell that a spreadsheet would run as a formula gets a ``'``
    in front, unless ``raw``.
    """

    def __init__(self, file: IO[bytes], columns: Columns, *, raw: bool = False) -> None:
        self._text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        # With RFC 4180's line ends, a lone carriage return inside a cell is quoted as well.
        self._rows = csv.writer(self._text, lineterminator="\r\n")
        self._names = list(columns)
        self._raw = raw
        self._rows.writerow(self._names)

    def write(self, row: Row) -> None:
        self._rows.writerow([self._cell(row[name]) for name in self._names])

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        is_formula = isinstance(value, str) and text.startswith(FORMULA_STARTS)
        return "'" + text if is_formula and not self._raw else text

    def finish(self) -> None:
        self._text.flush()
        self._text.detach()

    def abandon(self) -> None:
        # Left to itself, the wrapper would write into a file that is closed by then.
        with suppress(OSError):
            self._text.detach()


class TextWriter:
    """A row a line, with one space for whatever space is in it, as `datasets` reads ``text``."""

    def __init__(self, file: IO[bytes], columns: Columns) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(" ".join(row["text"].split()).encode() + b"\n")

    def finish(self) -> None:
        """Nothing is held back."""

    def abandon(self) -> None:
        """Nothing is held."""


def _parquet(file: IO[bytes], columns: Columns) -> RowWriter:
    from weave_async.parquet import ParquetWriter

    return ParquetWriter(file, columns)


def _raw_csv(file: IO[bytes], columns: Columns) -> RowWriter:
    return CsvWriter(file, columns, raw=True)


WRITERS: Mapping[str, Callable[[IO[bytes], Columns], RowWriter]] = {
    "jsonl": JsonlWriter,
    "parquet": _parquet,
    "csv": CsvWriter,
    "raw-csv": _raw_csv,
    "txt": TextWriter,
}


def json_line(row: Row) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def require_free(path: Path, *, force: bool) -> None:
    """Raises ``RunFolderError`` where something is in the way and ``force`` does not allow it."""
    if not force and os.path.lexists(path):
        raise RunFolderError(f"{path} is there already: name another with -o, or pass --force")


def require_place(run: Path, path: Path) -> None:
    """Raises ``UsageError`` where an export would go into the folder of its own run, among files
    that it may be reading.
    """
    if not path.name or run.resolve() in (path.resolve(), *path.resolve().parents):
        raise UsageError(f"{path} is no place for an export of {run}: name one beside it with -o")


def part_of(path: Path) -> Path:
    """A name beside it that nobody else writes to."""
    return path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """A file to write that appears under its name at the end, synced; not at all on an error."""
    require_free(path, force=force)
    if path.is_dir():
        raise RunFolderError(f"{path} is a folder: name a file with -o")
    part = part_of(path)
    with writing_errors(path):
        file = open_private(part)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            require_free(path, force=force)  # it may have come meanwhile
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        sync_folder(path.parent)


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Name what could not be written. Errors of ours say it already."""
    try:
        yield
    except WeaveError:
        raise
    except FileNotFoundError as error:
        raise RunFolderError(f"cannot write {path}: {path.parent} is not there") from error
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
