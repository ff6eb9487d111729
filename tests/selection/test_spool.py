"""Records on disk."""

from __future__ import annotations

import errno
import gc
import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from weave_async.errors import StorageError
from weave_async.selection.spool import Spool


def test_records_come_back_from_memory_and_from_disk() -> None:
    spool, rng = Spool(), Random(1)
    records = [rng.randbytes(rng.randrange(50_000)) for _ in range(100)]
    offsets = []
    for record in records:
        offsets.append(spool.append(record))
        assert spool.read(offsets[-1], len(record)) == record
    for offset, record in zip(offsets, records, strict=True):
        assert spool.read(offset, len(record)) == record


def _num_open_in(folder: Path) -> int:
    num = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            num += str(folder) in os.readlink(f"/proc/self/fd/{name}")
    return num


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool()
    spool.append(b"x" * 1_000_000)
    assert _num_open_in(tmp_path) == 1
    assert not list(tmp_path.iterdir())
    del spool
    gc.collect()
    assert _num_open_in(tmp_path) == 0


def test_a_disk_that_is_full_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(StorageError, match=f"cannot write {tempfile.gettempdir()}: No space left"):
        Spool().append(b"x" * 1_000_000)
