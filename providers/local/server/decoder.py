"""A model as the engine runs it: a batch in, logits out, keys and values into the cache.

`FusedDecoder` is the Llama family in as few operations as it takes. Every other architecture keeps
transformers' own code (`HookedDecoder`), with packed layers and our attention in the place of its.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from .attention import attend
from .batch import LENGTH_STEP, Attended, Batch
from .kv_cache import KVCache
from .linear import Linear, PackedLinear, exact_sizes, linear, pack_linears

FUSED_TYPES = {"llama", "mistral", "qwen2", "qwen3"}
ATTENTION_NAME = "weave_async_cells"
PROBE_TOKENS = 12
PROBE_CUT = 7  # tokens of them read in a step of their own
LAYERS_MEASURED = 16  # the linear layers of the first blocks: those of the others are alike
PROBE_TOLERANCE = 0.1  # mean difference of logits, as a share of their spread


class Unsupported(Exception):
    """This architecture needs something that the engine does not do; the message says what."""


@dataclass(frozen=True, slots=True)
class Sizes:
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    dtype: torch.dtype
    device: torch.device

    def make_cache(self, num_tokens: int) -> KVCache:
        return KVCache(
            num_layers=self.num_layers,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            num_tokens=num_tokens,
            dtype=self.dtype,
            device=self.device,
        )


class Decoder(Protocol):
    sizes: Sizes

    def forward(self, batch: Batch) -> Tensor:
        """The logits (picked, vocab) after each picked row. Writes into the batch's cache."""
        ...

    def exact_sizes(self) -> list[int]:
        """See `linear.exact_sizes`. Empty where it is not measured: off the CPU."""
        ...


def make_decoder(model: Any) -> Decoder:
    """Takes the model over: its linear layers are moved out of it. Raises `Unsupported`."""
    return FusedDecoder(model) if _is_fusable(model) else HookedDecoder(model)


def _sizes(model: Any) -> Sizes:
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or [])
    if kinds - {"full_attention", "sliding_attention"}:
        raise Unsupported(f"{type(model).__name__} has layers of the kinds {sorted(kinds)}")
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        raise Unsupported(f"{type(model).__name__} has no attention heads")
    return Sizes(
        num_layers=config.num_hidden_layers,
        num_heads=heads,
        num_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocab_size=config.vocab_size,
        dtype=model.dtype,
        device=model.device,
    )


class FusedDecoder:
    def __init__(self, model: Any) -> None:
        self.sizes = _sizes(model)
        body = model.model
        self._rotary = body.rotary_emb
        self._head = linear(model.lm_head.weight, model.lm_head.bias)
        self._embedding = body.embed_tokens.weight.detach().clone()  # (vocab, hidden)
        self._layers: list[_FusedLayer] = []
        for layer in body.layers:
            self._layers.append(_FusedLayer(layer, self.sizes))
            _let_go(layer)
        self._norm = _Norm(body.norm)
        _let_go(model)

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        x = functional.embedding(batch.ids, self._embedding)  # (T, hidden)
        cos, sin = self._rotary(x, batch.positions.unsqueeze(0))  # (1, T, head_dim)
        half = self.sizes.head_dim // 2
        cos, sin = cos[0].unsqueeze(1), sin[0].unsqueeze(1)
        sin = torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)
        for number, layer in enumerate(self._layers):
            x = layer(x, batch, number, cos, sin)
        logits: Tensor = self._head(self._norm(x[batch.picked]))
        return logits[: batch.num_picked]

    def exact_sizes(self) -> list[int]:
        if self.sizes.device.type != "cpu":
            return []
        return exact_sizes([*self._layers[0].linears(), self._head], self.sizes.dtype)


class _FusedLayer:
    """norm → attention → + → norm → gated MLP → +, for x (T, hidden)."""

    def __init__(self, layer: Any, sizes: Sizes) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._heads, self._kv_heads = sizes.num_heads, sizes.num_kv_heads
        self._half = sizes.head_dim // 2
        self._norm_in = _Norm(layer.input_layernorm)
        self._norm_mid = _Norm(layer.post_attention_layernorm)
        self._qkv = _joined(attention.q_proj, attention.k_proj, attention.v_proj)
        self._norm_q = _Norm(attention.q_norm) if hasattr(attention, "q_norm") else None
        self._norm_k = _Norm(attention.k_norm) if hasattr(attention, "k_norm") else None
        self._out = _packed(attention.o_proj)
        self._gate, self._up = _packed(mlp.gate_proj), _packed(mlp.up_proj)
        self._down = _packed(mlp.down_proj)
        self._scale = float(attention.scaling)

    def __call__(self, x: Tensor, batch: Batch, number: int, cos: Tensor, sin: Tensor) -> Tensor:
        heads, kv_heads = self._heads, self._kv_heads
        qkv = self._qkv(self._norm_in(x)).view(x.size(0), heads + 2 * kv_heads, -1)
        qk = qkv[:, : heads + kv_heads]
        if self._norm_q is not None and self._norm_k is not None:
            qk = torch.cat((self._norm_q(qk[:, :heads]), self._norm_k(qk[:, heads:])), dim=1)
        # x·cos + rotate_half(x)·sin: rolling by half and a sign in `sin` rotate the halves
        qk = torch.addcmul(qk * cos, qk.roll(self._half, dims=-1), sin)
        qkv[:, heads : heads + kv_heads] = qk[:, heads:]
        batch.cache.layers[number].index_copy_(0, batch.places, qkv[:, heads:])
        found = attend(qk[:, :heads], batch, number, scale=self._scale)
        x = self._out.plus(found, x)
        y = self._norm_mid(x)
        return self._down.plus(self._up.times(y, self._gate.silu(y)), x)

    def linears(self) -> list[Linear]:
        return [self._qkv, self._out, self._gate, self._up, self._down]


