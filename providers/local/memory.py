"""How much memory a model's server will need, and how much there is: both before it is started.

The need is an estimate from the sizes of files, on the high side: weights in their dtype, the KV
cache when it is full, and the process with its libraries. The server itself counts exactly, but
only when it loads, and then knows nothing of the servers that load beside it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import RecipeError

from .gguf_shape import read_shape
from .server.machine import free_bytes
from .server.source import WeightsError, find

BUDGET_VARIABLE = "WEAVE_ASYNC_LOCAL_MEMORY_GB"
"""From the environment, and no option of an endpoint: the machine is one for all of them, and how
much of it is free changes no answer."""
GB = 1_000_000_000
PROCESS_BYTES = 600_000_000
"""Python, torch and transformers, and what one step works on: measured, for small models."""
KV_TOKENS_EACH = 1024
"""What the server gives a concurrent sequence unless told otherwise."""
_BYTES_EACH = {"float16": 2, "bfloat16": 2, "float32": 4, "auto": 4}
"""Of one number. What ``auto`` comes to, only torch can tell: it is counted at its worst."""
_GPU = Path("/dev/nvidiactl")


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory for all servers of one process together. ``is_stated``: by a person, not measured."""

    num_bytes: int
    is_stated: bool

    def __str__(self) -> str:
        if self.is_stated:
            return f"{BUDGET_VARIABLE} allows {self.num_bytes / GB:.1f} GB"
        return f"{self.num_bytes / GB:.1f} GB are free"


def memory_budget() -> Budget | None:
    """What a person has stated, else what is free now; ``None`` where the system does not say."""
    if stated := os.environ.get(BUDGET_VARIABLE):
        return Budget(_stated_bytes(stated), is_stated=True)
    free = free_bytes()
    return None if free is None else Budget(free, is_stated=False)


def _stated_bytes(stated: str) -> int:
    try:
        gigabytes = float(stated)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < float("inf"):
        raise RecipeError(f"{BUDGET_VARIABLE} is a number of gigabytes above 0, not {stated!r}")
    return int(gigabytes * GB)


def resident_bytes(pid: int) -> int | None:
    """Memory that a process holds now; ``None`` where it has gone, or the system does not say."""
    try:
        held = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(held[1]) * 1024 if held else None


def needed_bytes(
    model: str, *, device: str, dtype: str, kv_tokens: int | None, max_concurrency: int
) -> int | None:
    """What a server of this model may take, at most; ``None`` where its files do not tell.

    On a GPU, weights only pass through this memory, one file after the other at the most.
    """
    try:
        source = find(model)
    except WeightsError:  # the server will say so, in better words
        return None
    if source.location is None:
        return None  # to be fetched, or in a cache that only its library knows
    config = _shape_of(source.location)
    each = _BYTES_EACH.get(dtype, 4)
    num_bytes = PROCESS_BYTES + int(_num_weights(source.location, config) * each)
    if device.startswith("cuda") or (device == "auto" and _GPU.exists()):
        return num_bytes
    tokens = kv_tokens or max_concurrency * KV_TOKENS_EACH
    return num_bytes + tokens * _kv_numbers_per_token(config) * each


def _num_weights(location: Path, config: dict[str, Any]) -> float:
    if location.is_file():
        # Q4_K_M → 4 bits at least, F16 → 16; blocks carry their scales besides.
        bits = re.findall(r"(?:Q|BF|F)(\d+)", location.name.upper())
        return location.stat().st_size * 8 / int(bits[-1] if bits else 4)
    stored = config.get("dtype") or config.get("torch_dtype")
    size = sum(file.stat().st_size for file in location.glob("*.safetensors"))
    return size / _BYTES_EACH.get(str(stored), 2)


def _shape_of(location: Path) -> dict[str, Any]:
    """The numbers of its config, by transformers' names; empty where they cannot be read."""
    if location.is_file():
        return dict(read_shape(location))
    try:
        config = orjson.loads((location / "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):  # the server will say so
        return {}
    found = config if isinstance(config, dict) else {}
    inner = found.get("text_config")
    return {**found, **inner} if isinstance(inner, dict) else found


def _kv_numbers_per_token(config: dict[str, Any]) -> int:
    """Keys and values of one token in all layers. 0 where the shape is not known."""
    layers, heads = _int(config, "num_hidden_layers"), _int(config, "num_attention_heads")
    head_dim = _int(config, "head_dim") or _int(config, "hidden_size") // max(1, heads)
    return 2 * layers * (_int(config, "num_key_value_heads") or heads) * head_dim


def _int(config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) and value > 0 else 0
