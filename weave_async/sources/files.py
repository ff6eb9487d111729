"""Opening a source, and telling its format by its name."""

from __future__ import annotations

import codecs
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from weave_async.errors import InputError

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".txt": "text",
    ".text": "text",
}
"""File name ending → name of the source in the registry."""


def format_of(path: Path) -> str:
    """The source that reads this file, by its ending."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(FORMATS)
        raise InputError(
            f"{path}: unknown ending {path.suffix or '(none)'!r}. Known: {known}"
        ) from None


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """A file open for reading, past its byte-order mark if it has one."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in its name
        raise InputError(f"cannot read {path}: {error}") from error
    with file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        yield file


def spool(stream: IO[bytes], folder: Path) -> Path:
    """Copy a stream, which can be read only once, into a file that a source can read again.

    A first line that begins with ``{`` means JSON Lines, anything else is text.
    """
    first = stream.readline()
    is_jsonl = first.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    path = folder / ("stdin.jsonl" if is_jsonl else "stdin.txt")
    with path.open("wb") as file:
        file.write(first)
        shutil.copyfileobj(stream, file)
    return path
