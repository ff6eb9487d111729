"""Rows whose MinHash signatures are alike: locality-sensitive hashing in bands, kept small.

A signature's bands are hashed to a key each, and rows that share a key may be alike (Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, §3.4). Each band has a table of its own: buckets
of 8 row numbers, which are found by the key and do not hold it. What else has come into a bucket
is told apart by a sketch of each row: of each of 256 of its minima one bit, as in b-bit minwise
hashing (Li and König, 2010). So a row takes 4 bytes in each table, filled to between 47 % and
70 %, and 32 for its sketch; the keys, which a larger table is made from, wait on disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weave_async.features.ngrams import mixed
from weave_async.selection.spool import Spool

LEAST_THRESHOLD = 0.5
"""Below it, bands of one or two minima would be needed, which all texts of a language share."""
_RECALL = 0.995
"""Of pairs right at the threshold, so many share a band, if no bucket was full; most of those that
are more alike do.
"""
_MOST_BANDS, _MOST_BAND_MINIMA = 24, 12
SKETCH_BITS = 256
"""Half as many would be faster by a sixth where no texts are alike, but let so many through at a
threshold of 0.5 that a text of common words took four times as long.
"""
_SKETCH_DEVIATIONS = 4
"""How far below its expectation the likeness of two sketches may be: one pair in 30,000 is lost."""
_BUCKET_ROWS = 8
_MOST_FILLED, _GROWTH = 0.7, 1.5
_FIRST_ROWS = 1 << 12
_MULTIPLIER = np.uint32(0x9E3779B1)


@dataclass(frozen=True, slots=True)
class Banding:
    """How a signature is cut into bands."""

    num_bands: int
    band_minima: int

    @classmethod
    def for_threshold(cls, threshold: float) -> Banding:
        """As many minima to a band as the recall allows: the more, the fewer false candidates."""
        for minima in range(_MOST_BAND_MINIMA, 0, -1):
            missed = 1 - min(threshold, 0.99) ** minima
            num_bands = math.ceil(math.log(1 - _RECALL) / math.log(missed))
            if num_bands <= _MOST_BANDS:
                return cls(num_bands, minima)
        raise ValueError(f"threshold {threshold} is too low for bands")

    @property
    def num_minima(self) -> int:
        """In a signature, with those that only the sketch needs."""
        return max(self.num_bands * self.band_minima, SKETCH_BITS)

    def keys(self, signatures: NDArray[np.uint32]) -> NDArray[np.uint32]:  # (N, bands)
        banded = signatures[:, : self.num_bands * self.band_minima].reshape(
            len(signatures), self.num_bands, self.band_minima
        )
        keys = np.zeros(banded.shape[:2], np.uint64)
        for place in range(self.band_minima):
            keys = mixed(keys + banded[:, :, place] + np.uint64(1))
        return (keys >> np.uint64(32)).astype(np.uint32)


def sketches(signatures: NDArray[np.uint32]) -> NDArray[np.uint64]:  # (N, SKETCH_BITS / 64)
    """A bit of each of the first minima: equal minima agree in it, others in half of the cases."""
    bits = (signatures[:, :SKETCH_BITS] * _MULTIPLIER) >> np.uint32(31)
    return np.packbits(bits.astype(np.uint8), axis=1).view(np.uint64)


def farthest_sketch(threshold: float) -> int:
    """In how many bits the sketches of two texts may differ that are as alike as that."""
    differing = (1 - threshold) / 2
    deviation = math.sqrt(SKETCH_BITS * differing * (1 - differing))
    return math.ceil(SKETCH_BITS * differing + _SKETCH_DEVIATIONS * deviation)


class BandedIndex:
    """Rows by the keys of their bands, numbered from 0 in the order in which they are added.

    A bucket that is full takes no more: such a row is found by its other bands.
    """

    def __init__(self, banding: Banding, threshold: float) -> None:
        self._num_bands = banding.num_bands
        self._farthest = farthest_sketch(threshold)
        self._num_rows = 0
        # As a table has 0 where there is no row, rows are counted from 1 in here.
        self._sketches = np.zeros((_FIRST_ROWS + 1, SKETCH_BITS // 64), np.uint64)
        self._tables = [self._table(_FIRST_ROWS) for _ in range(self._num_bands)]
        self._keys = np.empty((_FIRST_ROWS, self._num_bands), np.uint32)  # of the last rows
        self._older_keys = Spool()
        self._num_blocks = 0

    def __repr__(self) -> str:
        return f"<BandedIndex {self._num_rows:,} rows, {self.num_bytes:,} bytes>"

    @property
    def num_bytes(self) -> int:
        """In memory."""
        return sum(table.nbytes for table in self._tables) + self._sketches.nbytes

    def __len__(self) -> int:
        return self._num_rows

    def near(self, keys: NDArray[np.uint32], sketch: NDArray[np.uint64]) -> list[tuple[int, int]]:
        """Rows that may be alike: in how many bits their sketches differ, and their number, the
        nearest first.
        """
        rows = self._rows_at(self._places(keys))
        differing = np.bitwise_count(self._sketches[rows] ^ sketch).sum(axis=1)
        (near,) = np.nonzero((differing <= self._farthest) & (rows > 0))
        if not len(near):
            return []
        return sorted(
            {(d, r - 1) for d, r in zip(differing[near].tolist(), rows[near].tolist(), strict=True)}
        )

    def add(self, keys: NDArray[np.uint32], sketch: NDArray[np.uint64]) -> int:
        """Returns the row's number."""
        if self._num_rows + 1 == len(self._sketches):
            self._grow()
        row = self._num_rows + 1
        self._sketches[row] = sketch
        places = self._places(keys)
        buckets = self._rows_at(places).reshape(-1, _BUCKET_ROWS)
        num_taken = (buckets > 0).sum(axis=1).tolist()
        for table, place, taken in zip(self._tables, places, num_taken, strict=True):
            if taken < _BUCKET_ROWS:
                table[place, taken] = row
        self._keys[self._num_rows % _FIRST_ROWS] = keys
        self._num_rows += 1
        if self._num_rows % _FIRST_ROWS == 0:
            self._older_keys.append(self._keys.T.tobytes())
            self._num_blocks += 1
        return row - 1

    def _places(self, keys: NDArray[np.uint32]) -> list[int]:
        """The bucket of each key in its band's table."""
        places: list[int] = _buckets_of(keys, len(self._tables[0])).tolist()
        return places

    def _rows_at(self, places: list[int]) -> NDArray[np.uint32]:  # (bands * rows in a bucket,)
        return np.concatenate([t[place] for t, place in zip(self._tables, places, strict=True)])

    @staticmethod
    def _table(num_rows: int) -> NDArray[np.uint32]:  # (buckets, rows in one)
        return np.zeros(
            (math.ceil(num_rows / _MOST_FILLED / _BUCKET_ROWS), _BUCKET_ROWS), np.uint32
        )

    def _grow(self) -> None:
        """Room for half as many again. One table after the other, so that there are never two of
        all of them.
        """
        num_rows = int(self._num_rows * _GROWTH)
        sketches = np.zeros((num_rows + 1, self._sketches.shape[1]), np.uint64)
        sketches[: len(self._sketches)] = self._sketches
        self._sketches = sketches
        for band in range(self._num_bands):
            self._tables[band] = self._table(0)  # gives its memory back before the next is made
            self._tables[band] = table = self._table(num_rows)
            for first, keys in self._keys_of(band):
                _fill(table, _buckets_of(keys, len(table)), first + 1)

    def _keys_of(self, band: int) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        """The keys of all rows in one band, and the number of the first of them, in blocks."""
        num_bytes = self._keys.itemsize * _FIRST_ROWS
        for block in range(self._num_blocks):
            offset = (block * self._num_bands + band) * num_bytes
            keys = np.frombuffer(self._older_keys.read(offset, num_bytes), np.uint32)
            yield block * _FIRST_ROWS, keys
        yield self._num_blocks * _FIRST_ROWS, self._keys[: self._num_rows % _FIRST_ROWS, band]


def _buckets_of(keys: NDArray[np.uint32], num_buckets: int) -> NDArray[np.intp]:
    """Each key as a fraction of all keys, of the table (Lemire, 2019): no division."""
    return ((keys.astype(np.uint64) * np.uint64(num_buckets)) >> np.uint64(32)).astype(np.intp)


def _fill(table: NDArray[np.uint32], buckets: NDArray[np.intp], first: int) -> None:
    """Put rows, numbered from ``first``, into their buckets as if they came one by one."""
    order = np.argsort(buckets, kind="stable")
    ordered = buckets[order]
    place_of_first = np.searchsorted(ordered, ordered)  # of the rows in the same bucket
    places = np.arange(len(ordered)) - place_of_first
    places += np.count_nonzero(table[ordered], axis=1)
    fits = places < _BUCKET_ROWS
    table[ordered[fits], places[fits]] = order[fits] + first
