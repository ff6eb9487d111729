"""The most common of a stream of names, in bounded memory (Space-Saving: Metwally et al., 2005)."""

from __future__ import annotations

import heapq
from collections.abc import Mapping


class SpaceSaving:
    """Counts ``capacity`` names. A new one takes the place, and the count, of the rarest.

    So a count is never too low, and too high by ``num_counted / capacity`` at most; a name with a
    larger share than ``1 / capacity`` is always among them. As long as no more than ``capacity``
    names have come, the counts are exact and do not depend on the order.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; it takes 1 at least")
        self.capacity = capacity
        self.num_counted = 0
        self._counts: dict[str, int] = {}
        self._excess: dict[str, int] = {}  # what a name took over when it came
        self._heap: list[tuple[int, str]] = []  # no count here is too high, but some are old

    def add(self, name: str, count: int = 1) -> None:
        self.num_counted += count
        held = self._counts.get(name)
        if held is not None:
            self._counts[name] = held + count
            return
        taken_over = 0
        if len(self._counts) >= self.capacity:
            taken_over, rarest = self._pop_rarest()
            del self._counts[rarest]
            self._excess.pop(rarest, None)
            self._excess[name] = taken_over
        self._counts[name] = taken_over + count
        heapq.heappush(self._heap, (taken_over + count, name))

    def add_all(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.add(name, count)

    def top(self, num: int) -> list[tuple[str, int, int]]:
        """The most common names, each with its count and how much too high that may be."""
        best = heapq.nsmallest(num, self._counts.items(), key=lambda item: (-item[1], item[0]))
        return [(name, count, self._excess.get(name, 0)) for name, count in best]

    @property
    def is_exact(self) -> bool:
        return not self._excess

    def _pop_rarest(self) -> tuple[int, str]:
        while True:
            count, name = heapq.heappop(self._heap)
            now = self._counts[name]
            if now == count:
                return count, name
            heapq.heappush(self._heap, (now, name))
