"""Self-BLEU (Zhu et al., 2018): each text by BLEU against all the others.

BLEU is Papineni et al.'s (2002) with n-grams of 1 to 4 words, equal weights, the brevity penalty
against the closest length (the shorter of two that are equally close), and the smoothing that
Texygen uses: a precision without any match counts 0.1 matches ("method 1" of Chen and Cherry, 2014,
as NLTK has it with its epsilon), and a text that shares no word with the others scores 0.

With all others as references, an n-gram's count is clipped at its highest count elsewhere. So of
each n-gram its two highest counts are enough, and the whole takes a sort, not all pairs of texts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import CannotTellError

MAX_N = 4
_EPSILON = 0.1


def self_bleu(corpus: Corpus) -> float:
    return float(self_bleu_by_row(corpus).mean())


def self_bleu_by_row(corpus: Corpus) -> NDArray[np.float64]:  # (texts with words,)
    """The BLEU of each text that has words, against all others that have."""
    has_words = np.flatnonzero(corpus.lengths)
    if len(has_words) < 2:
        raise CannotTellError("it takes two texts with words")
    if len(has_words) < len(corpus):
        corpus = corpus.take(has_words)
    log_sum = np.zeros(len(corpus))
    for n in range(1, MAX_N + 1):
        matches = clipped_matches(corpus, n)
        if n == 1:
            shares_a_word = matches > 0
        possible = np.maximum(1, corpus.lengths - n + 1)
        log_sum += np.log(np.where(matches > 0, matches, _EPSILON) / possible) / MAX_N
    scores: NDArray[np.float64] = np.exp(log_sum) * _brevity(corpus.lengths)
    return np.where(shares_a_word, scores, 0.0)


def clipped_matches(corpus: Corpus, n: int) -> NDArray[np.float64]:  # (N,)
    """How many n-grams of each text the others have, each at most as often as one of them has it:
    the numerator of BLEU's modified precision.
    """
    hashes, rows = corpus.ngrams(n)
    if not len(hashes):
        return np.zeros(len(corpus))
    _, grams = np.unique(hashes, return_inverse=True)
    pairs, counts = np.unique(grams * len(corpus) + rows, return_counts=True)
    grams, rows = np.divmod(pairs, len(corpus))  # one entry per n-gram and text
    order = np.lexsort((-counts, grams))
    grams, rows, counts = grams[order], rows[order], counts[order]
    is_first = np.ones(len(grams), bool)
    is_first[1:] = grams[1:] != grams[:-1]
    highest = counts[is_first][grams]
    has_second = np.zeros(len(grams), bool)
    has_second[:-1] = ~is_first[1:]  # the next entry is of the same n-gram
    second = np.where(has_second, np.append(counts[1:], 0), 0)
    elsewhere = np.where(is_first, second, highest)
    matches = np.bincount(rows, np.minimum(counts, elsewhere), len(corpus))
    return matches.astype(np.float64)


def _brevity(lengths: NDArray[np.intp]) -> NDArray[np.float64]:  # (N,)
    values, counts = np.unique(lengths, return_counts=True)
    closest = {}
    for place, (length, count) in enumerate(zip(values.tolist(), counts.tolist(), strict=True)):
        near = [length] if count > 1 else values[max(0, place - 1) : place + 2].tolist()
        others = [other for other in near if count > 1 or other != length]
        closest[length] = min((abs(other - length), other) for other in others)[1]
    reference = np.array([closest[length] for length in lengths.tolist()])
    return np.where(lengths > reference, 1.0, np.exp(1 - reference / lengths))
