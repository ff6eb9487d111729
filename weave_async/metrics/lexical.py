"""Diversity as the words show it. The definitions in words, with their sources, are in
``catalogue.py``; each of these raises ``CannotTellError`` where it has no value.
"""

from __future__ import annotations

import lzma
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import CannotTellError

OPENING_WORDS = 3
MTLD_FACTOR = 0.72  # McCarthy and Jarvis, 2010, p. 385
_MIN_MTLD_WORDS = 50  # they find it steady from about 100 words on, and usable from 50
_XZ_PRESET = 6  # a window of 8 MiB: far copies are seen, as gzip's 32 KiB would not


def distinct(corpus: Corpus, n: int) -> float:
    grams, _ = corpus.ngrams(n)
    if not len(grams):
        raise CannotTellError(_too_short(n))
    return len(np.unique(grams)) / len(grams)


def compression_ratio(corpus: Corpus) -> float:
    plain = "\n".join(corpus.texts).encode("utf-8", "surrogatepass")
    if not plain.strip():
        raise CannotTellError("there is no text")
    packed = lzma.compress(plain, lzma.FORMAT_XZ, lzma.CHECK_NONE, _XZ_PRESET)
    return len(plain) / len(packed)


def mtld(corpus: Corpus) -> float:
    words = [word for words in corpus.words for word in words]
    if len(words) < _MIN_MTLD_WORDS:
        raise CannotTellError(f"MTLD needs {_MIN_MTLD_WORDS} words; there are {len(words)}")
    return mtld_of(words)


def mtld_of(words: Sequence[str]) -> float:
    """The mean of both directions. Raises ``CannotTellError`` if no word comes twice."""
    return (_mtld_one_way(words) + _mtld_one_way(words[::-1])) / 2


def _mtld_one_way(words: Sequence[str]) -> float:
    """Words per factor: a stretch in which types / words falls to the factor size, and what is
    left over at the end counts as the part of a factor that it has gone through.
    """
    num_factors, num, types, ratio = 0.0, 0, set[str](), 1.0
    for word in words:
        num += 1
        types.add(word)
        ratio = len(types) / num
        if ratio <= MTLD_FACTOR:
            num_factors += 1
            num, types, ratio = 0, set(), 1.0
    num_factors += (1 - ratio) / (1 - MTLD_FACTOR)
    if not num_factors:
        raise CannotTellError("no word comes twice")
    return len(words) / num_factors


def novelty(corpus: Corpus, n: int) -> float:
    if corpus.seeds is None or not corpus.seeds.num_rows:
        raise CannotTellError("there are no seed texts to compare with")
    num_new, num_judged = corpus.seeds.counts(corpus.ngrams(n)[0], n)
    if not num_judged:
        raise CannotTellError(_too_short(n))
    return num_new / num_judged


def _too_short(n: int) -> str:
    return f"no text has {n} words" if n > 1 else "no text has words"


def opening_of(words: Sequence[str]) -> str:
    return " ".join(words[:OPENING_WORDS])


def openings(words_by_row: Iterable[Sequence[str]]) -> Counter[str]:
    """How many texts begin with which words; texts without words are left out."""
    return Counter(opening_of(words) for words in words_by_row if words)


def top_opening(corpus: Corpus) -> tuple[int, int]:
    """How many texts have the most common opening, of how many that have words."""
    counts = openings(corpus.words)
    if not counts:
        raise CannotTellError("no text has words")
    return max(counts.values()), counts.total()


def top_opening_share(corpus: Corpus) -> float:
    count, total = top_opening(corpus)
    return count / total
