"""Diversity of all rows so far, in about 1 MB however many there are.

Everything here but the rarest openings is the same in whatever order and batches the rows come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weave_async.metrics.hyperloglog import RELATIVE_ERROR, HyperLogLog
from weave_async.metrics.lexical import openings
from weave_async.metrics.semantic import StreamingVendi
from weave_async.metrics.space_saving import SpaceSaving
from weave_async.metrics.word_ngrams import SeedNgrams, word_hashes, word_ngrams

NUM_WORD_DIMENSIONS = 128
_MAX_LENGTH = 10_000  # words; longer texts are counted as of this length
_NUM_OPENINGS = 2_000
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class StreamingDiversity:
    """``add`` takes the words of a batch of rows: some hundred of them, as each call costs 0.5 ms.

    - ``distinct_1`` to ``distinct_3``: HyperLogLog over the exact number of runs.
    - ``novelty_2``, ``novelty_3``: exact, up to a million different runs in the seeds.
    - ``top_opening_share``: Space-Saving; too high by 1 / 2,000 at most.
    - ``vendi_words``: the Vendi score of words and pairs of words, hashed with signs into 128
      dimensions: cheap enough for every row, for the trend during a run. No embedder's figures can
      be compared with it.
    - the lengths: exact.
    """

    def __init__(self, seeds: SeedNgrams | None = None) -> None:
        self.num_rows = 0
        self.num_words = 0
        self._seeds = seeds if seeds and seeds.num_rows else None
        self._distinct = {n: HyperLogLog() for n in (1, 2, 3)}
        self._num_runs = dict.fromkeys(self._distinct, 0)
        self._new_runs = dict.fromkeys((2, 3), (0, 0))
        self._openings = SpaceSaving(_NUM_OPENINGS)
        self._vendi = StreamingVendi(NUM_WORD_DIMENSIONS)
        self._lengths = np.zeros(_MAX_LENGTH + 1, np.int64)

    def add(self, words_by_row: Sequence[Sequence[str]]) -> None:
        lengths = np.array([len(words) for words in words_by_row], np.intp)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        hashes = word_hashes(words_by_row)
        self.num_rows += len(lengths)
        self.num_words += len(hashes)
        self._lengths += np.bincount(np.minimum(lengths, _MAX_LENGTH), minlength=_MAX_LENGTH + 1)
        self._openings.add_all(openings(words_by_row))
        vectors = np.zeros((len(lengths), NUM_WORD_DIMENSIONS))
        for n in self._distinct:
            grams, rows_of_grams = word_ngrams(hashes, rows, n)
            self._distinct[n].add(grams)
            self._num_runs[n] += len(grams)
            if self._seeds and n > 1:
                new, judged = self._seeds.counts(grams, n)
                self._new_runs[n] = self._new_runs[n][0] + new, self._new_runs[n][1] + judged
            if n < 3:
                vectors += _counted(grams, rows_of_grams, len(lengths))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._vendi.add(vectors / np.where(norms > 0, norms, 1.0))

    def values(self) -> dict[str, float]:
        """What can be told so far, by name."""
        values = {
            f"distinct_{n}": min(1.0, self._distinct[n].count() / num)
            for n, num in self._num_runs.items()
            if num
        }
        for n, (new, judged) in self._new_runs.items():
            if judged:
                values[f"novelty_{n}"] = new / judged
        if self._openings.num_counted:
            values["top_opening_share"] = self._openings.top(1)[0][1] / self._openings.num_counted
        if self.num_words:
            values["vendi_words"] = self._vendi.score()
        return values

    def errors(self) -> dict[str, float]:
        """How far each of the values may be from the exact one of the same rows: for HyperLogLog
        the relative standard error, else a bound, absolute for shares. Novelty against a sample of
        the seeds' runs is about as good as a share of so many draws.
        """
        opening = 0.0 if self._openings.is_exact else 1 / _NUM_OPENINGS
        known = {"top_opening_share": opening, "vendi_words": 1e-3}
        for n, (_, judged) in self._new_runs.items():
            is_sampled = self._seeds is not None and self._seeds.is_sampled
            known[f"novelty_{n}"] = 1 / math.sqrt(judged) if judged and is_sampled else 0.0
        return {name: known.get(name, RELATIVE_ERROR) for name in self.values()}

    def top_openings(self, num: int) -> list[dict[str, Any]]:
        total = self._openings.num_counted
        return [
            {"opening": opening, "count": count, "too_high_by_at_most": excess}
            | {"share": count / total}
            for opening, count, excess in self._openings.top(num)
        ]

    def lengths(self) -> dict[str, Any]:
        """Words per row: mean, quantiles and a histogram whose bins double in width."""
        if not self.num_rows:
            return {"mean": None, "quantiles": {}, "histogram": []}
        up_to = np.cumsum(self._lengths)
        places = {q: int(np.searchsorted(up_to, q * self.num_rows)) for q in _QUANTILES}
        bins, start = [], 0
        while start <= _MAX_LENGTH and start <= int(np.flatnonzero(self._lengths)[-1]):
            end = max(start + 1, 2 * start)
            count = int(self._lengths[start:end].sum())
            bins.append({"from": start, "below": end, "num_rows": count})
            start = end
        return {
            "mean": self.num_words / self.num_rows,
            "quantiles": {f"{q:.2f}": place for q, place in places.items()},
            "histogram": bins,
        }


def _counted(
    grams: NDArray[np.uint64], rows: NDArray[np.intp], num_rows: int
) -> NDArray[np.float64]:  # (B, D)
    """Hashing with signs (Weinberger et al., 2009)."""
    places = (grams % np.uint64(NUM_WORD_DIMENSIONS)).astype(np.intp)
    signs = np.where(grams >> np.uint64(63), 1.0, -1.0)
    size = num_rows * NUM_WORD_DIMENSIONS
    counts = np.bincount(rows * NUM_WORD_DIMENSIONS + places, signs, size)
    return counts.astype(np.float64).reshape(num_rows, NUM_WORD_DIMENSIONS)
