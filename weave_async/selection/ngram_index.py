"""Texts by the n-grams of their characters: which of them are how much like a new one."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weave_async.features.ngrams import char_ngram_hashes
from weave_async.selection.lsh import BandedIndex, Banding, sketches
from weave_async.selection.minhash import MinHasher
from weave_async.selection.spool import Spool

_MOST_COMPARED = 16
"""Texts that one is compared with in full: those whose sketches are nearest."""
_MOST_COMPARED_BYTES = 2_000_000
"""The same, but for one text, however long it is."""


@dataclass(frozen=True, slots=True)
class NgramFeatures:
    """A text, and what its like is found by."""

    text: str
    keys: NDArray[np.uint32]  # (bands,)
    sketch: NDArray[np.uint64]  # (SKETCH_BITS / 64,)


class NgramIndex:
    """Texts with labels, of which those are found that have a Jaccard similarity to a new one of
    ``threshold`` or more, as sets of their runs of ``ngram_chars`` characters.

    MinHash only proposes: what is found has been compared with the texts themselves, which wait on
    disk. So nothing is found wrongly, and about one in a hundred right at the threshold is missed.
    """

    def __init__(self, threshold: float, ngram_chars: int) -> None:
        self._threshold = threshold
        self._ngram_chars = ngram_chars
        self._banding = Banding.for_threshold(threshold)
        self._hasher = MinHasher(self._banding.num_minima, ngram_chars)
        self._index = BandedIndex(self._banding, threshold)
        self._records = Spool()
        self._ends = array("Q", [0])  # of the records, each of which begins where another ends

    def __repr__(self) -> str:
        return f"<NgramIndex {len(self._index):,} texts>"

    def __len__(self) -> int:
        return len(self._index)

    def features_of(self, texts: Sequence[str]) -> list[NgramFeatures]:
        signatures = self._hasher.signatures(texts)
        each = zip(texts, self._banding.keys(signatures), sketches(signatures), strict=True)
        return [NgramFeatures(*features) for features in each]

    def add(self, features: NgramFeatures, label: str) -> None:
        """``label`` is what it is found by, whatever that says; it has no zero character."""
        self._index.add(features.keys, features.sketch)
        record = f"{label}\0{features.text}".encode(errors="surrogatepass")
        self._ends.append(self._records.append(record) + len(record))

    def similar(self, features: NgramFeatures) -> Iterator[tuple[float, str]]:
        """The similarity and the label of texts that are as alike as the threshold."""
        near = self._index.near(features.keys, features.sketch)
        if not near:
            return
        ngrams = self._ngrams(features.text)
        num_bytes = 0
        for _, row in near[:_MOST_COMPARED]:
            if num_bytes > _MOST_COMPARED_BYTES:
                return
            label, text = self._record(row)
            num_bytes += len(text)
            similarity = 1.0 if text == features.text else jaccard(ngrams, self._ngrams(text))
            if similarity >= self._threshold:
                yield similarity, label

    def holds(self, features: NgramFeatures) -> bool:
        """Whether this very text is there, as far as that is quickly found."""
        near = self._index.near(features.keys, features.sketch)
        return any(
            not differing and self._record(row)[1] == features.text
            for differing, row in near[:_MOST_COMPARED]
        )

    def _record(self, row: int) -> tuple[str, str]:
        start, end = self._ends[row], self._ends[row + 1]
        record = self._records.read(start, end - start).decode(errors="surrogatepass")
        label, _, text = record.partition("\0")
        return label, text

    def _ngrams(self, text: str) -> NDArray[np.uint64]:  # (distinct,)
        hashes = np.sort(char_ngram_hashes(text, self._ngram_chars))
        # np.unique looks them up in a table, which takes a hundred times as long (numpy 2.4).
        is_first = np.ones(len(hashes), bool)
        is_first[1:] = hashes[1:] != hashes[:-1]
        return hashes[is_first]


def jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """Of two sets, without repeats: what they share of what there is."""
    num_shared = len(np.intersect1d(one, other, assume_unique=True))
    return num_shared / (len(one) + len(other) - num_shared)
