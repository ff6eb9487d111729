"""transformers in its own process: ``generate`` alone or in batches, or its ``generate_batch``.

    python -m local_generation.torch_child FOLDER --dtype bfloat16 --batch 8 --threads 2

``--batch 0`` is ``generate_batch``, transformers' own continuous batching.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    ContinuousBatchingConfig,
    GenerationConfig,
)

from local_generation.child_loop import answer_sets
from local_generation.load import BATCH_TOKENS, SLOT_TOKENS, Answered, Load

NO_END = -1  # a token that no model says
PAGE_TOKENS = 32


class Model:
    def __init__(self, folder: str, dtype: str, *, is_paged: bool) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._tokenizer.pad_token = self._tokenizer.pad_token or self._tokenizer.eos_token
        attention = {"attn_implementation": "paged|sdpa"} if is_paged else {}
        number = getattr(torch, dtype)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=number, **attention).eval()
        self._model.generation_config.eos_token_id = None  # it stands in for one that is None

    def encode(self, load: Load) -> list[list[int]]:
        texts = self._tokenizer.apply_chat_template(
            load.conversations, tokenize=False, add_generation_prompt=True
        )
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    def sampling(self, load: Load, end_id: int | None) -> GenerationConfig:
        return GenerationConfig(
            max_new_tokens=load.max_tokens,
            do_sample=True,
            temperature=load.temperature,
            top_p=load.top_p,
            top_k=0,
            eos_token_id=end_id,
            pad_token_id=self._tokenizer.pad_token_id,
        )

    def generate(self, load: Load, batch: int) -> Answered:
        """Each batch padded to its longest prompt; the next begins when the last has ended."""
        e2e_s: list[float] = []
        output_tokens: list[int] = []
        started_s = time.monotonic()
        prompts, sampling = self.encode(load), self.sampling(load, None)
        for first in range(0, len(prompts), batch):
            asked_s = time.monotonic()
            padded = self._tokenizer.pad(
                {"input_ids": prompts[first : first + batch]}, return_tensors="pt"
            )
            with torch.inference_mode():
                ids = self._model.generate(
                    **padded, generation_config=sampling
                )  # (B, prompt + new)
            num_new = ids.shape[1] - padded["input_ids"].shape[1]
            output_tokens += [num_new] * len(ids)
            e2e_s += [time.monotonic() - asked_s] * len(ids)
        wall_s = time.monotonic() - started_s
        return Answered(wall_s, output_tokens, list(map(len, prompts)), e2e_s)

    def generate_batch(self, load: Load) -> Answered:
        started_s = time.monotonic()
        prompts = self.encode(load)
        answers: dict[str, Any] = self._model.generate_batch(
            prompts,
            generation_config=self.sampling(load, NO_END),
            continuous_batching_config=_cache_for(load.concurrency),
        )
        wall_s = time.monotonic() - started_s
        output_tokens = [len(answer.generated_tokens) for answer in answers.values()]
        if len(output_tokens) < len(prompts):
            raise SystemExit(f"{len(output_tokens)} of {len(prompts)} prompts were answered")
        return Answered(wall_s, output_tokens, list(map(len, prompts)))


def _cache_for(num_sequences: int) -> ContinuousBatchingConfig:
    """Room for all of them; without a number it would take most of the memory that is free."""
    return ContinuousBatchingConfig(
        page_size=PAGE_TOKENS,
        num_blocks=num_sequences * SLOT_TOKENS // PAGE_TOKENS,
        max_batch_tokens=BATCH_TOKENS,
        auto_switch_to_flash=False,  # it would fetch a kernel
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = Model(given.folder, given.dtype, is_paged=not given.batch)
    if given.batch:
        answer_sets(given.dtype, lambda load: model.generate(load, given.batch))
    else:
        answer_sets(given.dtype, model.generate_batch)


if __name__ == "__main__":
    main()
