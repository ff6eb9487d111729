"""What a text adds to those before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weave_async.features.embeddings import NgramEmbedder

RIDGE = 1.0
"""As much as one text of length 1: the first of its kind scores 1/2, the n-th repeat 1/(1 + n)."""
MOST_CHARS = 10_000
"""Of a text: reading a megabyte would take a second."""
DECIMALS = 6


class Novelty:
    """Ridge leverage scores of texts among all that were kept, embedded by their n-grams.

    The score of row x is x·(C + λI)⁻¹·x, with C the sum of all rows' outer products, its own
    included (Alaoui and Mahoney, 2015): how much of it the others do not already explain, from 0,
    for what was said often, up to 1. Its logarithmic kin, log det(C + λI), is what D-optimal
    designs maximize. The memory is one matrix, whatever the number of texts.
    """

    def __init__(self) -> None:
        self._embedder = NgramEmbedder()
        num_dimensions = self._embedder.num_dimensions
        self._gram = RIDGE * np.eye(num_dimensions)  # (D, D)
        self.num_texts = 0

    def __repr__(self) -> str:
        return f"<Novelty among {self.num_texts} texts>"

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Keep these texts, together: their order does not count."""
        if not texts:
            return []
        rows = self._rows(texts)
        self._gram += rows.T @ rows
        self.num_texts += len(texts)
        explained = np.linalg.solve(self._gram, rows.T).T  # (N, D)
        scores = np.einsum("nd,nd->n", rows, explained)
        return [round(float(score), DECIMALS) for score in scores]

    def _rows(self, texts: Sequence[str]) -> NDArray[np.float64]:  # (N, D)
        embedded = self._embedder.embed([text[:MOST_CHARS] for text in texts])
        return embedded.astype(np.float64)
