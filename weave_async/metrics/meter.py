"""The diversity of a run's rows: quick figures while it goes on, exact ones at its end.

Loads numpy: whoever starts up without it imports this where it is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from weave_async.features.embeddings import Embedder, NgramEmbedder
from weave_async.features.words import words_of
from weave_async.metrics.corpus import Corpus
from weave_async.metrics.measuring import measured
from weave_async.metrics.reservoir import MAX_TEXT_CHARS, SeededReservoir
from weave_async.metrics.streaming import StreamingDiversity
from weave_async.metrics.word_ngrams import SeedNgrams
from weave_async.records import Sample

MAX_ROWS = 2_000
_BATCH = 256


class DiversityMeter:
    """Counts accepted samples, each once, by their completions.

    All rows go into the streaming estimates. ``max_rows`` of them, which the seed and their ids
    decide and not their order, are kept for the exact metrics: on a fixed number of rows, as all
    metrics change with it. ``embedder`` is that of ``vendi`` and ``cluster_entropy``, character
    n-grams unless told otherwise. ``seeds_texts`` are what novelty is told against;
    ``attribute_values`` are the values that attributes can have, where they are known.

    No figure is ever NaN or infinite: what cannot be told is absent.
    """

    def __init__(
        self,
        seed: int,
        *,
        embedder: Embedder | None = None,
        seeds_texts: Iterable[str] = (),
        attribute_values: Mapping[str, Collection[Any]] | None = None,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._seed = seed
        self._embedder = embedder or NgramEmbedder()
        self._seeds = SeedNgrams(seeds_texts)
        self._attribute_values = attribute_values
        self._reservoir = SeededReservoir(max_rows, seed)
        self._stream = StreamingDiversity(self._seeds)
        self._pending: list[list[str]] = []

    def __repr__(self) -> str:
        num_rows = self._stream.num_rows + len(self._pending)
        return f"<DiversityMeter {num_rows} rows, {len(self._reservoir)} kept>"

    def count(self, samples: Sequence[Sample]) -> None:
        """Takes note of these samples. Of long texts, the first 10,000 characters."""
        for sample in samples:
            text = sample.completion[:MAX_TEXT_CHARS]
            self._reservoir.offer(sample.sample_id, text, sample.prompt.attributes)
            self._pending.append(words_of(text))
            if len(self._pending) == _BATCH:
                self._flush()

    def snapshot(self) -> dict[str, float]:
        """Figures of all rows so far for a progress line, within some milliseconds."""
        self._flush()
        counts = {"num_rows": self._stream.num_rows, "num_words": self._stream.num_words}
        return {**counts, **self._stream.values()}

    def figures(self) -> dict[str, Any]:
        """All that is known, as JSON takes it. It waits for as long as embedding ``max_rows`` texts
        and measuring them 21 times takes: seconds.
        """
        self._flush()
        rows = self._reservoir.rows()
        corpus = Corpus(
            [row.text for row in rows],
            embedder=self._embedder,
            seeds=self._seeds,
            attributes=[row.attributes for row in rows],
            attribute_values=self._attribute_values,
        )
        estimates, absent = measured(corpus, seed=self._seed)
        errors = self._stream.errors()
        return {
            "num_rows": self._stream.num_rows,
            "num_words": self._stream.num_words,
            "embedder": self._embedder.name,
            "metrics": {name: estimate.as_dict() for name, estimate in estimates.items()},
            "absent": absent,
            "streaming": {
                name: {"value": value, "error": errors[name]}
                for name, value in self._stream.values().items()
            },
            "top_openings": self._stream.top_openings(10),
            "words_per_row": self._stream.lengths(),
        }

    def _flush(self) -> None:
        if self._pending:
            self._stream.add(self._pending)
            self._pending = []
