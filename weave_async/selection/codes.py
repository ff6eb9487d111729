"""Embeddings in a byte per dimension, and cosines of them that come out the same everywhere.

A float32 holds every integer up to 2²⁴. Each product of two codes is one, and of up to 1,040 of
them every sum: so BLAS adds them without rounding, in whatever order, and the similarity of two
rows depends neither on the rows beside them nor on the machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 127
MAX_DIMENSIONS = 2**24 // MOST**2

Codes = NDArray[np.int8]
Floats = NDArray[np.float32]


def codes_of(embeddings: Floats) -> Codes:  # (N, D)
    """Each row in steps of a 127th of its largest number; cosines move by some thousandths."""
    largest = np.abs(embeddings).max(axis=1, initial=0, keepdims=True)  # (N, 1)
    steps = np.divide(MOST, largest, out=np.zeros_like(largest), where=largest > 0)
    codes: Codes = np.rint(embeddings * steps).astype(np.int8)
    return codes


def inverse_norms_of(codes: Codes) -> Floats:  # (N,)
    """One over the length of each row; 0 for a row of zeros, which is like no other."""
    squares = np.einsum("nd,nd->n", codes, codes, dtype=np.int64)  # (N,)
    lengths = np.sqrt(squares.astype(np.float64))
    inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(inverse, np.float32)


def unit_rows_of(codes: Codes) -> Floats:  # (N, D)
    """The embeddings, as far as they are still known."""
    return codes.astype(np.float32) * inverse_norms_of(codes)[:, None]
