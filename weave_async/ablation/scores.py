"""How good predictions are, and whether some are better than others.

Differences are paired: both models answer the same rows. Intervals know of two kinds of luck, that
of the test rows, which are drawn anew, and that of the trainings, of which there are few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.intp]
NUM_RESAMPLES = 400


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


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one dataset: its score, that of each training, and the score on each resample of the test
    rows. Two of them are paired where they were made of the same rows by the same seed.
    """

    value: float
    by_training: NDArray[np.float64]
    by_rows: NDArray[np.float64]

    def less(self, other: Scores) -> Scores:
        """The differences, pair by pair."""
        return Scores(
            self.value - other.value,
            self.by_training - other.by_training,
            self.by_rows - other.by_rows,
        )

    def interval(self, *, left_out: float | None = None) -> Interval:
        """95 % by Student's t, as there are few trainings. Test rows and trainings both vary.

        Trainings on draws of their own vary as draws do. Those that each leave out a share of the
        same rows vary too little by (1 - share) / share (delete-d jackknife: Shao and Wu, 1989).
        """
        num = len(self.by_training)
        spread = float(self.by_training.var(ddof=1)) if num > 1 else 0.0
        of_trainings = spread / num if left_out is None else spread * (1 - left_out) / left_out
        reach = _t_975(num - 1) * math.sqrt(of_trainings + float(self.by_rows.var(ddof=1)))
        return Interval(self.value, self.value - reach, self.value + reach)


def scores_of(truth: Labels, predictions: Sequence[Labels], num_classes: int, seed: int) -> Scores:
    """Macro-F1 of ``predictions``, one per training, all of the same test rows."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(NUM_RESAMPLES):
        rows = rng.integers(0, len(truth), len(truth))
        each = [macro_f1(truth[rows], guessed[rows], num_classes) for guessed in predictions]
        drawn.append(float(np.mean(each)))
    each = [macro_f1(truth, guessed, num_classes) for guessed in predictions]
    return Scores(float(np.mean(each)), np.array(each), np.array(drawn))


def _t_975(degrees: int) -> float:
    """The 97.5 % point of Student's t."""
    from scipy.stats import t  # it comes with scikit-learn

    return float(t.ppf(0.975, max(1, degrees)))


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
