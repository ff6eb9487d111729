"""Runs of words as 64-bit hashes, for many rows at once.

The hashes are the same in every process. Two different runs of words share one with a probability
of about ``n² / 2**65`` among ``n`` of them: never, for what fits into a dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from weave_async.features.ngrams import mixed
from weave_async.features.words import words_of

Hashes = NDArray[np.uint64]
_FACTOR = 0x9E3779B97F4A7C15
_MAX_KEPT = 1 << 20


@lru_cache(1 << 16)
def word_hash(word: str) -> int:
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def word_hashes(words_by_row: Sequence[Sequence[str]]) -> Hashes:  # (all words,)
    """One hash for each word of all rows, one row behind the other."""
    hashes = [word_hash(word) for words in words_by_row for word in words]
    return np.array(hashes, np.uint64)


def word_ngrams(
    hashes: Hashes, rows: NDArray[np.intp], n: int
) -> tuple[Hashes, NDArray[np.intp]]:  # (G,) (G,)
    """The hash of each run of ``n`` words, and its row. No run goes over the end of a row."""
    num = max(0, len(hashes) - n + 1)
    is_whole = rows[:num] == rows[n - 1 :][:num]
    grams = np.zeros(num, np.uint64)
    for place in range(n):
        grams += hashes[place : place + num] * np.uint64(pow(_FACTOR, place, 2**64))
    return mixed(grams[is_whole]), rows[:num][is_whole]


class SeedNgrams:
    """The n-grams of the seed texts, to tell which of a row's are new.

    Holds 8 bytes for each distinct one, and a million of them for each ``n``: of more, those whose
    hash is below a bound that is halved as often as need be. Rows are then judged by the n-grams
    below it alone, which is a fair sample of them.
    """

    def __init__(self, texts: Iterable[str], *, max_kept: int = _MAX_KEPT) -> None:
        self.num_rows = 0
        self._max_kept = max_kept
        self._known: dict[int, Hashes] = {n: np.zeros(0, np.uint64) for n in (2, 3)}
        self._bound_bits = dict.fromkeys(self._known, 64)
        batch: list[list[str]] = []
        for text in texts:
            self.num_rows += 1
            batch.append(words_of(text))
            if len(batch) == 1000:
                self._add(batch)
                batch = []
        self._add(batch)

    @property
    def is_sampled(self) -> bool:
        """Whether there were more than could be kept, so that novelty is an estimate."""
        return min(self._bound_bits.values()) < 64

    def counts(self, grams: Hashes, n: int) -> tuple[int, int]:
        """How many of these n-grams are new, of how many that could be judged."""
        judged = self._below_bound(grams, n)
        known = self._known[n]
        if not len(judged) or not len(known):
            return len(judged), len(judged)
        places = np.minimum(np.searchsorted(known, judged), len(known) - 1)
        return int((known[places] != judged).sum()), len(judged)

    def _add(self, words_by_row: Sequence[Sequence[str]]) -> None:
        hashes = word_hashes(words_by_row)
        rows = np.repeat(np.arange(len(words_by_row)), [len(words) for words in words_by_row])
        for n, known in self._known.items():
            grams, _ = word_ngrams(hashes, rows, n)
            merged = np.union1d(known, self._below_bound(grams, n))
            while len(merged) > self._max_kept:
                self._bound_bits[n] -= 1
                merged = self._below_bound(merged, n)
            self._known[n] = merged

    def _below_bound(self, grams: Hashes, n: int) -> Hashes:
        bits = self._bound_bits[n]
        return grams if bits == 64 else grams[grams < np.uint64(1 << bits)]
