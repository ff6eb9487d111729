"""The metrics of the catalogue, taken of a corpus with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from weave_async.metrics import attribute_coverage, lexical, self_bleu, semantic
from weave_async.metrics.catalogue import CATALOGUE
from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import (
    CannotTellError,
    Estimate,
    jackknifed,
    rows_without_groups,
    share_estimate,
)

Measure = Callable[[Corpus], float]

MEASURES: Mapping[str, Measure] = {
    "distinct_1": partial(lexical.distinct, n=1),
    "distinct_2": partial(lexical.distinct, n=2),
    "distinct_3": partial(lexical.distinct, n=3),
    "self_bleu": self_bleu.self_bleu,
    "compression_ratio": lexical.compression_ratio,
    "mtld": lexical.mtld,
    "novelty_2": partial(lexical.novelty, n=2),
    "novelty_3": partial(lexical.novelty, n=3),
    "top_opening_share": lexical.top_opening_share,
    "vendi": semantic.vendi,
    "cluster_entropy": semantic.cluster_entropy,
    "attribute_coverage": attribute_coverage.attribute_coverage,
    "attribute_pair_coverage": attribute_coverage.attribute_pair_coverage,
    "attribute_entropy": attribute_coverage.attribute_entropy,
}


# Those that are the share of some rows have an interval of their own.
_COUNTS: Mapping[str, Callable[[Corpus], tuple[int, int]]] = {
    "top_opening_share": lexical.top_opening
}


def estimate_of(name: str, corpus: Corpus, parts: Sequence[Corpus]) -> Estimate:
    """One metric with its interval. Raises ``CannotTellError`` where it has no value."""
    if name in _COUNTS:
        return share_estimate(*_COUNTS[name](corpus), num_words=corpus.num_words)
    return jackknifed(
        MEASURES[name],
        corpus,
        parts,
        num_rows=len(corpus),
        num_words=corpus.num_words,
        bounds=CATALOGUE[name].bounds,
    )


def parts_of(corpus: Corpus, seed: int) -> list[Corpus]:
    """The corpus without each group of its rows in turn, for intervals."""
    return [corpus.take(rows) for rows in rows_without_groups(len(corpus), seed)]


def measured(
    corpus: Corpus, names: Iterable[str] = CATALOGUE, *, seed: int
) -> tuple[dict[str, Estimate], dict[str, str]]:
    """The metrics by name, and of those that cannot be told the reason instead."""
    parts = parts_of(corpus, seed)
    estimates: dict[str, Estimate] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            estimates[name] = estimate_of(name, corpus, parts)
        except CannotTellError as error:
            absent[name] = str(error)
    return estimates, absent
