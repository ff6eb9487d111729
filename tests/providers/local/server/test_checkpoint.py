"""Model folders that lie: each is refused by name, before anything is loaded."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from providers.local.server.checkpoint import inspect
from providers.local.server.source import WeightsError, find

TENSOR = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def safetensors(header: Any, num_bytes: int = 16, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(num_bytes)


def test_a_whole_folder_passes_and_names_its_architecture(folder: Path) -> None:
    assert inspect(folder).model_type == "llama"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "header of None bytes"),
        (b"\x01\x02", "header of None bytes"),
        (safetensors({"a": TENSOR}, length=2**63), "header of 9223372036854775808 bytes"),
        (safetensors({"a": TENSOR}, length=10_000), "header of 10000 bytes"),
        (safetensors(b"{nonsense}"), "not JSON"),
        (safetensors(b"\xff\xfe{}"), "not JSON"),
        (safetensors(b"[" * 100_000), "not JSON"),
        (safetensors([1]), "not a JSON object"),
        (safetensors(b'{"a":%b,"a":%b}' % ((json.dumps(TENSOR).encode(),) * 2)), "twice"),
        (safetensors({"a": TENSOR, "b": TENSOR}), "overlaps"),
        (safetensors({"a": TENSOR | {"data_offsets": [8, 24]}}, 24), "overlaps .* or leaves a gap"),
        (safetensors({"a": TENSOR}, 8), "8 bytes of tensors, where 16"),
        (safetensors({"a": TENSOR}, 17), "17 bytes of tensors, where 16"),
        (safetensors({"a": TENSOR | {"shape": [2**62, 2**62]}}), "does not fill its bytes"),
        (safetensors({"a": TENSOR | {"shape": [-2, -2]}}), "tensor 'a' is"),
        (safetensors({"a": TENSOR | {"shape": "22"}}), "tensor 'a' is"),
        (safetensors({"a": TENSOR | {"dtype": "PICKLE"}}), "tensor 'a' is"),
        (safetensors({"a": TENSOR | {"dtype": [1]}}), "tensor 'a' is"),
        (safetensors({"a": TENSOR | {"data_offsets": [16, 0]}}), "does not fill its bytes"),
        (safetensors({"a": TENSOR | {"data_offsets": [0.0, 16.0]}}), "tensor 'a' is"),
        (safetensors({"a": 7}), "tensor 'a' is"),
        (pickle.dumps({"a": 1}), "header of"),
    ],
)
def test_a_hostile_safetensors_file_is_refused(
    folder: Path, content: bytes, complaint: str
) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=complaint) as refusal:
        inspect(folder)
    assert "model.safetensors is damaged" in str(refusal.value)
    assert len(str(refusal.value)) < 600


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="bytes of tensors, where"):
        inspect(folder)


def split(folder: Path, index: Any) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model.safetensors.index.json").write_text(text)


def test_shards_that_an_index_names_are_checked_too(folder: Path) -> None:
    split(folder, {"weight_map": {"a": "model-1.safetensors"}})
    assert inspect(folder).model_type == "llama"
    (folder / "model-1.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"model-1.safetensors is damaged"):
        inspect(folder)


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ({}, "weight_map is not"),
        ({"weight_map": {}}, "weight_map is not"),
        ({"weight_map": ["model-1.safetensors"]}, "weight_map is not"),
        ({"weight_map": {"a": "model-2.safetensors"}}, "model-2.safetensors is missing"),
        ({"weight_map": {"a": "../model-1.safetensors"}}, "not a .safetensors file beside it"),
        ({"weight_map": {"a": "/etc/model.safetensors"}}, "not a .safetensors file beside it"),
        ({"weight_map": {"a": "pytorch_model.bin"}}, "not a .safetensors file beside it"),
        ({"weight_map": {"a": None}}, "not a .safetensors file beside it"),
        ({"weight_map": {"a": "x" * 100_000}}, "not a .safetensors file beside it"),
    ],
)
def test_an_index_names_nothing_but_safetensors_beside_it(
    folder: Path, index: Any, complaint: str
) -> None:
    split(folder, index)
    with pytest.raises(WeightsError, match=complaint):
        inspect(folder)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_type": None}, "model_type is None"),
        ({"model_type": 7}, "model_type is 7"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"hidden_size": 10**9}, "hidden_size is 1000000000, not a whole number from 1 to 1048576"),
        ({"hidden_size": 1.5}, "hidden_size is 1.5"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers is 1000000000000"),
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"text_config": {"hidden_size": 10**9}}, "hidden_size is 1000000000"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config are not read"),
    ],
)
def test_a_config_that_cannot_be_is_refused(
    folder: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(WeightsError, match=complaint):
        inspect(folder)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xff", b"[" * 100_000])
def test_files_that_are_not_json_objects_are_refused(
    folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} is not "):
        inspect(folder)


def test_a_folder_without_a_config_or_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match="has no tokenizer"):
        inspect(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"cannot read .*config.json: No such file"):
        inspect(folder)


@pytest.mark.parametrize("name", ["weights.bin", "weights.pt", "weights.safetensors"])
def test_a_lone_file_that_is_no_gguf_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"trap")
    with pytest.raises(WeightsError, match="is a file that is not read"):
        find(str(tmp_path / name))
