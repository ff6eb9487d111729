"""Files → model and tokenizer, ready on their device. The only module that reads weights.

Safetensors and GGUF only, never a pickle; `trust_remote_code` is off and has no switch.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from .background import in_background
from .checkpoint import Checkpoint, inspect
from .conversion import CacheUnusable, Conversions, look_up
from .errors import InvalidRequest
from .gguf_header import count_weights
from .hub import download
from .machine import free_bytes
from .placement import free_on, pick_attention, pick_device, pick_dtype
from .progress import Progress
from .rendering import TEMPLATE_TIMEOUT_S, ended_in_time
from .source import DEFAULT_MODEL, TooLittleMemory, WeightsError, WeightsSource, one_line
from .vocabulary import Vocabulary

GIB = 1 << 30


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
            with ended_in_time(TEMPLATE_TIMEOUT_S):
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


def load(
    source: WeightsSource,
    device: str,
    dtype: str,
    progress: Progress | None = None,
    looked_up: Future[Conversions] | None = None,
) -> LoadedModel:
    """Blocks for seconds. Raises `WeightsError`, whatever transformers raised.

    `looked_up` is what `look_up(source)` returns, begun by the caller before it imported this.
    """
    place = pick_device(device)
    number = pick_dtype(dtype, place)
    progress = progress or Progress()
    try:
        if source.gguf is not None:
            converted = looked_up or in_background(partial(look_up, source.gguf))
            return _load_gguf(source, source.gguf, converted, place, number, progress)
        folder = source.location or download(source.served_name, progress)
        with progress.step("loading", "reading the weights"):
            return _load_folder(source, folder, place, number, progress)
    except WeightsError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as exc:
        raise TooLittleMemory(f"{source.served_name}: no memory left: {one_line(exc)}") from exc
    except Exception as exc:  # OSError, ValueError, SafetensorError, …: all end the start
        raise _cannot_load(source, exc) from exc


def _cannot_load(source: WeightsSource, exc: Exception) -> WeightsError:
    return WeightsError(
        f"cannot load {str(source.location or source.served_name)!r}: {one_line(exc)} "
        f"A model is {DEFAULT_MODEL!r}, a folder, a .gguf file, or an id on the hub"
    )


def _load_gguf(
    source: WeightsSource,
    gguf: Path,
    converted: Future[Conversions],
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
) -> LoadedModel:
    """By way of the cache: what is read is a folder of safetensors, this time or the next."""
    unpacked: list[tuple[Any, Any]] = []

    def write(entry: Path) -> None:
        try:
            unpacked.append(_unpack(source, gguf, dtype, progress))
        except (
            OSError
        ) as exc:  # of the model and not of the cache, where it would only be a warning
            raise _cannot_load(source, exc) from exc
        for part in unpacked[0]:
            part.save_pretrained(entry)

    name = _name_of(dtype)
    try:
        folder = converted.result().whole.get(name)
        if folder is None:
            with progress.step("converting", f"converting the weights of {gguf.name}, once"):
                folder = converted.result().make(name, write)
            unpacked.clear()
            gc.collect()  # the conversion leaves much of the model in cycles
    except (CacheUnusable, SafetensorError) as exc:
        progress.warn(
            f"the converted weights cannot be kept ({one_line(exc)}): each start converts "
            "them anew; make room there, or name another folder in XDG_CACHE_HOME"
        )
        with progress.step("converting", f"converting the weights of {gguf.name}"):
            model, tokenizer = unpacked[0] if unpacked else _unpack(source, gguf, dtype, progress)
        return _loaded(source, model, tokenizer, device, dtype)
    with progress.step("loading", "reading the weights"):
        return _load_folder(source, folder, device, dtype, progress)


def _unpack(
    source: WeightsSource, gguf: Path, dtype: torch.dtype, progress: Progress
) -> tuple[Any, Any]:
    """transformers' own reading of a GGUF: slow, because it parses the file thrice, in Python."""
    # It unpacks everything to float32 before it rounds to `dtype`.
    _require_room(source, count_weights(gguf) * (4 + dtype.itemsize), dtype, free_bytes())
    where = {"gguf_file": gguf.name, "trust_remote_code": False}
    unpacked: Any = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        dtype=dtype,
        quantization_config=GgufConfig(dequantize=True),
        output_loading_info=True,
        **where,
    )
    model, report = unpacked
    _require_complete(report, progress)
    return model, AutoTokenizer.from_pretrained(str(gguf.parent), **where)


