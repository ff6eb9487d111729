"""The cache of converted models: what counts as whole, and who may be in whose way."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from providers.local.server.conversion import (
    SIDECAR,
    CacheUnusable,
    Conversions,
    cache_folder,
    look_up,
)

from .conftest import REPOSITORY


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "some.gguf"
    path.write_bytes(b"GGUF and so on")
    return path


def write(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")


def refuse(folder: Path) -> None:
    pytest.fail("it should not have been converted again")


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_what_was_made_once_is_found_whole_and_not_made_again(gguf: Path) -> None:
    assert look_up(gguf).whole == {}
    entry = look_up(gguf).make("float32", write)
    assert (entry / "model.safetensors").read_bytes() == b"weights"
    again = look_up(gguf)
    assert again.whole == {"float32": entry}
    assert again.make("float32", refuse) == entry
    assert everything_in(entry.parent) == [entry.name]


def test_other_bytes_or_another_dtype_are_another_entry(gguf: Path) -> None:
    made = {look_up(gguf).make("float32", write), look_up(gguf).make("bfloat16", write)}
    gguf.write_bytes(b"GGUF and so on.")
    assert look_up(gguf).whole == {}
    made.add(look_up(gguf).make("float32", write))
    assert len(made) == 3


def flip_a_bit(entry: Path) -> None:
    (entry / "model.safetensors").write_bytes(b"weighTs")


def lose_a_file(entry: Path) -> None:
    (entry / "config.json").unlink()


def gain_a_file(entry: Path) -> None:
    (entry / "tokenizer.json").write_text("{}")


def lose_the_sidecar(entry: Path) -> None:
    (entry / SIDECAR).unlink()


def spoil_the_sidecar(entry: Path) -> None:
    (entry / SIDECAR).write_text(json.dumps({"files": [1, 2]}))


@pytest.mark.parametrize(
    "damage", [flip_a_bit, lose_a_file, gain_a_file, lose_the_sidecar, spoil_the_sidecar]
)
def test_a_damaged_entry_is_thrown_away_and_made_anew(
    gguf: Path, damage: Callable[[Path], None]
) -> None:
    entry = look_up(gguf).make("float32", write)
    damage(entry)
    found = look_up(gguf)
    assert found.whole == {}
    assert everything_in(entry.parent) == []
    assert found.make("float32", write) == entry
    assert look_up(gguf).whole == {"float32": entry}


def test_a_conversion_that_fails_leaves_nothing(gguf: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise ValueError("a tensor of a kind that nobody knows")

    found = look_up(gguf)
    with pytest.raises(ValueError, match="nobody knows"):
        found.make("float32", fail)
    assert everything_in(found.folder) == []


def test_a_process_that_dies_half_way_leaves_nothing_that_counts(gguf: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DYING, str(gguf)], cwd=REPOSITORY, check=False)
    assert done.returncode == 9
    found = look_up(gguf)
    assert len(everything_in(found.folder)) == 1
    assert found.whole == {}
    entry = found.make("float32", write)
    assert everything_in(found.folder) == [entry.name]  # what it left is swept


DYING = """
import os, pathlib, sys
from providers.local.server.conversion import look_up

def write(folder):
    (folder / "model.safetensors").write_bytes(b"wei")
    os._exit(9)

look_up(pathlib.Path(sys.argv[1])).make("float32", write)
"""


def test_of_two_at_once_one_converts_and_the_other_waits_for_it(gguf: Path) -> None:
    at_work = threading.Event()
    other_looked = threading.Event()
    entries: list[Path] = []

    def slowly(folder: Path) -> None:
        at_work.set()
        assert other_looked.wait(10)
        write(folder)

    def make_second(found: Conversions) -> None:
        other_looked.set()
        entries.append(found.make("float32", refuse))

    first = threading.Thread(target=lambda: entries.append(look_up(gguf).make("float32", slowly)))
    first.start()
    assert at_work.wait(10)
    second = threading.Thread(target=make_second, args=[look_up(gguf)])
    second.start()
    for thread in (first, second):
        thread.join(10)
    assert len(entries) == 2
    assert entries[0] == entries[1]


def test_a_cache_that_cannot_be_written_is_said_so(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    with pytest.raises(CacheUnusable, match=r"file.* directory"):
        look_up(gguf).make("float32", write)


def test_a_full_disk_leaves_nothing(gguf: Path) -> None:
    def fill_the_disk(folder: Path) -> None:
        write(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    found = look_up(gguf)
    with pytest.raises(CacheUnusable, match="No space left"):
        found.make("float32", fill_the_disk)
    assert everything_in(found.folder) == []


@pytest.mark.parametrize("value", ["", "relative/cache"])
def test_a_cache_home_that_is_no_absolute_path_is_ignored(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "weave-async" / "models"
