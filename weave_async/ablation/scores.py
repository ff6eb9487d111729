"""How good predictions are, and whether some are better than others.

Differences are paired: both models answer the same rows, and what is drawn anew are rows and
trainings together, so that neither a lucky test set nor a lucky training makes a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.intp]
NUM_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def macro_f1(truth: Labels, predicted: Labels, num_classes: int) -> float:
    """The mean over the classes that there are of the harmonic mean of precision and recall."""
    pairs = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    table = pairs.reshape(num_classes, num_classes)  # (true, predicted)
    hits = np.diag(table)
    total = table.sum(axis=0) + table.sum(axis=1)
    there = table.sum(axis=1) > 0
    scores = np.divide(2 * hits, total, out=np.zeros(num_classes), where=total > 0)
    return float(scores[there].mean()) if there.any() else 0.0


def accuracy(truth: Labels, predicted: Labels) -> float:
    return float((truth == predicted).mean())


def resampled(num_rows: int, num_trainings: int, seed: int) -> list[tuple[Labels, Labels]]:
    """(rows, trainings) of each draw with replacement; the same for all that are compared."""
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(0, num_rows, num_rows), rng.integers(0, num_trainings, num_trainings))
        for _ in range(NUM_RESAMPLES)
    ]


def bootstrapped(
    truth: Labels, predictions: Sequence[Labels], num_classes: int, seed: int
) -> NDArray[np.float64]:
    """The macro-F1 of each draw: the mean over its trainings. ``predictions``: one per training."""
    stacked = np.stack(predictions)  # (trainings, rows)
    scores = []
    for rows, trainings in resampled(len(truth), len(predictions), seed):
        drawn = truth[rows]
        each = [
            macro_f1(drawn, stacked[training][rows], num_classes)
            for training in np.unique(trainings)
        ]
        weights = np.unique(trainings, return_counts=True)[1]
        scores.append(float(np.average(each, weights=weights)))
    return np.array(scores)


def mean_macro_f1(truth: Labels, predictions: Sequence[Labels], num_classes: int) -> float:
    return float(np.mean([macro_f1(truth, each, num_classes) for each in predictions]))


def interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    """By the percentiles of what resampling has made of it (Efron and Tibshirani, 1993)."""
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(value, float(low), float(high))


def rows_worth(
    sizes: Sequence[int], scores: Sequence[float], score: float
) -> tuple[float | None, str]:
    """How many real rows bring this score, by the learning curve of real rows; or, where the curve
    does not reach it, in words why that cannot be told.

    The curve is taken to rise (where it falls, that is noise), and to be straight in the logarithm
    of the rows.
    """
    rising = np.maximum.accumulate(np.asarray(scores, float))
    if score < rising[0]:
        return None, f"fewer than {sizes[0]}, where the curve begins"
    if score > rising[-1]:
        return None, f"more than {sizes[-1]}, where the curve ends"
    logs = np.log(np.asarray(sizes, float))
    above = int(np.searchsorted(rising, score))
    if above == 0 or rising[above] == score:
        return float(sizes[above]), ""
    span = rising[above] - rising[above - 1]
    share = (score - rising[above - 1]) / span
    return float(np.exp(logs[above - 1] + share * (logs[above] - logs[above - 1]))), ""
