"""From files to a model: the same one from a GGUF and from its conversion, or a clear refusal."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from providers.local.server import progress as progress_module
from providers.local.server import weights
from providers.local.server.conversion import look_up
from providers.local.server.errors import InvalidRequest
from providers.local.server.progress import Progress
from providers.local.server.source import (
    DEFAULT_MODEL,
    TooLittleMemory,
    WeightsError,
    WeightsSource,
    find,
)
from providers.local.server.weights import LoadedModel, load
from tiny_gguf import save_tiny_gguf

from .test_smollm2 import needs_weights

QUESTION = [{"role": "user", "content": "Wie heißt die Hauptstadt? 漢😀"}]
Change = Callable[[Path], object]


@pytest.fixture(autouse=True)
def one_thread_and_an_empty_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    save_tiny_gguf(path)
    return path


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def load_path(path: Path, dtype: str = "float32", progress: Progress | None = None) -> LoadedModel:
    return load(find(str(path)), "cpu", dtype, progress)


def logits(loaded: LoadedModel) -> torch.Tensor:
    ids = loaded.codec.encode_chat(QUESTION)
    with torch.inference_mode():
        found: torch.Tensor = loaded.model(input_ids=torch.tensor([ids])).logits
    return found


def assert_same(one: LoadedModel, other: LoadedModel) -> None:
    assert torch.equal(logits(one), logits(other))
    assert one.codec.encode_chat(QUESTION) == other.codec.encode_chat(QUESTION)
    assert one.codec.encode("x é\n") == other.codec.encode("x é\n")
    facts = ("served_name", "device", "dtype", "end_ids", "context_tokens", "vocab_size")
    for fact in facts:
        assert getattr(one, fact) == getattr(other, fact)


def load_without_cache(source: WeightsSource, dtype: torch.dtype) -> LoadedModel:
    assert source.gguf is not None
    model, tokenizer = weights._unpack(source, source.gguf, dtype, Progress())
    return weights._loaded(source, model, tokenizer, torch.device("cpu"), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gguf_says_the_same_from_its_conversion(tiny_gguf: Path, dtype: str) -> None:
    straight = load_without_cache(find(str(tiny_gguf)), getattr(torch, dtype))
    first = load_path(tiny_gguf, dtype)
    assert list(look_up(tiny_gguf).whole) == [dtype]
    assert_same(straight, first)
    assert_same(straight, load_path(tiny_gguf, dtype))


def test_a_conversion_is_made_once(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_path(tiny_gguf)
    monkeypatch.setattr(weights, "_unpack", lambda *_: pytest.fail("the GGUF was read again"))
    load_path(tiny_gguf)


def test_a_damaged_conversion_is_made_anew(tiny_gguf: Path) -> None:
    straight = load_path(tiny_gguf)
    safetensors = look_up(tiny_gguf).whole["float32"] / "model.safetensors"
    damaged = bytearray(safetensors.read_bytes())
    damaged[-1] ^= 64
    safetensors.unlink()  # and not overwritten: the first model's weights are mapped from it
    safetensors.write_bytes(damaged)
    assert_same(straight, load_path(tiny_gguf))
    assert safetensors.read_bytes() != damaged


def test_where_the_cache_cannot_be_written_it_loads_all_the_same(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = load_path(tiny_gguf)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    events: list[dict[str, Any]] = []
    assert_same(straight, load_path(tiny_gguf, progress=Progress(events.append)))
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert len(warnings) == 1
    assert "cannot be kept" in warnings[0]
    assert "XDG_CACHE_HOME" in warnings[0]


def test_a_gguf_of_an_unknown_architecture_is_refused(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(tiny_gguf.read_bytes().replace(b"llama", b"lIama"))
    with pytest.raises(WeightsError, match=r"cannot load .*other.gguf.*lIama"):
        load_path(path)


@needs_weights
@pytest.mark.torture  # it converts the whole model twice
def test_the_default_model_says_the_same_from_its_conversion() -> None:
    source = find(DEFAULT_MODEL)
    straight = load_without_cache(source, torch.bfloat16)
    load(source, "cpu", "bfloat16")
    assert_same(straight, load(source, "cpu", "bfloat16"))


def config(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def file(name: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (config(model_type="nosuch"), "config.json: model_type 'nosuch' is no architecture"),
        (config(model_type="vit"), "a model of type 'vit' generates no text"),
        (config(hidden_act="nosuch"), "config.json .*'nosuch'"),
        (config(rope_parameters={"rope_type": "nosuch"}), "config.json .*'nosuch'"),
        (config(max_position_embeddings=None), "config.json: .*max_position_embeddings"),
        (config(eos_token_id="x"), "config.json: .*eos_token_id"),
        (config(num_attention_heads=7), "config.json: .*attention heads"),
        (config(num_hidden_layers=3), r"lack 9 tensors .*layers\.2\..* is missing"),
        (config(vocab_size=10), r"lm_head.weight is \(258, 64\) where .* makes it \(10, 64\)"),
        (file("generation_config.json", '{"eos_token_id": "x"}'), "eos_token_id is 'x'"),
        (file("tokenizer.json", "{"), "cannot read the tokenizer"),
        (file("tokenizer.json", b"\xff\xff"), "cannot read the tokenizer"),
        (file("tokenizer.json", '{"model": {"type": "BPE", "vocab": 5}}'), "the tokenizer in"),
    ],
)
def test_files_that_do_not_make_a_model_are_refused(
    folder: Path, change: Change, complaint: str
) -> None:
    change(folder)
    with pytest.raises(WeightsError, match=complaint) as refusal:
        load_path(folder)
    assert "\n" not in str(refusal.value)


def test_a_model_larger_than_the_memory_is_refused_before_any_is_taken(folder: Path) -> None:
    config(hidden_size=1 << 20, intermediate_size=1 << 22, vocab_size=1 << 24)(folder)
    with pytest.raises(TooLittleMemory, match=r"needs about .* GiB as float32, .* GiB are free"):
        load_path(folder)


def test_tensors_that_the_config_has_no_place_for_are_warned_of(folder: Path) -> None:
    config(num_hidden_layers=1)(folder)
    events: list[dict[str, Any]] = []
    load_path(folder, progress=Progress(events.append))
    (warning,) = [event["message"] for event in events if event["event"] == "warning"]
    assert warning.startswith("9 tensors have no place in the model")


class Trap:
    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.sprung),)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "model.safetensors", "tokenizer.model", "vocab.json"]
)
def test_a_pickle_never_runs(folder: Path, tmp_path: Path, name: str) -> None:
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    pickle.loads(trap)
    assert sprung.is_dir()  # the trap works
    sprung.rmdir()
    for other in ("model.safetensors", "tokenizer.json"):
        (folder / other).unlink()
    (folder / name).write_bytes(trap)
    with pytest.raises(WeightsError):
        load_path(folder)
    assert not sprung.exists()


@pytest.mark.parametrize("model_type", ["llama", "mine"])
def test_code_that_comes_with_a_model_never_runs(
    folder: Path, tmp_path: Path, model_type: str
) -> None:
    sprung = tmp_path / "sprung"
    (folder / "evil.py").write_text(f"import os; os.mkdir({str(sprung)!r})")
    auto_map = {
        "AutoConfig": "evil.Config",
        "AutoModelForCausalLM": "evil.Model",
        "AutoTokenizer": [None, "evil.Tokenizer"],
    }
    config(model_type=model_type, auto_map=auto_map)(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": auto_map}))
    if model_type == "llama":  # transformers' own, whatever the folder offers
        load_path(folder)
    else:
        with pytest.raises(WeightsError, match="code in the model's own folder is not run"):
            load_path(folder)
    assert not sprung.exists()


def test_a_template_that_never_ends_is_a_refused_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    file("chat_template.jinja", endless)(folder)
    monkeypatch.setattr(weights, "TEMPLATE_TIMEOUT_S", 0.05)
    with pytest.raises(InvalidRequest, match=r"chat template refuses .*not done after"):
        load_path(folder).codec.encode_chat(QUESTION)


@pytest.mark.parametrize("template", ["{% for", "{{ messages.__class__.__mro__[1]() }}{{ x.y.z }}"])
def test_a_template_that_fails_is_a_refused_request(folder: Path, template: str) -> None:
    file("chat_template.jinja", template)(folder)
    with pytest.raises(InvalidRequest, match="chat template refuses"):
        load_path(folder).codec.encode_chat(QUESTION)


def test_a_long_step_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "AGAIN_EVERY_S", 0.01)
    events: list[dict[str, Any]] = []
    progress = Progress(events.append)
    with progress.step("converting", "converting x"):
        while len(events) < 3:
            pass
    num_events = len(events)
    assert {event["step"] for event in events} == {"converting"}
    assert events[0]["message"] == "converting x"
    assert events[1]["message"] == "converting x (0 s)"
    with progress.step("loading", "reading"):
        pass
    assert len(events) == num_events + 1  # the first one has ended
