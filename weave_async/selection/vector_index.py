"""The rows that are in the dataset as vectors, and which of them is nearest to a new one.

The search is exact among the rows that the index holds: 1,024 rows at a time, against all vectors
of a batch at once, it takes less time than MiniLM takes to embed, up to some 100,000 rows. Above
``max_rows``, the rows with the smallest hashes of their names stay: a fair sample, in which order
plays no part (bottom-k sampling: Cohen and Kaplan, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappush, heapreplace

import numpy as np
from numpy.typing import NDArray

from weave_async.selection.codes import MAX_DIMENSIONS, Codes, Floats, inverse_norms_of

ROWS_AT_ONCE = 1024
"""A block of them as float32 still fits into a core's cache."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A row of the index, and its cosine."""

    name: str
    similarity: float


@dataclass(slots=True)
class Queries:
    """The vectors of one batch. The first of them to be looked up has the search made for all;
    what the index has taken in since is looked at besides.
    """

    codes: Floats  # (B, D), of whole numbers
    inverse_norms: Floats  # (B,)
    slots: NDArray[np.intp] = field(init=False, repr=False)  # (B,)
    scores: Floats = field(init=False, repr=False)  # (B,)
    as_of: int | None = None

    @classmethod
    def of(cls, codes: Codes) -> Queries:
        return cls(codes.astype(np.float32), inverse_norms_of(codes))


class VectorIndex:
    """Names and vectors of at most ``max_rows`` rows: D + 12 bytes each, and the name."""

    def __init__(self, num_dimensions: int, max_rows: int) -> None:
        if num_dimensions > MAX_DIMENSIONS:
            raise ValueError(f"{num_dimensions} dimensions are more than {MAX_DIMENSIONS}")
        self.max_rows = max_rows
        self._codes = np.zeros((0, num_dimensions), np.int8)  # (capacity, D)
        self._inverse_norms = np.zeros(0, np.float32)  # (capacity,)
        self._changed_at = np.zeros(0, np.int64)  # (capacity,)
        self._num_changes = 0
        self._names: list[str] = []
        self._largest: list[tuple[int, int]] = []  # heap of (-hash, slot)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<VectorIndex {len(self)}/{self.max_rows} rows>"

    def add(self, name: str, code: Codes) -> None:
        """Take a row in, unless ``max_rows`` with smaller hashes are there."""
        order = -int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
        if len(self) < self.max_rows:
            slot = len(self)
            self._names.append(name)
            heappush(self._largest, (order, slot))
            self._make_room()
        elif order > self._largest[0][0]:
            slot = self._largest[0][1]
            self._names[slot] = name
            heapreplace(self._largest, (order, slot))
        else:
            return
        self._num_changes += 1
        self._changed_at[slot] = self._num_changes
        self._codes[slot] = code
        self._inverse_norms[slot] = inverse_norms_of(code[None])[0]

    def nearest(self, queries: Queries, number: int, *, other_than: str = "") -> Neighbour | None:
        """The row nearest to one of the queries, of equally near ones that in the first slot;
        ``other_than`` is the name of one that does not count.
        """
        if not self._names:
            return None
        if queries.as_of is None:
            self._search(queries)
        assert queries.as_of is not None
        changed = np.flatnonzero(self._changed_at[: len(self)] > queries.as_of)
        best, score = int(queries.slots[number]), float(queries.scores[number])
        if best in changed or (best >= 0 and self._names[best] == other_than):
            changed = np.arange(len(self))  # whose second best is not known
            best, score = -1, -np.inf
        if len(changed):
            scores = self._scores(queries.codes[number : number + 1], changed)[0]  # (C,)
            nth = int(scores.argmax())
            while scores[nth] > -np.inf and self._names[changed[nth]] == other_than:
                scores[nth] = -np.inf
                nth = int(scores.argmax())
            found = float(scores[nth]), -int(changed[nth])
            if found > (score, -best):
                score, best = found[0], -found[1]
        if best < 0 or score == -np.inf:
            return None
        similarity = round(score * float(queries.inverse_norms[number]), 6)  # equal texts have 1
        return Neighbour(self._names[best], similarity)

    def _search(self, queries: Queries) -> None:
        num_queries = len(queries.codes)
        queries.slots = np.full(num_queries, -1, np.intp)
        queries.scores = np.full(num_queries, -np.inf, np.float32)
        each = np.arange(num_queries)
        for start in range(0, len(self), ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, len(self)))
            scores = self._scores(queries.codes, rows)  # (B, R)
            best = scores.argmax(axis=1)  # (B,)
            is_nearer = scores[each, best] > queries.scores
            queries.slots[is_nearer] = best[is_nearer] + start
            queries.scores[is_nearer] = scores[each, best][is_nearer]
        queries.as_of = self._num_changes

    def _scores(self, queries: Floats, rows: slice | NDArray[np.intp]) -> Floats:  # (B, R)
        """Cosines, times the length of each query."""
        scores: Floats = queries @ self._codes[rows].astype(np.float32).T
        scores *= self._inverse_norms[rows]
        return scores

    def _make_room(self) -> None:
        capacity, num_dimensions = self._codes.shape
        if len(self) <= capacity:
            return
        capacity = min(self.max_rows, max(ROWS_AT_ONCE, capacity + capacity // 2))
        self._codes.resize((capacity, num_dimensions), refcheck=False)
        self._inverse_norms.resize(capacity, refcheck=False)
        self._changed_at.resize(capacity, refcheck=False)
