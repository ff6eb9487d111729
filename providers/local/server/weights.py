"""Files → model and tokenizer, ready on their device. The only module that reads weights.

Safetensors and GGUF only, never a pickle; `trust_remote_code` is off and has no switch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from .errors import InvalidRequest
from .source import DEFAULT_MODEL, WeightsError, WeightsSource
from .vocabulary import Vocabulary


class Codec:
    """Text ↔ token ids. Stateless, so the event loop and the encoding thread may share it."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        # The Rust tokenizer itself: transformers' wrapper sets truncation and padding on it at
        # every call, which fails ("Already borrowed") when another thread is decoding.
        self._rust = tokenizer.backend_tokenizer
        self.vocabulary = Vocabulary(self._rust)

    def encode(self, text: str) -> list[int]:
        """Ids of a bare prompt, with the model's own opening token if it has one."""
        return list(self._rust.encode(text).ids)

    def encode_chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """Ids of a conversation in the model's chat template, open for the assistant's turn."""
        if not self._tokenizer.chat_template:
            raise InvalidRequest("this model has no chat template; use /v1/completions")
        try:
            prompt = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
        except Exception as exc:  # a template may raise anything, mostly about the order of roles
            raise InvalidRequest(
                f"the model's chat template refuses these messages: {exc}", param="messages"
            ) from exc
        return list(self._rust.encode(prompt, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._rust.decode(list(ids), skip_special_tokens=True))


@dataclass(frozen=True, slots=True)
class LoadedModel:
    model: Any
    codec: Codec
    served_name: str
    device: str
    dtype: str
    end_ids: frozenset[int]
    context_tokens: int  # the longest sequence the model was made for
    vocab_size: int


def load(source: WeightsSource, device: str, dtype: str) -> LoadedModel:
    """Blocks for seconds. Raises `WeightsError`, whatever transformers raised."""
    place = _pick_device(device)
    number = _pick_dtype(dtype, place)
    try:
        return _load(source, place, number)
    except WeightsError:
        raise
    except Exception as exc:  # OSError, ValueError, SafetensorError, …: all end the start
        raise WeightsError(
            f"cannot load {source.location!r}: {_first_line(exc)} "
            f"A model is {DEFAULT_MODEL!r}, a folder, a .gguf file, or an id on the hub"
        ) from exc


def _load(source: WeightsSource, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    options: dict[str, Any] = {"trust_remote_code": False}
    if source.gguf_file:
        options["gguf_file"] = source.gguf_file
    tokenizer = AutoTokenizer.from_pretrained(source.location, **options)
    if not tokenizer.is_fast:
        raise WeightsError(f"{source.location} has no fast tokenizer (tokenizer.json)")
    if source.gguf_file:
        options["quantization_config"] = GgufConfig(dequantize=True)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        source.location,
        dtype=dtype,
        attn_implementation=_pick_attention(device),
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    model, report = loaded
    _require_complete(report)
    model = model.to(device).eval()
    return LoadedModel(
        model=model,
        codec=Codec(tokenizer),
        served_name=source.served_name,
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        end_ids=_end_ids(model, tokenizer),
        context_tokens=model.config.get_text_config().max_position_embeddings,
        vocab_size=model.config.get_text_config().vocab_size,
    )


def _require_complete(report: dict[str, Any]) -> None:
    """transformers fills weights it did not find with random numbers, and only warns."""
    missing = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if missing:
        raise WeightsError(
            f"the weights lack {len(missing)} tensors or have them in another shape, "
            f"the first is {missing[0]}; the files are incomplete or belong to another config"
        )


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    ids = set(ends if isinstance(ends, list) else [ends])
    return frozenset(ids | {tokenizer.eos_token_id}) - {None}


def _pick_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise WeightsError(f"device {device!r} asked for, but torch sees no CUDA device")
    try:
        return torch.device(device)
    except RuntimeError as exc:
        raise WeightsError(f"unknown device {device!r}; known: auto, cpu, cuda, cuda:N") from exc


def _pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        fast = device.type != "cpu" or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if fast else torch.float32
    number = getattr(torch, dtype, None)
    if not isinstance(number, torch.dtype) or not number.is_floating_point:
        raise WeightsError(f"unknown dtype {dtype!r}; known: auto, bfloat16, float16, float32")
    return number


def _pick_attention(device: torch.device) -> str:
    """Flash attention only where it is installed: nothing is fetched from the hub at run time."""
    if device.type == "cuda" and importlib.util.find_spec("flash_attn"):
        return "flash_attention_2"
    return "sdpa"


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n", 1)[0] or type(exc).__name__
