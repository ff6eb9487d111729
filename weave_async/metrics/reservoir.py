"""A bounded sample of the rows that does not depend on when they came."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

MAX_TEXT_CHARS = 10_000
"""Of a longer text the metrics see this much, so that a few long rows do not fill the memory."""


@dataclass(frozen=True, slots=True)
class KeptRow:
    text: str
    attributes: Mapping[str, Any]


class SeededReservoir:
    """The ``capacity`` rows whose ids have the lowest digests with the seed: a uniform sample
    without replacement, whatever their order ("bottom-k": Cohen and Kaplan, 2007).
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self._salt = str(seed).encode()[:64]
        self._heap: list[tuple[int, str]] = []  # the highest digest first
        self._rows: dict[str, KeptRow] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def offer(self, row_id: str, text: str, attributes: Mapping[str, Any]) -> None:
        digest = blake2b(row_id.encode(), digest_size=8, key=self._salt).digest()
        key = -int.from_bytes(digest, "big")
        if row_id in self._rows:
            return
        if len(self._heap) < self.capacity:
            heapq.heappush(self._heap, (key, row_id))
        elif key > self._heap[0][0]:
            _, dropped = heapq.heapreplace(self._heap, (key, row_id))
            del self._rows[dropped]
        else:
            return
        self._rows[row_id] = KeptRow(text, attributes)

    def rows(self) -> list[KeptRow]:
        """In the order of their digests, which is a random one that the seed decides."""
        return [self._rows[row_id] for _, row_id in sorted(self._heap, reverse=True)]
