"""How much of what attributes can be is met in the rows."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np

from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import CannotTellError
from weave_async.metrics.semantic import entropy_of

MAX_VALUES = 200
"""An attribute with more values than this is a number or free text: none could be covered."""


def attribute_coverage(corpus: Corpus) -> float:
    met = _values_met(corpus)
    shares = []
    for name, known in corpus.attribute_values.items():
        values = {str(value) for value in known}
        if name in met and 0 < len(values) <= MAX_VALUES:
            shares.append(len(values & met[name].keys()) / len(values))
    if not shares:
        raise CannotTellError("which values the attributes can have is not known")
    return float(np.mean(shares))


def attribute_pair_coverage(corpus: Corpus) -> float:
    met = _values_met(corpus)
    varied = sorted(name for name in met if len(_possible(corpus, name, met)) > 1)
    if len(varied) < 2:
        raise CannotTellError("it takes two attributes that can have several values")
    shares = []
    for one, other in combinations(varied, 2):
        pairs = {
            (str(row[one]), str(row[other]))
            for row in corpus.attributes
            if one in row and other in row
        }
        num_possible = len(_possible(corpus, one, met)) * len(_possible(corpus, other, met))
        shares.append(len(pairs) / num_possible)
    return float(np.mean(shares))


def attribute_entropy(corpus: Corpus) -> float:
    met = _values_met(corpus)
    shares = []
    for name, counts in met.items():
        num_possible = len(_possible(corpus, name, met))
        if num_possible > 1:
            entropy = entropy_of(np.array(list(counts.values())))
            shares.append(entropy / math.log(num_possible))
    if not shares:
        raise CannotTellError("no attribute has two values")
    return float(np.mean(shares))


def _possible(corpus: Corpus, name: str, met: dict[str, Counter[str]]) -> set[str]:
    """The values that the attribute can have: those said, and those met."""
    return {str(value) for value in corpus.attribute_values.get(name, ())} | met[name].keys()


def _values_met(corpus: Corpus) -> dict[str, Counter[str]]:
    met: dict[str, Counter[str]] = {}
    for row in corpus.attributes:
        for name, value in row.items():
            met.setdefault(name, Counter())[str(value)] += 1
    met = {name: counts for name, counts in met.items() if len(counts) <= MAX_VALUES}
    if not met:
        raise CannotTellError("the rows have no attributes")
    return met
