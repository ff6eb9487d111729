"""What this machine allows: tokens per second if a model were its linear layers and nothing else.

    python -m local_generation.roofline FOLDER --threads 2 --batches 1,16,64

Every layer has weights of its own, as in the model, so that none stays in a cache by chance; those
that read the same input are one matrix. bfloat16 is packed beforehand, float32 is ``F.linear``.
Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import linear
from transformers import AutoConfig

REPEATS = 7
READ_BYTES, ROW = 1 << 29, 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batches", required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    shapes = linear_shapes(given.folder)
    batches = list(map(int, given.batches.split(",")))
    found = {
        "read_gb_per_s": read_gb_per_s(),
        "gemm_tokens_per_s": {
            dtype: {batch: batch / step_s(shapes, batch, dtype) for batch in batches}
            for dtype in ("bfloat16", "float32")
        },
        "weights_mb": {
            "bfloat16": 2 * sum(out * into for out, into in shapes) / 2**20,
            "float32": 4 * sum(out * into for out, into in shapes) / 2**20,
        },
    }
    print(json.dumps(found))


def linear_shapes(folder: str) -> list[tuple[int, int]]:
    """(out, in) of each linear layer of a Llama, with q, k, v as one, and gate and up as one."""
    config = AutoConfig.from_pretrained(folder)
    hidden, heads = config.hidden_size, config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or hidden // heads
    layer = [
        ((heads + 2 * config.num_key_value_heads) * head_dim, hidden),
        (hidden, heads * head_dim),
        (2 * config.intermediate_size, hidden),
        (hidden, config.intermediate_size),
    ]
    return layer * config.num_hidden_layers + [(config.vocab_size, hidden)]


def step_s(shapes: Sequence[tuple[int, int]], batch: int, dtype: str) -> float:
    """Seconds of one token for each of ``batch`` sequences."""
    multiplications = [multiplication(*shape, batch, dtype) for shape in shapes]

    def step() -> None:
        for multiply in multiplications:
            multiply()

    return timed_s(step)


def multiplication(out: int, into: int, batch: int, dtype: str) -> Callable[[], torch.Tensor]:
    weight = torch.randn(out, into)  # (out, in)
    x = torch.randn(batch, into)  # (B, in)
    if dtype == "float32":
        return lambda: linear(x, weight)
    x = x.bfloat16()
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16(), batch)
    return lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def read_gb_per_s() -> float:
    """Memory as a product with one vector reads it: a step reads every weight once."""
    numbers, vector = torch.ones(READ_BYTES // 4 // ROW, ROW), torch.ones(ROW)
    return READ_BYTES / timed_s(lambda: numbers @ vector) / 1e9


def timed_s(work: Callable[[], object]) -> float:
    """The quickest of some times: what else the machine does is no part of a ceiling."""
    work()
    took_s = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        work()
        took_s.append(time.perf_counter() - began_s)
    return min(took_s)


if __name__ == "__main__":
    main()
