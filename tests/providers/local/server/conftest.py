"""Tiny models made on the spot, and one real server process for the whole session."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

REPOSITORY = Path(__file__).parents[4]
# Every byte of this text is another one, so a model that knows only "which byte follows which"
# can recite it; its characters are 1 to 4 bytes long, one token each.
RECITAL = "Ga 漢é😀-stop!"
MAX_CONCURRENCY, MAX_QUEUE, MAX_CONTEXT = 4, 4, 4096

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def make_tokenizer() -> Any:
    """One token per byte, plus two special ones: a character outside ASCII is several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<|start|>": 0, "<|end|>": 1, **{c: i for i, c in enumerate(alphabet, start=2)}}
    rust = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    rust.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        bos_token="<|start|>",
        eos_token="<|end|>",
        chat_template=TEMPLATE,
    )


def make_model(vocab_size: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        initializer_range=0.2,  # wide enough for the tokens to differ clearly
    )
    return LlamaForCausalLM(config).eval()


def make_reciter(tokenizer: Any) -> Any:
    """A model whose next token depends on the last alone: it recites RECITAL, then ends."""
    import torch

    model = make_model(len(tokenizer))
    with torch.no_grad():
        for layer in model.model.layers:  # nothing but the embedding reaches the head
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding = torch.nn.functional.normalize(torch.randn(len(tokenizer), 64), dim=-1)
        model.model.embed_tokens.weight.copy_(embedding)
        ids = [*tokenizer.encode(RECITAL, add_special_tokens=False), tokenizer.eos_token_id]
        assert len(set(ids)) == len(ids)
        for this, following in pairwise(ids):
            model.lm_head.weight[following] = embedding[this] * 100
    return model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama, saved as safetensors with its tokenizer and chat template."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    make_model(len(tokenizer)).save_pretrained(folder)
    return folder


class ServerProcess:
    """`python -m providers.local.server` and the events it has printed."""

    def __init__(self, *options: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "providers.local.server", "--json-events", *options]
        self.popen = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )

    def next_event(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, f"the server ended with {self.popen.wait()}: {self.stderr()}"
        event = json.loads(line)
        assert isinstance(event, dict)
        return event

    def wait_for(self, name: str) -> dict[str, Any]:
        while (event := self.next_event())["event"] != name:
            pass
        return event

    def stderr(self) -> str:
        assert self.popen.stderr is not None
        return self.popen.stderr.read().decode()

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        for pipe in (self.popen.stdout, self.popen.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def start_server() -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(*options: str, **more: Any) -> ServerProcess:
        started.append(ServerProcess(*options, **more))
        return started[-1]

    yield start
    for process in started:
        process.close()


def tiny_options(folder: Path) -> list[str]:
    options = ["--model", str(folder), "--port", "0", "--dtype", "float32", "--device", "cpu"]
    options += ["--max-concurrency", str(MAX_CONCURRENCY), "--max-queue", str(MAX_QUEUE)]
    return [*options, "--kv-tokens", str(MAX_CONCURRENCY * MAX_CONTEXT), "--threads", "1"]


@pytest.fixture(scope="session")
def server_url(tiny_folder: Path) -> Iterator[str]:
    process = ServerProcess(*tiny_options(tiny_folder))
    try:
        yield process.wait_for("ready")["url"]
    finally:
        process.close()


@pytest.fixture
def client(server_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server_url, timeout=30) as client:
        yield client
        wait_until(lambda: is_idle(client))  # a test leaves nothing running behind


def is_idle(client: httpx.Client) -> bool:
    health = client.get("/health").json()
    return bool(health["running"] == health["waiting"] == 0)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