def _load_folder(
    source: WeightsSource,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
) -> LoadedModel:
    config = _read_config(inspect(folder))
    _require_room(source, _count_bytes(config, dtype), dtype, free_on(device))
    tokenizer = _read_tokenizer(folder)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        str(folder),
        config=config,
        dtype=dtype,
        attn_implementation=pick_attention(device),
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # not ignored: `_require_complete` says which
        trust_remote_code=False,
        local_files_only=True,
    )
    model, report = loaded
    _require_complete(report, progress)
    return _loaded(source, model, tokenizer, device, dtype)


def _loaded(
    source: WeightsSource, model: Any, tokenizer: Any, device: torch.device, dtype: torch.dtype
) -> LoadedModel:
    model = model.to(device).eval()
    text_config = model.config.get_text_config()
    return LoadedModel(
        model=model,
        codec=Codec(tokenizer),
        served_name=source.served_name,
        device=str(device),
        dtype=_name_of(dtype),
        end_ids=_end_ids(model, tokenizer),
        context_tokens=text_config.max_position_embeddings,
        vocab_size=text_config.vocab_size,
    )


def _read_config(checkpoint: Checkpoint) -> Any:
    """The architecture must be transformers' own: code that comes with a model is never run."""
    path = checkpoint.folder / "config.json"
    if checkpoint.model_type not in CONFIG_MAPPING:
        raise WeightsError(
            f"{path}: model_type {checkpoint.model_type!r} is no architecture of transformers "
            f"{transformers.__version__}; code in the model's own folder is not run"
        )
    if checkpoint.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise WeightsError(f"{path}: a model of type {checkpoint.model_type!r} generates no text")
    try:
        return AutoConfig.from_pretrained(str(checkpoint.folder), trust_remote_code=False)
    except Exception as exc:  # each field has checks of its own there
        raise WeightsError(f"{path}: {one_line(exc)}; correct it or download it again") from exc


def _read_tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=False, local_files_only=True
        )
    except Exception as exc:  # the Rust library raises bare Exceptions
        raise WeightsError(
            f"cannot read the tokenizer in {folder} (tokenizer.json, tokenizer_config.json): "
            f"{one_line(exc)}; download it again"
        ) from exc
    if not tokenizer.is_fast:
        raise WeightsError(f"{folder} has no fast tokenizer (tokenizer.json)")
    return tokenizer


def _count_bytes(config: Any, dtype: torch.dtype) -> int:
    """What the config asks for, whatever the files hold; a model on `meta` takes no memory."""
    try:
        with torch.device("meta"):
            model: torch.nn.Module = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, attn_implementation="sdpa", trust_remote_code=False
            )
    except Exception as exc:  # whatever the architecture's own code makes of the numbers in there
        raise WeightsError(
            f"config.json does not describe a model that can be built: {one_line(exc)}; "
            "correct it or download it again"
        ) from exc
    return dtype.itemsize * sum(parameter.numel() for parameter in model.parameters())


def _require_room(
    source: WeightsSource, num_bytes: int, dtype: torch.dtype, free: int | None
) -> None:
    if free is not None and num_bytes > free:
        raise TooLittleMemory(
            f"{source.served_name} needs about {num_bytes / GIB:.1f} GiB as {_name_of(dtype)}, "
            f"{free / GIB:.1f} GiB are free; end other programs, raise the container's limit, "
            "or serve a smaller model"
        )


def _require_complete(report: dict[str, Any], progress: Progress) -> None:
    """transformers fills weights it did not find with random numbers, and only warns."""
    wrong = [f"{name} is missing" for name in sorted(report["missing_keys"])]
    wrong += [
        f"{name} is {tuple(found)} where config.json makes it {tuple(expected)}"
        for name, found, expected in sorted(report["mismatched_keys"])
    ]
    if wrong:
        raise WeightsError(
            f"the weights lack {len(wrong)} tensors or have them in another shape, the first: "
            f"{wrong[0]}; the files are incomplete or belong to another config"
        )
    unused = sorted(report["unexpected_keys"])
    if unused:
        progress.warn(
            f"{len(unused)} tensors have no place in the model that config.json describes, the "
            f"first is {unused[0]}: should the text be poor, the two do not belong together"
        )


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    ids = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None}
    if not all(isinstance(end, int) for end in ids):
        raise WeightsError(f"generation_config.json: eos_token_id is {ends!r}, not ids of tokens")
    return frozenset(ids)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
