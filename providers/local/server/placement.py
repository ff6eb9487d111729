"""Where the model goes, in which numbers, and whether there is room. The names were checked before:
see `source.require_known`."""

from __future__ import annotations

import importlib.util

import torch

from .machine import free_bytes
from .source import WeightsError


def pick_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise WeightsError(f"device {device!r} asked for, but torch sees no CUDA device")
    place = torch.device(device)
    if place.index is not None and place.index >= torch.cuda.device_count():
        raise WeightsError(
            f"device {device!r} asked for, but torch sees {torch.cuda.device_count()}"
        )
    return place


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    number: torch.dtype = getattr(torch, dtype)
    return number


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 has instructions of its own there. Elsewhere a CPU emulates it, slowly.

    Asked of the CPU, not timed: a busy machine would serve another dtype at each start.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def pick_attention(device: torch.device) -> str | None:
    """Flash attention only where it is installed: nothing is fetched from the hub at run time.

    None leaves it to transformers: torch's own wherever the architecture takes it.
    """
    if device.type == "cuda" and importlib.util.find_spec("flash_attn"):
        return "flash_attention_2"
    return None


def free_on(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_bytes()
