"""A dataset's folder, as `datasets` and the Hugging Face Hub read it: shards by split, and a card.

::

    FOLDER/
    ├── README.md                     the card
    ├── export.json                   counts, for programs
    └── data/
        ├── train-00000-of-00002.parquet
        └── validation-00000-of-00001.parquet
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import orjson

from weave_async.errors import RunFolderError
from weave_async.export.card import card
from weave_async.export.files import RowWriter, part_of, require_free, require_place, writing_errors
from weave_async.export.making import Export, To
from weave_async.rundir import open_private, sync_folder

SHARD_ROWS = 100_000
"""Rows in one file: some 100 MB of short conversations, which a viewer can still open."""
CARD, COUNTS, DATA = "README.md", "export.json", "data"
_SHARD = re.compile(r"(train|validation)-\d{5}-of-\d{5}\.[a-z]+")


class Shards:
    """The files of one split. Their names say how many there are, so they get them at the end."""

    def __init__(self, folder: Path, split: str, suffix: str) -> None:
        self._folder, self._split, self._suffix = folder, split, suffix
        self._paths = list[Path]()
        self._file: IO[bytes] | None = None
        self._writer: RowWriter | None = None
        self._rows = 0

    def __repr__(self) -> str:
        return f"<Shards {self._split}, {len(self._paths)} files>"

    def write(self, row: Mapping[str, Any], make: Callable[[IO[bytes]], RowWriter]) -> None:
        if self._writer is None or self._rows == SHARD_ROWS:
            self.finish()
            path = self._folder / f"{self._split}-{len(self._paths):05d}{self._suffix}"
            self._file = open_private(path)
            self._writer, self._rows = make(self._file), 0
            self._paths.append(path)
        self._writer.write(row)
        self._rows += 1

    def finish(self) -> None:
        if self._file is None or self._writer is None:
            return
        with self._file:
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file = self._writer = None

    def close(self) -> None:
        """Stop where it is; what was written is of no use."""
        if self._writer is not None:
            self._writer.abandon()
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def name_all(self) -> None:
        for number, path in enumerate(self._paths):
            name = f"{self._split}-{number:05d}-of-{len(self._paths):05d}{self._suffix}"
            os.replace(path, self._folder / name)


def to_folder(export: Export, path: Path, to: To) -> None:
    """Shards and a card in a folder that appears whole. Raises ``RunFolderError`` where something
    is in its place; ``force`` replaces an export, and nothing else.
    """
    force = export.wanted.force
    require_place(export.rows.folder.path, path)
    require_free(path, force=force)
    if os.path.lexists(path) and not _is_export(path):
        raise RunFolderError(f"{path} is there and is no export of ours: name another with -o")
    make = export.writer_of(to)
    export.divide()
    part = part_of(path)
    with writing_errors(path):
        try:
            (part / DATA).mkdir(parents=True, mode=0o700)
            _fill(export, part, to, make)
            require_free(path, force=force)
            _take_place(part, path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _fill(export: Export, part: Path, to: To, make: Callable[[IO[bytes]], RowWriter]) -> None:
    splits = ("train", "validation") if export.split else ("train",)
    shards = {name: Shards(part / DATA, name, f".{to}") for name in splits}
    try:
        for name, record in export.records():
            shards[name].write(record, make)
        for each in shards.values():
            each.finish()
            each.name_all()
    finally:
        for each in shards.values():
            each.close()
    _write(part / CARD, card(export, to).encode())
    _write(part / COUNTS, orjson.dumps(counts(export), option=orjson.OPT_INDENT_2) + b"\n")
    sync_folder(part / DATA)
    sync_folder(part)


def counts(export: Export) -> dict[str, Any]:
    """What was written and what was not, for programs."""
    return {
        "format": export.wanted.format,
        "rows": dict(export.num_rows),
        "left_out": dict(+Counter(export.left_out)),
        "models": dict(export.models),
        "reviews": export.rows.applied.as_dict(),
    }


def _write(path: Path, content: bytes) -> None:
    with open_private(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _is_export(path: Path) -> bool:
    """Whether nothing would be lost that an export has not written."""
    return (
        path.is_dir()
        and not path.is_symlink()
        and (path / COUNTS).is_file()
        and (path / DATA).is_dir()
        and set(os.listdir(path)) <= {CARD, COUNTS, DATA}
        and all(map(_SHARD.fullmatch, os.listdir(path / DATA)))
    )


def _take_place(part: Path, path: Path) -> None:
    """A folder cannot be renamed over one that holds something: the old one steps aside first."""
    old = part.with_suffix(".old")
    if path.exists():
        os.rename(path, old)
    try:
        os.rename(part, path)
    except OSError:
        if old.exists():
            os.rename(old, path)
        raise
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)
