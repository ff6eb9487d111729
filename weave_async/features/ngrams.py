"""A text as the n-grams of its characters, hashed: what near-duplicates and novelty look at.

The hashes are the same in every process and on every machine, as what is derived from them decides
which samples stay.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_BASE = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def normalized(text: str) -> str:
    """The text where case and spacing do not count."""
    return " ".join(text.casefold().split())


def char_ngram_hashes(text: str, n: int) -> NDArray[np.uint64]:  # (max(1, len - n + 1),)
    """A hash for each run of ``n`` characters, repeats kept; of a shorter text, one of it all."""
    chars = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if len(chars) < n:
        chars = np.concatenate((chars, np.zeros(n - len(chars), np.uint64)))
    num = len(chars) - n + 1
    hashes = np.zeros(num, np.uint64)
    for place, power in enumerate(_powers(n)):  # in 64 bits, over their edge
        hashes += (chars[place : place + num] + np.uint64(1)) * power
    return mixed(hashes)


def mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each hash with its bits spread over all of it: the finalizer of SplitMix64
    (Steele, Lea and Flood, 2014).
    """
    hashes = (hashes ^ (hashes >> np.uint64(30))) * _MIX_1
    hashes = (hashes ^ (hashes >> np.uint64(27))) * _MIX_2
    return hashes ^ (hashes >> np.uint64(31))


@cache
def _powers(n: int) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(pow(_BASE, power, 2**64)) for power in range(1, n + 1))
