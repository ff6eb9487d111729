"""How near a variation is to its text, for noises that change words: a gate against drift only.

An embedding hardly sees a ``not`` or another number, and takes typos for other words: the rules of
``noise.invariants`` come first, and noises that only misspell are never judged here.

The default floor of embeddings lies between paraphrases (from 0.57 on) and sentences about other
things (up to 0.51). Without the extra ``embeddings`` words and their trigrams are compared, which
takes good paraphrases for something else: its floor keeps out only what has nothing in common.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Similarity(Protocol):
    """``gate_name`` is told in the report; ``default_floor`` is what two texts must reach."""

    gate_name: ClassVar[str]
    default_floor: ClassVar[float]

    def of(self, clean: str, noisy: str) -> float:
        """From 0 (nothing in common) to 1 (the same)."""


class EmbeddingSimilarity:
    """The cosine of two sentence embeddings: see ``features.embeddings``."""

    gate_name: ClassVar[str] = "minilm"
    default_floor: ClassVar[float] = 0.55

    def of(self, clean: str, noisy: str) -> float:
        cosine = float(_embedding(clean) @ _embedding(noisy))
        return min(1.0, max(0.0, cosine))


class LexicalSimilarity:
    """The cosine of two texts' counts of character trigrams, words counted in."""

    gate_name: ClassVar[str] = "trigrams"
    default_floor: ClassVar[float] = 0.1

    def of(self, clean: str, noisy: str) -> float:
        one, other = _trigrams(clean), _trigrams(noisy)
        product = sum(count * other[gram] for gram, count in one.items())
        sizes = [
            math.sqrt(sum(count * count for count in grams.values())) for grams in (one, other)
        ]
        return product / (sizes[0] * sizes[1]) if product else float(clean == noisy)


def installed_similarity() -> Similarity:
    """The best there is: embeddings where the extra ``embeddings`` is installed."""
    from weave_async.features.embeddings import has_minilm  # loads numpy

    return EmbeddingSimilarity() if has_minilm() else LexicalSimilarity()


def forget_embeddings() -> None:
    """Has the next texts embedded anew, for who measures that."""
    _embedding.cache_clear()


@lru_cache(maxsize=128)
def _embedding(text: str) -> NDArray[np.float32]:  # (384,), of length 1
    from weave_async.features.embeddings import MiniLmEmbedder  # loads numpy

    row: NDArray[np.float32] = MiniLmEmbedder().embed([text])[0]
    return row


def _trigrams(text: str) -> Counter[str]:
    words = text.lower().split()
    grams = Counter(words)
    for word in words:
        padded = f" {word} "
        grams.update(padded[at : at + 3] for at in range(len(padded) - 2))
    return grams
