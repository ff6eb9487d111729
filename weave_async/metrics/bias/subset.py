"""Some of many rows: the same ones whatever the order in which they come."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, TypeVar

T = TypeVar("T")


class SeededSubset(Generic[T]):
    """The ``size`` rows whose ids have the smallest digests (bottom-k sampling: Cohen and Kaplan,
    2007). ``num_offered`` is out of how many.
    """

    def __init__(self, seed: int, size: int) -> None:
        self._key = blake2b(str(seed).encode(), digest_size=16).digest()
        self._size = size
        self._kept: list[tuple[int, int, T]] = []
        self.num_offered = 0

    def __len__(self) -> int:
        return len(self._kept)

    def offer(self, row_id: str, make: Callable[[], T]) -> None:
        """Take a row, maybe. ``make`` is called only if it is taken."""
        self.num_offered += 1
        digest = blake2b(row_id.encode(errors="replace"), key=self._key, digest_size=8).digest()
        rank = -int.from_bytes(digest, "big")
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, (rank, self.num_offered, make()))
        elif rank > self._kept[0][0]:
            heapq.heapreplace(self._kept, (rank, self.num_offered, make()))

    def rows(self) -> list[T]:
        """Smallest digests first: the first ones of them are a subset made in the same way."""
        return [row for _, _, row in sorted(self._kept, key=lambda kept: -kept[0])]
