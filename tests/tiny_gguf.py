"""A GGUF small enough to be made on the spot, in the shape that llama.cpp's converter writes."""

from __future__ import annotations

from pathlib import Path

from tiny_models import MAX_CONTEXT, TEMPLATE, make_model, make_tokenizer

# llama.cpp's names for the tensors of a layer, and transformers'.
_OF_A_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def save_tiny_gguf(path: Path) -> None:
    """The tiny Llama, its matrices as Q4_1. Heads are not reordered, so it says other things."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    vocabulary = make_tokenizer().get_vocab()
    # One merged pair more than the tiny tokenizer has: an empty list of them cannot be written.
    tokens = [*sorted(vocabulary, key=vocabulary.__getitem__), "ab"]
    model = make_model(len(tokens))
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(MAX_CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * (len(tokens) - 2)])  # two control tokens
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)

    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    for layer in range(config.num_hidden_layers):
        for short, long in _OF_A_LAYER.items():
            names[f"blk.{layer}.{short}"] = f"model.layers.{layer}.{long}"
    weights = model.state_dict()
    for short, long in names.items():
        tensor = weights[f"{long}.weight"].numpy()
        if tensor.ndim == 2:
            kind = GGMLQuantizationType.Q4_1
            writer.add_tensor(f"{short}.weight", quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{short}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
