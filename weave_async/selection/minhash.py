"""MinHash signatures of many texts at once, over their character n-grams.

Two sets have the same least element under a random order of all elements with a probability that
is their Jaccard similarity (Broder, 1997). Each of the orders here is that of ``a·x + b`` modulo
2³², with ``a`` odd, where x is the upper half of an n-gram's hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from weave_async.features.ngrams import char_ngram_hashes, mixed

_MOST = np.uint32(0xFFFFFFFF)
_CHUNK_HASHES = 1024
"""As many at once as leave the work in the processor's cache: 1 MB for 256 orders."""
_GROUP_CHARS = 1 << 16
"""Texts are hashed together up to here: numpy is called a few times for each group."""


class MinHasher:
    """``num_orders`` orders, the same in every process."""

    def __init__(self, num_orders: int, ngram_chars: int) -> None:
        numbers = mixed(np.arange(1, 2 * num_orders + 1, dtype=np.uint64))
        halves = (numbers >> np.uint64(32)).astype(np.uint32)
        self._factors = halves[:num_orders] | np.uint32(1)  # (P,)
        self._terms = halves[num_orders:]  # (P,)
        self._ngram_chars = ngram_chars

    def signatures(self, texts: Sequence[str]) -> NDArray[np.uint32]:  # (N, P)
        """The least value of each text under each order. A short text counts as one n-gram."""
        signatures = np.empty((len(texts), len(self._factors)), np.uint32)
        for first, group in self._groups(texts):
            # Only the n-grams that lie within one text count, not those over the seam of two.
            hashes = (char_ngram_hashes("".join(group), self._ngram_chars) >> np.uint64(32)).astype(
                np.uint32
            )
            start = 0
            for place, text in enumerate(group, first):
                end = start + len(text) - self._ngram_chars + 1
                signatures[place] = self._least(hashes[start:end])
                start += len(text)
        return signatures

    def _least(self, hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:  # (P,)
        least = np.full(len(self._factors), _MOST, np.uint32)
        for first in range(0, len(hashes), _CHUNK_HASHES):
            values = hashes[first : first + _CHUNK_HASHES, None] * self._factors  # (H, P)
            values += self._terms
            np.minimum(least, values.min(axis=0), out=least)
        return least

    def _groups(self, texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Texts in a row that are hashed together, and the place of the first. Those shorter than
        an n-gram are filled up as ``char_ngram_hashes`` would.
        """
        group: list[str] = []
        num_chars = 0
        for place, text in enumerate(texts):
            group.append(text.ljust(self._ngram_chars, "\0"))
            num_chars += len(group[-1])
            if num_chars >= _GROUP_CHARS:
                yield place + 1 - len(group), group
                group, num_chars = [], 0
        if group:
            yield len(texts) - len(group), group
