"""How many distinct hashes there were, in 16 KiB (HyperLogLog: Flajolet et al., 2007).

The registers are Flajolet's; the count is read off them by Ertl's estimator (2017, "New cardinality
estimation algorithms for HyperLogLog sketches", algorithm 6), which needs neither the switch to
linear counting for few hashes, with its bump of bias where it ends, nor HyperLogLog++'s tables of
corrections. Its standard error is that of the paper, ``1.04 / sqrt(2**p)``: 0.81 % with p = 14.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

P = 14
NUM_REGISTERS = 1 << P
RELATIVE_ERROR = 1.04 / math.sqrt(NUM_REGISTERS)
_REST_BITS = 64 - P
_REST = np.uint64((1 << _REST_BITS) - 1)
_ALPHA = 1 / (2 * math.log(2))


class HyperLogLog:
    """The same for the same set of hashes, in whatever order and batches they come."""

    def __init__(self) -> None:
        self._registers: NDArray[np.uint8] = np.zeros(NUM_REGISTERS, np.uint8)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        places = (hashes >> np.uint64(_REST_BITS)).astype(np.intp)
        # The rest has 50 bits, so that it is exact as a float, whose exponent is its length.
        _, lengths = np.frexp((hashes & _REST).astype(np.float64))
        ranks = (_REST_BITS + 1 - lengths).astype(np.uint8)  # leading zeros, and one
        np.maximum.at(self._registers, places, ranks)

    def merge(self, other: HyperLogLog) -> None:
        np.maximum(self._registers, other._registers, out=self._registers)

    def count(self) -> float:
        """An estimate of how many distinct hashes were added."""
        of_rank = np.bincount(self._registers, minlength=_REST_BITS + 2)  # (52,)
        if of_rank[0] == NUM_REGISTERS:
            return 0.0
        full = NUM_REGISTERS * _tau(1 - of_rank[-1] / NUM_REGISTERS)
        for rank in range(_REST_BITS, 0, -1):
            full = (full + int(of_rank[rank])) / 2
        full += NUM_REGISTERS * _sigma(of_rank[0] / NUM_REGISTERS)
        return float(_ALPHA * NUM_REGISTERS**2 / full)


def _sigma(x: float) -> float:
    """Ertl's correction for registers that nothing has reached."""
    factor, total, before = 1.0, x, -1.0
    while total != before:
        x, before = x * x, total
        total += x * factor
        factor += factor
    return total


def _tau(x: float) -> float:
    """Ertl's correction for registers that are full."""
    if x in (0.0, 1.0):
        return 0.0
    factor, total, before = 1.0, 1 - x, -1.0
    while total != before:
        x, before = math.sqrt(x), total
        factor /= 2
        total -= (1 - x) ** 2 * factor
    return total / 3
