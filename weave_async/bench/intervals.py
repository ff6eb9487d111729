"""How sure a figure is: bootstrap intervals of percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 400
MOST_RESAMPLED = 5000
"""Values of one resample; of more, the interval of so many is scaled by the root of the ratio."""
FEWEST_BEYOND = 5
"""Values that a percentile must leave above it, to be told: p99 needs 500 of them."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval, and how many values it rests on. ``value`` is ``None`` where
    they are too few to tell.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def percentile(values: Sequence[float], percent: float, *, seed: int = 0) -> Figure:
    """With a bootstrap interval (Efron, 1979). Infinite values are taken for what they are."""
    n = len(values)
    if n < fewest_for(percent):
        return Figure(None, None, None, n)
    all_values = np.sort(np.asarray(values, float))
    value = _percentile(all_values, percent)
    rng = np.random.default_rng(seed)
    size = min(n, MOST_RESAMPLED)
    # The rank of a percentile in a resample is binomial: drawing ranks is drawing resamples.
    ranks = rng.binomial(size, percent / 100, NUM_RESAMPLES) / size
    low, high = (float(np.quantile(ranks, at)) for at in (0.025, 0.975))
    shrink = sqrt(size / n)
    middle = percent / 100
    low, high = middle - (middle - low) * shrink, middle + (high - middle) * shrink
    return Figure(
        value,
        _percentile(all_values, 100 * max(0.0, low)),
        _percentile(all_values, 100 * min(1.0, high)),
        n,
    )


def fewest_for(percent: float) -> int:
    """Values below which a percentile would be made up: for p50 10, for p95 100, for p99 500."""
    beyond = min(percent, 100 - percent) / 100
    return max(10, ceil(round(FEWEST_BEYOND / beyond, 6))) if beyond else 10


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    """The nearest rank: a value that was measured, and no mean of two, one of which is infinite."""
    return float(values[min(len(values) - 1, int(percent / 100 * len(values)))])
