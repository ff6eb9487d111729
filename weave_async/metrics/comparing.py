"""Is one set of texts more diverse than another? At equal rows and equal words, or not at all.

Every metric of diversity changes with the number of rows, and most with the length of the texts:
fewer and shorter rows look more diverse (Shaib et al., 2024). So two sets are cut down first: to as
many rows by a seeded subsample, and then, from the shortest row to the longest, each row to the
words of its counterpart in the other set, from its end. Both then have the same lengths throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from weave_async.features.embeddings import Embedder, NgramEmbedder
from weave_async.features.words import words_of
from weave_async.metrics.catalogue import CATALOGUE
from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import (
    CannotTellError,
    Estimate,
    seeded_order,
)
from weave_async.metrics.measuring import estimate_of, parts_of
from weave_async.metrics.word_ngrams import SeedNgrams

MAX_ROWS = 2_000
MAX_LENGTH_RATIO = 2.0
"""Of texts that are longer than the others by more, cutting would compare beginnings alone."""
_MAX_WORDS_APART = 0.05


class UnequalSetsError(ValueError):
    """The two sets cannot be compared as they are, and nobody said that they should be."""


@dataclass(frozen=True, slots=True)
class Change:
    """How far the other is from the one, with a 95 % interval where there are rows enough.

    ``relative`` is the difference over the one's value, ``None`` where that is 0.
    """

    difference: float
    low: float | None
    high: float | None
    relative: float | None
    relative_low: float | None
    relative_high: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two sets; where it cannot be told, only the ``reason`` why."""

    metric: str
    one: Estimate | None = None
    other: Estimate | None = None
    change: Change | None = None
    reason: str | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        change = self.change
        if change is None or change.low is None or change.high is None:
            return False
        return not change.low <= 0 <= change.high

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compared(
    one: Sequence[str],
    other: Sequence[str],
    *,
    seed: int,
    metrics: Sequence[str] | None = None,
    allow_unequal: bool = False,
    embedder: Embedder | None = None,
    seeds_texts: Iterable[str] = (),
    max_rows: int = MAX_ROWS,
) -> dict[str, Comparison]:
    """The metrics of both sets, by name, at equal rows and words; ``max_rows`` at most.

    Without ``metrics``, all that texts alone can tell, and novelty where there are seeds. Raises
    ``UnequalSetsError`` where the rows of one set have more than twice the words of the other's.
    With ``allow_unequal`` both sets are taken as they are, up to ``max_rows``.
    """
    seeds = SeedNgrams(seeds_texts)
    names = _names(metrics, has_seeds=bool(seeds.num_rows))
    num_rows = (max_rows, max_rows) if allow_unequal else (min(max_rows, len(one), len(other)),) * 2
    texts = [
        [part[place] for place in seeded_order(len(part), seed)[:num]]
        for part, num in zip((one, other), num_rows, strict=True)
    ]
    if not allow_unequal:
        texts = list(of_equal_words(*texts))
    embedder = embedder or NgramEmbedder()
    corpora = [Corpus(part, embedder=embedder, seeds=seeds) for part in texts]
    # Groups of their own: one partition for both would pair rows that have nothing in common.
    parts = [parts_of(corpus, seed + place) for place, corpus in enumerate(corpora)]
    comparisons = {}
    for name in names:
        try:
            comparisons[name] = _comparison(name, corpora, parts)
        except CannotTellError as error:
            comparisons[name] = Comparison(name, reason=str(error))
    return comparisons


def of_equal_words(one: Sequence[str], other: Sequence[str]) -> tuple[list[str], list[str]]:
    """As many texts, each cut to the words of its counterpart by length.

    Raises ``UnequalSetsError`` where that would take away more than half of the longer set.
    """
    lengths = [np.array([len(words_of(text)) for text in part]) for part in (one, other)]
    num_words = [int(part.sum()) for part in lengths]
    if min(num_words) * MAX_LENGTH_RATIO < max(num_words):
        per_row = " and ".join(f"{num / max(1, len(one)):.1f}" for num in num_words)
        raise UnequalSetsError(
            f"the rows of the two sets have {per_row} words on average: too far apart to be cut to "
            "the same length. Compare sets of like lengths, or allow unequal ones knowing that "
            "shorter rows look more diverse (allow_unequal)"
        )
    cut: tuple[list[str], list[str]] = list(one), list(other)
    by_length = [np.argsort(part, kind="stable").tolist() for part in lengths]
    for places in zip(*by_length, strict=True):
        least = min(lengths[side][place] for side, place in enumerate(places))
        for side, place in enumerate(places):
            if lengths[side][place] > least:
                cut[side][place] = first_words(cut[side][place], int(least))
    return cut


def first_words(text: str, num_words: int) -> str:
    """As much of the text as has so many words, with what stands between them."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if len(words_of(text[:middle])) <= num_words:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip()


def change_between(one: Estimate, other: Estimate, *, allow_unequal: bool = False) -> Change:
    """The change between two figures taken apart, as of two runs' ``metrics.json``.

    Raises ``UnequalSetsError`` unless both are of as many rows and of about as many words.
    """
    words_apart = abs(one.num_words - other.num_words)
    most_words = max(one.num_words, other.num_words)
    is_equal = one.num_rows == other.num_rows and words_apart <= _MAX_WORDS_APART * most_words
    if not (is_equal or allow_unequal):
        raise UnequalSetsError(
            f"{one.num_rows} rows with {one.num_words} words cannot be compared with "
            f"{other.num_rows} rows with {other.num_words} words: the figure changes with both. "
            "Compare the texts cut down to equal sets, or allow unequal ones (allow_unequal)"
        )
    margins = _margin_of(one), _margin_of(other)
    if margins[0] is None or margins[1] is None:
        return _change(one.value, other.value, None, None)
    relative_margin = None
    if one.value:
        # The delta method for a ratio whose two parts do not depend on each other.
        ratio = other.value / one.value
        relative_margin = math.hypot(margins[1], ratio * margins[0]) / abs(one.value)
    return _change(one.value, other.value, math.hypot(margins[0], margins[1]), relative_margin)


def _names(metrics: Sequence[str] | None, *, has_seeds: bool) -> list[str]:
    if metrics is None:
        needed = {"embedder", "seeds"} if has_seeds else {"embedder"}
        return [name for name, metric in CATALOGUE.items() if needed.issuperset(metric.needs)]
    for name in metrics:
        if name not in CATALOGUE:
            raise ValueError(f"unknown metric {name!r}; known: {', '.join(sorted(CATALOGUE))}")
    return list(metrics)


def _comparison(name: str, corpora: list[Corpus], parts: list[list[Corpus]]) -> Comparison:
    one, other = (
        estimate_of(name, corpus, left) for corpus, left in zip(corpora, parts, strict=True)
    )
    return Comparison(name, one, other, change_between(one, other, allow_unequal=True))


def _margin_of(estimate: Estimate) -> float | None:
    """The wider half: the other one may have been cut off at the metric's bound."""
    if estimate.low is None or estimate.high is None:
        return None
    return max(estimate.value - estimate.low, estimate.high - estimate.value)


def _change(
    one: float, other: float, margin: float | None, relative_margin: float | None
) -> Change:
    difference = other - one
    relative = difference / one if one else None
    low, high = _around(difference, margin)
    return Change(difference, low, high, relative, *_around(relative, relative_margin))


def _around(value: float | None, margin: float | None) -> tuple[float | None, float | None]:
    if value is None or margin is None:
        return None, None
    return value - margin, value + margin
