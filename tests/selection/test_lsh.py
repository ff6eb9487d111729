"""Bands: what is found at which likeness, however many rows there are."""

from __future__ import annotations

import numpy as np
import pytest

from weave_async.selection.lsh import SKETCH_BITS, BandedIndex, Banding, farthest_sketch

SKETCH_WORDS = SKETCH_BITS // 64


def keys_of(rows: range, num_bands: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**32, (len(rows), num_bands), np.uint32)


@pytest.mark.parametrize("threshold", [0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0])
def test_bands_find_nearly_all_pairs_at_the_threshold(threshold: float) -> None:
    banding = Banding.for_threshold(threshold)
    assert 1 - (1 - threshold**banding.band_minima) ** banding.num_bands >= 0.99
    assert banding.num_minima >= SKETCH_BITS


def test_the_higher_the_threshold_the_fewer_bits_may_differ() -> None:
    farthest = [farthest_sketch(threshold) for threshold in (0.5, 0.7, 0.9, 1.0)]
    assert farthest == sorted(farthest, reverse=True)
    assert farthest[-1] == 0


def test_rows_are_found_again_after_the_tables_have_grown() -> None:
    """As some buckets are full, not each band finds each row; but some band does."""
    banding = Banding.for_threshold(0.8)
    index = BandedIndex(banding, 0.8)
    rows = range(20_000)
    keys = keys_of(rows, banding.num_bands)
    sketches = np.random.default_rng(1).integers(0, 2**64, (len(rows), SKETCH_WORDS), np.uint64)
    for row in rows:
        assert index.add(keys[row], sketches[row]) == row
    assert all(index.near(keys[row], sketches[row]) == [(0, row)] for row in rows)
    assert index.num_bytes < 300 * len(rows)


def test_of_rows_that_share_all_bands_a_few_are_found() -> None:
    banding = Banding.for_threshold(0.8)
    index = BandedIndex(banding, 0.8)
    keys, sketch = keys_of(range(1), banding.num_bands)[0], np.zeros(SKETCH_WORDS, np.uint64)
    for _ in range(5000):
        index.add(keys, sketch)
    assert index.near(keys, sketch) == [(0, row) for row in range(8)]


def test_the_nearest_come_first() -> None:
    banding = Banding.for_threshold(0.8)
    index = BandedIndex(banding, 0.8)
    [keys] = keys_of(range(1), banding.num_bands)
    for bits in (7, 1, 0, 3):
        index.add(keys, np.array([bits, *[0] * (SKETCH_WORDS - 1)], np.uint64))
    assert index.near(keys, np.zeros(SKETCH_WORDS, np.uint64)) == [(0, 2), (1, 1), (2, 3), (3, 0)]
