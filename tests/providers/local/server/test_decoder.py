"""Decoders give the logits that transformers gives, for every family that they take."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from providers.local.server.batch import make_batch
from providers.local.server.decoder import (
    Decoder,
    FusedDecoder,
    HookedDecoder,
    Unsupported,
    make_decoder,
)
from providers.local.server.engine import BatchingEngine
from providers.local.server.engines import make_engine
from providers.local.server.generation import Capacity, GenerationRequest, Sampling
from providers.local.server.kv_cache import Span
from providers.local.server.paged import PagedEngine
from providers.local.server.scheduler import Chunk, Sequence
from providers.local.server.source import WeightsError
from tiny_models import make_tokenizer

VOCABULARY = 61
LENGTH = 40
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
FUSED: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama with a head of its own size": {"head_dim": 16},
    "llama, tied": {"tie_word_embeddings": True},
    "llama with biases": {"attention_bias": True, "mlp_bias": True},
    "llama with longer ropes": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
}
HOOKED: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 9},
    "phi": {},
    "gpt_neox": {"num_key_value_heads": 4},
    "gpt2": {"n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 128, "num_key_value_heads": 4},
    "olmo2": {},
    "granite": {"attention_multiplier": 0.2, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    "cohere": {"logit_scale": 0.5},
    "starcoder2": {"sliding_window": None},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
}
LEFT_TO_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 12, "attn_logit_softcapping": 0.5},
    "bloom": {"n_layer": 2, "n_head": 4},
    # attends twice in each layer, to other values: wrong only once it reads what it kept
    "diffllama": {},
}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(kind: str, options: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind.split()[0].strip(","), **{**SMALL, **options})
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms and biases, which begin as ones and zeros
            parameter.data += torch.randn_like(parameter) * 0.1
    return model.eval()


def logits(decoder: Decoder, ids: list[int], first_chunk: int) -> torch.Tensor:
    """After the first chunk, then after each further token: read in pieces, as the engine may."""
    cache = decoder.sizes.make_cache(256)
    request = GenerationRequest(ids[:first_chunk], len(ids), Sampling(), frozenset())
    sequence = Sequence(None, request, tokens=[])  # type: ignore[arg-type]
    span = Span(first=64, capacity=128)
    found, start = [], 0
    for end in range(first_chunk, len(ids) + 1):
        batch = make_batch([Chunk(sequence, span, start, end)], cache, torch.device("cpu"), [16])
        found.append(decoder.forward(batch)[0])
        sequence.tokens = ids[first_chunk : end + 1]
        start = end
    return torch.stack(found)


def check(model: Any, decoder_class: Any) -> None:
    ids = torch.randint(1, VOCABULARY, (LENGTH,), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0, 20:]
    found = logits(decoder_class(model), ids.tolist(), 21)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.std()) + 1e-4)


@pytest.mark.parametrize("kind", FUSED)
def test_the_fused_decoder_gives_the_logits_of_transformers(kind: str) -> None:
    model = tiny(kind, FUSED[kind])
    assert isinstance(make_decoder(tiny(kind, FUSED[kind])), FusedDecoder)
    check(model, FusedDecoder)


@pytest.mark.parametrize("kind", HOOKED)
def test_a_hooked_model_gives_the_logits_of_transformers(kind: str) -> None:
    assert isinstance(make_decoder(tiny(kind, HOOKED[kind])), HookedDecoder)
    check(tiny(kind, HOOKED[kind]), HookedDecoder)


@pytest.mark.parametrize("kind", LEFT_TO_TRANSFORMERS)
def test_another_attention_is_refused_and_the_model_left_as_it_was(kind: str) -> None:
    model = tiny(kind, LEFT_TO_TRANSFORMERS[kind])
    before = model.config._attn_implementation
    ids = torch.arange(1, 30).unsqueeze(0)
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        with pytest.raises(Unsupported, match=type(model).__name__):
            make_decoder(model)
        assert torch.equal(model(input_ids=ids).logits, expected)
    assert model.config._attn_implementation == before


def test_auto_takes_our_engine_where_it_can_and_says_so_where_it_cannot() -> None:
    from providers.local.server.weights import Codec, LoadedModel

    def loaded(model: Any) -> LoadedModel:
        codec = Codec(make_tokenizer())
        return LoadedModel(model, codec, "tiny", "cpu", "float32", frozenset(), 128, VOCABULARY)

    warnings: list[str] = []
    capacity = Capacity(2, 2, 256)
    ours = make_engine("auto", loaded(tiny("llama", {})), capacity, 1, warnings.append)
    assert isinstance(ours, BatchingEngine)
    assert not warnings
    gemma = tiny("gemma2", LEFT_TO_TRANSFORMERS["gemma2"])
    theirs = make_engine("auto", loaded(gemma), capacity, 1, warnings.append)
    assert isinstance(theirs, PagedEngine)
    (warning,) = warnings
    assert "Gemma2ForCausalLM" in warning
    another = tiny("gemma2", LEFT_TO_TRANSFORMERS["gemma2"])
    with pytest.raises(WeightsError, match="'slots' does not run this model"):
        make_engine("slots", loaded(another), capacity, 1, warnings.append)


def test_a_model_without_attention_is_refused_by_name() -> None:
    config = AutoConfig.for_model(
        "rwkv", vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32
    )
    with pytest.raises(Unsupported, match="RwkvForCausalLM has no attention heads"):
        make_decoder(AutoModelForCausalLM.from_config(config).eval())
