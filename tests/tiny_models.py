"""Models small enough to be made on the spot, with real weights, tokenizer and template."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

# Every byte of this text is another one, so a model that knows only "which byte follows which"
# can recite it; its characters are 1 to 4 bytes long, one token each.
RECITAL = "Ga 漢é😀-stop!"
MAX_CONTEXT = 4096

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


def save_tiny_model(folder: Path) -> None:
    """A random two-layer Llama as safetensors, with its tokenizer and chat template."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    make_model(len(tokenizer)).save_pretrained(folder)


def save_reciter(folder: Path) -> None:
    """A model that says ``RECITAL`` from wherever the prompt ends in it."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    make_reciter(tokenizer).save_pretrained(folder)
