"""Samples that a final selector has yet to decide about, as small as they can be kept."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from weave_async.selection.codes import Codes, Floats, unit_rows_of

ROWS_AT_ONCE = 8192

Numbers = NDArray[np.intp]
"""Candidates by number, in the order in which they came."""


class Candidates:
    """Vector, quality and name of each: D + 4 bytes, and the name in about 30."""

    def __init__(self, num_dimensions: int) -> None:
        self._codes = np.zeros((0, num_dimensions), np.int8)  # (capacity, D)
        self._qualities = array("f")
        self._names = bytearray()
        self._ends = array("Q")

    def __len__(self) -> int:
        return len(self._ends)

    def __repr__(self) -> str:
        return f"<Candidates {len(self)}>"

    def add(self, name: str, code: Codes, quality: float) -> None:
        capacity, num_dimensions = self._codes.shape
        if len(self) == capacity:
            grown = max(1024, capacity + capacity // 2)
            self._codes.resize((grown, num_dimensions), refcheck=False)
        self._codes[len(self)] = code
        self._qualities.append(quality)
        self._names += name.encode()
        self._ends.append(len(self._names))

    def name(self, number: int) -> str:
        start = self._ends[number - 1] if number else 0
        return self._names[start : self._ends[number]].decode()

    @property
    def qualities(self) -> Floats:  # (N,)
        return np.array(self._qualities, np.float32)

    def codes(self, numbers: Numbers) -> Codes:  # (n, D)
        return self._codes[numbers]

    def unit_rows(self, numbers: Numbers) -> Floats:  # (n, D)
        return unit_rows_of(self.codes(numbers))

    def blocks(self, numbers: Numbers) -> Iterator[Floats]:
        """The rows of so many at a time that memory stays flat."""
        for start in range(0, len(numbers), ROWS_AT_ONCE):
            yield self.unit_rows(numbers[start : start + ROWS_AT_ONCE])
