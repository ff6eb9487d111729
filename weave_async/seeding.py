"""Randomness that depends on what is drawn for, never on when.

Every random choice is seeded by ``(run_seed, prompt_id, sample_index, stage)``: the same recipe,
seed and answers then give the same dataset at any concurrency, and after any interruption.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

SENT_SEED_BITS = 31
"""Seeds that are sent stay below 2**31: some servers refuse larger ones."""


def seed_for(run_seed: int, prompt_id: str, sample_index: int, stage: str) -> int:
    """A 64-bit seed for one random choice."""
    name = f"{run_seed}\0{prompt_id}\0{sample_index}\0{stage}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big")


def sent_seed_for(run_seed: int, prompt_id: str, sample_index: int, stage: str) -> int:
    """The same for a request: a seed that every endpoint takes."""
    return seed_for(run_seed, prompt_id, sample_index, stage) >> (64 - SENT_SEED_BITS)


def fraction_for(run_seed: int, prompt_id: str, sample_index: int, stage: str) -> float:
    """One draw from [0, 1), for a choice that needs no generator: making one costs 5 µs."""
    return (seed_for(run_seed, prompt_id, sample_index, stage) >> 11) * 2.0**-53


def rng_for(run_seed: int, prompt_id: str, sample_index: int, stage: str) -> Random:
    """A generator for one random choice, or for a stage's choices on one sample."""
    return Random(seed_for(run_seed, prompt_id, sample_index, stage))  # noqa: S311 - not for secrets
