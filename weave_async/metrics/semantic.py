"""Diversity as embeddings show it. Figures of different embedders cannot be compared.

**Cells instead of k-means** for the cluster entropy: clusters that are fitted to a set divide it
about evenly whatever it is, so that their entropy says little, and cannot be compared with that of
clusters fitted to another. Cells cut by fixed random hyperplanes (Charikar, 2002) are the same for
every dataset with the same embedder, need no fitting and can be counted as rows come. One such
division is coarse and a matter of luck: the mean over 16 of them is not.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from weave_async.features.ngrams import mixed
from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import CannotTellError

CELL_BITS, NUM_DIVISIONS = 6, 16
_GRID = 2.0**13

Matrix = NDArray[np.float64]


def vendi(corpus: Corpus) -> float:
    embeddings = _embeddings(corpus)
    if len(embeddings) < embeddings.shape[1]:
        return vendi_of(embeddings)
    return vendi_of_kernel(corpus.products)


def vendi_of(embeddings: NDArray[np.floating]) -> float:  # (N, D), rows of length 1
    """``exp`` of the entropy of the eigenvalues of the kernel ``X Xᵀ / N``.

    ``Xᵀ X / N`` has the same ones but for zeros, and is taken where it is smaller.
    """
    rows = np.asarray(embeddings, np.float64)
    num_rows, num_dimensions = rows.shape
    return vendi_of_kernel(rows @ rows.T if num_rows < num_dimensions else rows.T @ rows)


def vendi_of_kernel(kernel: Matrix) -> float:
    """The score of a symmetric kernel or of a covariance, whatever its trace."""
    trace = float(np.trace(kernel))
    if trace <= 0:
        raise CannotTellError("no text has an embedding")
    shares = np.linalg.eigvalsh(kernel / trace)
    shares = shares[shares > 1e-12]  # what is below is rounding
    return math.exp(-float((shares * np.log(shares)).sum()))


def cluster_entropy(corpus: Corpus) -> float:
    """From 0, all texts in one cell, to 1, evenly over the cells."""
    _embeddings(corpus)
    entropies = [entropy_of(np.bincount(division)) for division in corpus.per_row(_cells).T]
    return float(np.mean(entropies)) / (CELL_BITS * math.log(2))


def entropy_of(counts: NDArray[np.integer]) -> float:
    """Of the shares that the counts are, in nats."""
    shares = counts[counts > 0] / counts.sum()
    return abs(float((shares * np.log(shares)).sum()))


def _cells(corpus: Corpus) -> NDArray[np.intp]:  # (N, divisions)
    rows = corpus.embeddings
    above = (rows @ _hyperplanes(rows.shape[1]) > 0).reshape(len(rows), NUM_DIVISIONS, CELL_BITS)
    return above @ (1 << np.arange(CELL_BITS))


@cache
def _hyperplanes(num_dimensions: int) -> NDArray[np.float32]:  # (D, divisions * bits)
    """Signs at random (Achlioptas, 2003), the same for every dataset."""
    shape = num_dimensions, NUM_DIVISIONS * CELL_BITS
    bits = mixed(np.arange(1, math.prod(shape) + 1, dtype=np.uint64)) >> np.uint64(63)
    return np.where(bits, 1, -1).astype(np.float32).reshape(shape)


def _embeddings(corpus: Corpus) -> NDArray[np.float32]:  # (N, D)
    if not len(corpus):
        raise CannotTellError("there are no rows")
    if corpus.embedder is None:
        raise CannotTellError("there is no embedder")
    return corpus.embeddings


class StreamingVendi:
    """The Vendi score of all rows so far, from their running covariance: D × D numbers.

    Embeddings are rounded to multiples of 2**-13: every sum of their products is then exact in 64
    bits up to 10**8 rows, and the score is the same in whatever order and batches the rows come.
    It is the kernel's score of those rounded rows; the rounding moves it by less than 0.1 %.
    """

    def __init__(self, num_dimensions: int) -> None:
        self.num_rows = 0
        self._products: Matrix = np.zeros((num_dimensions, num_dimensions))

    def add(self, embeddings: NDArray[np.floating]) -> None:  # (B, D), rows of length 1
        rows = np.rint(np.asarray(embeddings, np.float64) * _GRID) / _GRID
        self._products += rows.T @ rows
        self.num_rows += len(rows)

    def merge(self, other: StreamingVendi) -> None:
        self._products += other._products
        self.num_rows += other.num_rows

    def score(self) -> float:
        """Raises ``CannotTellError`` before the first row."""
        return vendi_of_kernel(self._products)