class HookedDecoder:
    """transformers' own forward, with its attention led to our cache. Probed before it is trusted:
    an architecture whose attention is more than softmax(qk)v would come out as nonsense."""

    def __init__(self, model: Any) -> None:
        self.sizes = _sizes(model)
        self._model = model
        own_attention = model.config._attn_implementation
        probe = torch.arange(1, PROBE_TOKENS + 1, device=model.device) % self.sizes.vocab_size
        expected = _plain_logits(model, probe)
        AttentionInterface.register(ATTENTION_NAME, _hooked_attention)
        try:
            model.set_attn_implementation(ATTENTION_NAME)
            first, second = _probe_batches(probe, self.sizes)
            found = torch.cat((self.forward(first), self.forward(second)))
            if not all(bool(layer[:PROBE_TOKENS].any()) for layer in first.cache.layers):
                raise ValueError("not every layer's attention can be replaced")
            if not _are_alike(found, expected[[PROBE_CUT - 1, -1, -1]]):
                raise ValueError("it attends in a way of its own")
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as exc:
            model.set_attn_implementation(own_attention)
            raise Unsupported(f"{type(model).__name__}: {exc}") from exc
        pack_linears(model)

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self._model(
            input_ids=batch.ids.unsqueeze(0),
            position_ids=batch.positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=batch.picked,
            batch=batch,
        ).logits
        return logits[0, : batch.num_picked]

    def exact_sizes(self) -> list[int]:
        packed = [layer for layer in self._model.modules() if isinstance(layer, PackedLinear)]
        return exact_sizes(packed[:LAYERS_MEASURED] + packed[-1:], self.sizes.dtype)


def _hooked_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    batch: Batch,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: query (1, heads, T, head_dim), key and value (1, kv_heads, …)."""
    given = {name for name, value in others.items() if value is not None and value is not False}
    unknown = given - _HARMLESS
    if unknown:
        raise ValueError(f"attention with {', '.join(sorted(unknown))}")
    number: int = module.layer_idx  # type: ignore[assignment]
    both = torch.cat((key[0], value[0]))  # (2 * kv_heads, T, head_dim)
    batch.cache.layers[number].index_copy_(0, batch.places, both.transpose(0, 1))
    scale = query.size(-1) ** -0.5 if scaling is None else float(scaling)
    found = attend(query[0].transpose(0, 1), batch, number, scale=scale, window=sliding_window)
    return found.view(1, query.size(2), query.size(1), query.size(3)), None


_HARMLESS = {"dropout", "is_causal", "output_attentions", "position_ids", "use_cache"}


def _are_alike(found: Tensor, expected: Tensor) -> bool:
    """In bf16, deep models differ by a hundredth or two; with a wrong mask, by a half and more."""
    difference = (found.float() - expected.float()).abs().mean()
    return bool(difference < PROBE_TOLERANCE * expected.float().std())


def _plain_logits(model: Any, ids: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = model(input_ids=ids.unsqueeze(0), use_cache=False).logits
    return logits[0]


def _probe_batches(ids: Tensor, sizes: Sizes) -> tuple[Batch, Batch]:
    """One prompt twice, in two steps as the engine makes them: the second goes on with the one and
    begins the other. It picks two rows, the last of each."""
    cache = sizes.make_cache(num_tokens=2 * LENGTH_STEP)
    places = torch.arange(PROBE_TOKENS, device=sizes.device)

    def attended(first_row: int, first: int, positions: Tensor) -> Attended:
        rows = slice(first_row, first_row + len(positions))
        size = len(positions)
        return Attended(rows, 1, size, first, LENGTH_STEP, LENGTH_STEP, positions.unsqueeze(0))

    head, tail = places[:PROBE_CUT], places[PROBE_CUT:]
    first = Batch(ids[:PROBE_CUT], head, head, [attended(0, 0, head)], head[-1:], 1, cache)
    second = Batch(
        ids=torch.cat((ids[PROBE_CUT:], ids)),
        positions=torch.cat((tail, places)),
        places=torch.cat((tail, places + LENGTH_STEP)),
        attended=[attended(0, 0, tail), attended(len(tail), LENGTH_STEP, places)],
        picked=torch.tensor([len(tail) - 1, len(tail) + PROBE_TOKENS - 1], device=sizes.device),
        num_picked=2,
        cache=cache,
    )
    return first, second


def _is_fusable(model: Any) -> bool:
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        config.model_type in FUSED_TYPES
        and config.hidden_act == "silu"
        and kinds == {"full_attention"}
        and (config.model_type != "mistral" or config.sliding_window is None)
        and type(model.lm_head) is nn.Linear
    )


def _joined(*layers: nn.Linear) -> Linear:
    """Layers that read the same input, as one."""
    biases = [layer.bias for layer in layers if layer.bias is not None]
    bias = torch.cat(tuple(biases)) if biases else None
    return linear(torch.cat(tuple(layer.weight for layer in layers)), bias)


def _let_go(module: nn.Module) -> None:
    """Of the weights that lie packed elsewhere now. One tensor that stays would keep the whole
    file of weights in memory."""
    for parameter in module.parameters():
        parameter.data = parameter.data.new_empty(0)


def _packed(layer: nn.Linear) -> Linear:
    return linear(layer.weight, layer.bias)


class _Norm:
    """Root mean square norm over the last axis (https://arxiv.org/abs/1910.07467)."""

    def __init__(self, norm: Any) -> None:
        self._weight = norm.weight.detach().clone()
        self._eps = float(norm.variance_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self._weight.shape, self._weight, self._eps)
