"""What a model folder claims to hold, checked before anything is loaded or memory is taken.

Symbolic links are followed, out of the folder too: the hub's own cache is made of them, and whoever
names a folder trusts what lies in it. Names *in* files are not: an index can name nothing but
.safetensors files beside it.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .source import WeightsError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model")
MAX_JSON_BYTES = 100_000_000  # tokenizers and indices run to some tens of megabytes
MAX_HEADER_BYTES = 100_000_000  # what the safetensors library itself allows
# Bits of one number, by the name that a header has for its type.
DTYPE_BITS: Mapping[str, int] = {
    name: bits
    for bits, names in {
        4: ("F4",),
        6: ("F6_E2M3", "F6_E3M2"),
        8: ("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
        16: ("U16", "I16", "F16", "BF16"),
        32: ("U32", "I32", "F32"),
        64: ("U64", "I64", "F64", "C64"),
    }.items()
    for name in names
}
# Far above any model that exists, and low enough that counting its tensors is quick.
LARGEST: Mapping[str, int] = {
    "hidden_size": 1 << 20,
    "intermediate_size": 1 << 24,
    "num_hidden_layers": 1 << 12,
    "num_attention_heads": 1 << 16,
    "num_key_value_heads": 1 << 16,
    "num_local_experts": 1 << 14,
    "num_experts": 1 << 14,
    "head_dim": 1 << 16,
    "vocab_size": 1 << 26,
    "max_position_embeddings": 1 << 30,
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    folder: Path
    model_type: str


def inspect(folder: Path) -> Checkpoint:
    """Reads config.json and the header of each weights file; raises `WeightsError`."""
    for path in _weights_files(folder):
        _check_safetensors(path)
    config = _read_json(folder / "config.json")
    for name in ("generation_config.json", "tokenizer_config.json"):
        if (folder / name).exists():
            _read_json(folder / name)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise WeightsError(
            f"{folder} has no tokenizer (none of {', '.join(TOKENIZERS)}); "
            "copy it from where the weights come from"
        )
    return Checkpoint(folder, _check_config(folder / "config.json", config))


def _check_config(path: Path, config: dict[str, Any]) -> str:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise WeightsError(f"{path}: model_type is {model_type!r}, not the name of an architecture")
    if config.get("quantization_config") is not None:
        raise WeightsError(
            f"{path}: weights with a quantization_config are not read, they need libraries or code "
            "of their own; take the model's unquantized weights, or a GGUF of it"
        )
    for part in (config, *(v for k, v in config.items() if k.endswith("_config"))):
        if not isinstance(part, dict):
            continue
        for name, largest in LARGEST.items():
            size = part.get(name)
            if size is None:
                continue
            if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= largest:
                raise WeightsError(
                    f"{path}: {name} is {_short(size)}, not a whole number from 1 to {largest}"
                )
    return model_type


def _weights_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise WeightsError(
            f"folder {folder} holds no {WEIGHTS} and no {INDEX}; other formats (.bin, .pt) are "
            "not read, because they can run code: convert the weights first"
        )
    shard_of = _read_json(folder / INDEX).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise WeightsError(f"{folder / INDEX}: weight_map is not an object that names files")
    shards = []
    for name in sorted({str(name) for name in shard_of.values()}):
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
            raise WeightsError(
                f"{folder / INDEX}: weight_map names {_short(name)}, "
                "which is not a .safetensors file beside it"
            )
        if not (folder / name).is_file():
            raise WeightsError(
                f"{folder / name} is missing, though {INDEX} names it; download it again"
            )
        shards.append(folder / name)
    return shards


def _check_safetensors(path: Path) -> None:
    """The header's claims against the file: https://huggingface.co/docs/safetensors#format"""
    num_bytes = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else None
        if length is None or length > min(MAX_HEADER_BYTES, num_bytes - 8):
            raise _damaged(path, f"a header of {length} bytes in a file of {num_bytes}")
        header = file.read(length)
    try:
        tensors = json.loads(header, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as exc:
        raise _damaged(path, f"its header is not JSON: {exc}") from exc
    if not isinstance(tensors, dict):
        raise _damaged(path, "its header is not a JSON object")
    tensors.pop("__metadata__", None)
    end = 0
    for begin, finish, name in sorted(_span(path, name, t) for name, t in tensors.items()):
        if begin != end:
            raise _damaged(path, f"tensor {_short(name)} overlaps another one, or leaves a gap")
        end = finish
    if end != num_bytes - 8 - length:
        raise _damaged(path, f"{num_bytes - 8 - length} bytes of tensors, where {end} were said")


def _span(path: Path, name: str, tensor: Any) -> tuple[int, int, str]:
    try:
        bits = DTYPE_BITS[tensor["dtype"]]
        shape, (begin, end) = tensor["shape"], tensor["data_offsets"]
        numbers = [*shape, begin, end]
    except (KeyError, TypeError, ValueError) as exc:
        raise _damaged(path, f"tensor {_short(name)} is {_short(tensor)}") from exc
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers):
        raise _damaged(path, f"tensor {_short(name)} is {_short(tensor)}")
    if math.prod(shape) * bits != (end - begin) * 8:
        raise _damaged(path, f"tensor {_short(name)} does not fill its bytes: {_short(tensor)}")
    return begin, end, name


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path} is damaged or not a safetensors file: {what}; download it again")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise WeightsError(f"{path} has more than {MAX_JSON_BYTES} bytes")
        found = json.loads(path.read_bytes())
    except OSError as exc:
        raise WeightsError(f"cannot read {path}: {exc.strerror}; a model has this file") from exc
    except (ValueError, RecursionError) as exc:
        raise WeightsError(f"{path} is not JSON: {exc}; download it again") from exc
    if not isinstance(found, dict):
        raise WeightsError(f"{path} is not a JSON object; download it again")
    return found


def _short(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 100 else f"{text[:100]}…"
