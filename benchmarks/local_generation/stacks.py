"""Who is measured, how each is started, and why one is left out."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_generation.child_loop import InProcess
from local_generation.load import BATCH_TOKENS, SLOT_TOKENS
from local_generation.served import Served
from processes import clean_environment

OURS = "weave-async"
SERVE_PAGE_TOKENS = 256  # fixed, as of transformers 5.23
QUIET = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}
RunningStack = InProcess | Served


class LeftOut(Exception):
    """A stack that is not installed; ``str`` of it says how to get it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the stacks are started with. ``folder`` holds the converted weights."""

    folder: Path
    gguf: Path | None
    our_model: str
    threads: int
    max_concurrency: int
    is_streamed: bool
    timeout_s: float
    openvino_python: str | None = None
    vllm: str | None = None
    llama_server: str | None = None

    def environment(self, **more: str) -> dict[str, str]:
        threads = str(self.threads)
        return {**clean_environment(), **QUIET, "OMP_NUM_THREADS": threads, **more}


@dataclass(frozen=True, slots=True)
class Stack:
    """``start`` is given a folder of its own. ``batch``: the one concurrency that it has."""

    name: str
    start: Callable[[Setting, Path], RunningStack]
    path: str = "in process"
    batch: int | None = None

    def concurrencies(self, asked: Sequence[int]) -> Sequence[int]:
        return asked if self.batch is None else [self.batch]


# --- in process ----------------------------------------------------------------------------------


def _torch(dtype: str, batch: int) -> Callable[[Setting, Path], RunningStack]:
    def start(setting: Setting, folder: Path) -> RunningStack:
        program = [sys.executable, "-m", "local_generation.torch_child", str(setting.folder)]
        program += ["--dtype", dtype, "--batch", str(batch), "--threads", str(setting.threads)]
        return InProcess(program, folder, setting.environment(), setting.timeout_s)

    return start


def _openvino(setting: Setting, folder: Path) -> RunningStack:
    if setting.openvino_python is None:
        raise LeftOut(
            "pip install openvino-genai into an environment of its own, then --openvino-python"
        )
    program = [setting.openvino_python, "-m", "local_generation.openvino_child", _gguf(setting)]
    program += ["--threads", str(setting.threads)]
    program += ["--max-concurrency", str(setting.max_concurrency)]
    environment = setting.environment()
    environment.pop("PYTHONPATH", None)  # of this Python, not of that
    return InProcess(program, folder, environment, setting.timeout_s)


# --- over HTTP -----------------------------------------------------------------------------------


def ours(name: str = OURS, options: str = "") -> Stack:
    """``weave-async serve``, with more of its options where given."""

    def start(setting: Setting, folder: Path) -> RunningStack:
        command = [sys.executable, "-m", "weave_async.cli", "serve", "--port", "{port}"]
        command += ["--model", setting.our_model, "--threads", str(setting.threads)]
        command += ["--concurrency", str(setting.max_concurrency), *shlex.split(options)]
        precision = re.compile(r" as (\w[^,\n]*)")
        return _served(setting, folder, command, precision, {"ignore_eos": True})

    return Stack(name, start, "HTTP")


def _transformers_serve(setting: Setting, folder: Path) -> RunningStack:
    program = Path(sys.executable).with_name("transformers")
    if not program.exists() or shutil.which("uvicorn", path=str(program.parent)) is None:
        raise LeftOut("pip install 'weave-async[peers]'")
    command = [str(program), "serve", str(setting.folder), "--continuous-batching"]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--device", "cpu"]
    num_pages = setting.max_concurrency * SLOT_TOKENS // SERVE_PAGE_TOKENS
    command += ["--cb-num-blocks", str(num_pages), "--cb-max-batch-tokens", str(BATCH_TOKENS)]
    # It reads a whole generation config, and nothing else makes it sample.
    config = {"do_sample": True, "top_k": 0, "eos_token_id": -1, "pad_token_id": 0}
    options = {"model": str(setting.folder), "generation_config": json.dumps(config)}
    return _served(setting, folder, [*command, "--dtype", "bfloat16"], "bfloat16", options)


def _llama_server(setting: Setting, folder: Path) -> RunningStack:
    program = setting.llama_server or shutil.which("llama-server")
    if program is None:
        raise LeftOut("build llama.cpp's server (target llama-server), then --llama-server")
    slots, threads = str(setting.max_concurrency), str(setting.threads)
    path = _gguf(setting)
    command = [program, "--model", path, "--host", "127.0.0.1", "--port", "{port}"]
    command += ["--threads", threads, "--threads-batch", threads, "--parallel", slots]
    command += ["--ctx-size", str(setting.max_concurrency * SLOT_TOKENS)]
    options = {"ignore_eos": True, "top_k": 0, "min_p": 0}  # its own defaults cut the candidates
    return _served(setting, folder, command, _precision_of(path), options)


def _vllm(setting: Setting, folder: Path) -> RunningStack:
    program = setting.vllm or shutil.which("vllm")
    if program is None:
        raise LeftOut("install vLLM's CPU build into an environment of its own, then --vllm")
    command = [*shlex.split(program), "serve", str(setting.folder), "--dtype", "bfloat16"]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--max-model-len", "2048"]
    command += ["--max-num-seqs", str(setting.max_concurrency)]
    more = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    options = {"model": str(setting.folder), "ignore_eos": True, "top_k": 0}
    environment = setting.environment(**more)
    environment.pop("PYTHONPATH", None)
    return _served(setting, folder, command, "bfloat16", options, environment)


def _served(
    setting: Setting,
    folder: Path,
    command: Sequence[str],
    precision: str | re.Pattern[str],
    options: dict[str, Any],
    environment: Mapping[str, str] | None = None,
) -> Served:
    return Served(
        command,
        folder,
        environment or setting.environment(),
        setting.timeout_s,
        precision=precision,
        options=options,
        is_streamed=setting.is_streamed,
    )


def _gguf(setting: Setting) -> str:
    if setting.gguf is None:
        raise LeftOut("it reads GGUF files, and the model is a folder")
    return str(setting.gguf)


def _precision_of(path: str) -> str:
    found = re.search(r"(Q\d\w*|BF16|F16|F32)\.gguf$", path, re.IGNORECASE)
    return found[1] if found else "as in the file"


NAIVE = "naive bf16"
NAIVE_FP32 = "naive fp32"
SERVE, LLAMA, VLLM, OPENVINO = "transformers serve", "llama-server", "vllm", "openvino"
STACKS = [
    Stack(NAIVE, _torch("bfloat16", 1), batch=1),
    Stack(NAIVE_FP32, _torch("float32", 1), batch=1),
    *(
        Stack(f"generate, batches of {size}", _torch("bfloat16", size), batch=size)
        for size in (8, 32, 64)
    ),
    Stack("generate_batch", _torch("bfloat16", 0), batch=64),
    Stack(SERVE, _transformers_serve, "HTTP"),
    Stack(LLAMA, _llama_server, "HTTP"),
    Stack(VLLM, _vllm, "HTTP"),
    Stack(OPENVINO, _openvino),
    ours(),
]
QUICK = [NAIVE, SERVE, LLAMA, VLLM, OPENVINO, OURS]
