"""Rows made ready for the metrics: their words, hashes and embeddings, each made once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weave_async.features.embeddings import Embedder
from weave_async.features.words import words_of
from weave_async.metrics.word_ngrams import Hashes, SeedNgrams, word_hashes, word_ngrams


class Corpus:
    """A set of texts in a fixed order, and what is known about them.

    The order matters to the compression ratio and to MTLD: whoever makes a corpus puts the texts in
    a seeded one. ``attributes`` are those of each row, and ``attribute_values`` what each of them
    could have been, as far as that is known. ``parent_rows`` are for ``take`` alone.
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        embedder: Embedder | None = None,
        seeds: SeedNgrams | None = None,
        attributes: Sequence[Mapping[str, Any]] = (),
        attribute_values: Mapping[str, Collection[Any]] | None = None,
        parent_rows: tuple[Corpus, NDArray[np.intp]] | None = None,
    ) -> None:
        self.texts = texts
        self.embedder = embedder
        self.seeds = seeds
        self.attributes = attributes
        self.attribute_values = attribute_values or {}
        self._parent_rows = parent_rows
        self._per_row: dict[Any, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[np.intp]) -> Corpus:
        """The corpus of these rows, which makes nothing again that this one has made."""
        return Corpus(
            [self.texts[row] for row in rows],
            embedder=self.embedder,
            seeds=self.seeds,
            attributes=[self.attributes[row] for row in rows] if self.attributes else (),
            attribute_values=self.attribute_values,
            parent_rows=(self, rows),
        )

    @property
    def num_words(self) -> int:
        return int(self.lengths.sum())

    @cached_property
    def words(self) -> list[list[str]]:
        if self._parent_rows:
            parent, rows = self._parent_rows
            return [parent.words[row] for row in rows]
        return [words_of(text) for text in self.texts]

    @cached_property
    def lengths(self) -> NDArray[np.intp]:  # (N,)
        """The number of words of each text."""
        return np.array([len(words) for words in self.words], np.intp)

    @cached_property
    def rows_of_words(self) -> NDArray[np.intp]:  # (all words,)
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def word_hashes(self) -> Hashes:  # (all words,)
        if self._parent_rows:
            parent, rows = self._parent_rows
            ends = np.cumsum(parent.lengths)
            starts = (ends - parent.lengths)[rows]
            places = np.arange(self.num_words) - np.repeat(
                np.cumsum(self.lengths) - self.lengths, self.lengths
            )
            return parent.word_hashes[places + np.repeat(starts, self.lengths)]
        return word_hashes(self.words)

    def per_row(self, measure: Callable[[Corpus], NDArray[Any]]) -> NDArray[Any]:  # (N, …)
        """What a function has for each row by itself, found once for a corpus and all its parts."""
        if measure not in self._per_row:
            if self._parent_rows:
                parent, rows = self._parent_rows
                self._per_row[measure] = parent.per_row(measure)[rows]
            else:
                self._per_row[measure] = measure(self)
        return self._per_row[measure]

    def ngrams(self, n: int) -> tuple[Hashes, NDArray[np.intp]]:  # (G,) (G,)
        """The hash of each run of ``n`` words, and its row."""
        return word_ngrams(self.word_hashes, self.rows_of_words, n)

    @property
    def embeddings(self) -> NDArray[np.float32]:  # (N, D)
        """One row of length 1 per text. Raises ``ValueError`` where there is no embedder."""
        return self.per_row(_embedded)

    @cached_property
    def products(self) -> NDArray[np.float64]:  # (D, D)
        """``Xᵀ X`` of the embeddings; of most of another corpus' rows, its own less the others'."""
        if self._parent_rows and 2 * len(self) > len(self._parent_rows[0]):
            parent, rows = self._parent_rows
            left_out = np.delete(parent.embeddings, rows, axis=0).astype(np.float64)
            return parent.products - left_out.T @ left_out
        embeddings = self.embeddings.astype(np.float64)
        return embeddings.T @ embeddings


def _embedded(corpus: Corpus) -> NDArray[np.float32]:  # (N, D)
    if corpus.embedder is None:
        raise ValueError("no embedder was given")
    return corpus.embedder.embed(corpus.texts)
