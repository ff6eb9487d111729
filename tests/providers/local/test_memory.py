"""What a server will need, told from its files, and what it may take."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from providers.local.gguf_shape import read_shape
from providers.local.memory import (
    BUDGET_VARIABLE,
    PROCESS_BYTES,
    memory_budget,
    needed_bytes,
    resident_bytes,
)
from weave_async.errors import RecipeError

SHAPE = {"num_hidden_layers": 10, "num_attention_heads": 8, "num_key_value_heads": 2}


def need(model: str | Path, **changes: Any) -> int:
    asked = {"device": "cpu", "dtype": "float32", "kv_tokens": 1000, "max_concurrency": 4}
    found = needed_bytes(str(model), **{**asked, **changes})
    assert found is not None
    return found - PROCESS_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"torch_dtype": "bfloat16", "hidden_size": 512, **SHAPE})
    )
    for name in ("a.safetensors", "b.safetensors"):
        (folder / name).write_bytes(b"\0" * 1000)
    return folder


def test_weights_count_in_the_dtype_in_which_they_are_served(folder: Path) -> None:
    kv_numbers = 2 * 10 * 2 * (512 // 8) * 1000
    assert need(folder) == 1000 * 4 + kv_numbers * 4
    assert need(folder, dtype="bfloat16") == 1000 * 2 + kv_numbers * 2
    assert need(folder, dtype="auto") == need(folder)  # whatever it comes to


def test_the_kv_cache_grows_with_concurrency_unless_its_size_is_stated(folder: Path) -> None:
    assert need(folder, kv_tokens=4096) == need(folder, kv_tokens=None, max_concurrency=4)
    assert need(folder, device="cuda:0") == 1000 * 4  # there it is not this memory


def test_a_model_whose_files_do_not_tell_has_no_known_need(folder: Path) -> None:
    options: dict[str, Any] = {
        "device": "cpu", "dtype": "auto", "kv_tokens": None, "max_concurrency": 4,
    }  # fmt: skip
    assert needed_bytes("someone/some-model", **options) is None
    assert needed_bytes("./nowhere", **options) is None
    (folder / "config.json").write_text("[]")
    assert need(folder, kv_tokens=10**9) == 1000 * 4  # at least its weights


def gguf(*entries: tuple[str, int, bytes], count: int | None = None) -> bytes:
    packed = b"".join(
        struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value
        for key, kind, value in entries
    )
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(entries) if count is None else count) + packed


def test_a_gguf_file_tells_its_shape_before_its_vocabulary(tmp_path: Path) -> None:
    tags = struct.pack("<IQ", 8, 1) + struct.pack("<Q", 2) + b"en"
    levels = struct.pack("<IQ", 4, 2) + struct.pack("<II", 1, 2)
    path = tmp_path / "m.Q4_K_M.gguf"
    path.write_bytes(
        gguf(
            ("general.name", 8, struct.pack("<Q", 1) + b"x"),
            ("general.languages", 9, tags),
            ("general.levels", 9, levels),
            ("llama.block_count", 4, struct.pack("<I", 10)),
            ("llama.embedding_length", 10, struct.pack("<Q", 512)),
            ("llama.attention.head_count", 4, struct.pack("<I", 8)),
            ("llama.attention.head_count_kv", 4, struct.pack("<I", 2)),
            ("llama.rope.freq_base", 6, struct.pack("<f", 1e4)),
        )
    )
    assert read_shape(path) == {"hidden_size": 512, **SHAPE}
    weights = path.stat().st_size * 2  # at four bits each
    assert need(path, dtype="float16") == weights * 2 + 2 * 10 * 2 * 64 * 1000 * 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"PK\3\4" + b"\0" * 40,
        gguf(count=2**60),
        gguf(("x", 8, struct.pack("<Q", 2**64 - 1)), count=9),
        gguf(("x", 9, struct.pack("<IQ", 8, 2**60)), count=9),
        gguf(("x", 9, struct.pack("<IQ", 4, 2**60)), count=9),
        gguf(("x", 9, struct.pack("<IQ", 9, 2**60) * 5000), count=9),
        gguf(("x", 77, b"")),
    ],
)
def test_a_hostile_gguf_file_tells_nothing_and_does_no_harm(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    assert read_shape(path) == {}


def test_what_a_process_holds_is_known_for_as_long_as_it_lives() -> None:
    held = resident_bytes(os.getpid())
    assert held is not None
    assert 10**7 < held < 10**11
    with subprocess.Popen(["true"]) as gone:
        pass
    assert resident_bytes(gone.pid) is None


def test_a_stated_budget_wins_over_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUDGET_VARIABLE, "1.5")
    assert str(memory_budget()) == f"{BUDGET_VARIABLE} allows 1.5 GB"
    monkeypatch.delenv(BUDGET_VARIABLE)
    assert "are free" in str(memory_budget())


@pytest.mark.parametrize("nonsense", ["lots", "0", "-1", "nan", "inf"])
def test_a_budget_that_is_no_amount_is_refused(
    nonsense: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BUDGET_VARIABLE, nonsense)
    with pytest.raises(RecipeError, match="number of gigabytes"):
        memory_budget()
