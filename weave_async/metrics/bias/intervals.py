"""Figures with 95 % intervals: Wilson's for shares, the bootstrap's for means and differences.

Rows are what is drawn, as one row's words depend on each other. A seed makes every interval the
same again.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from weave_async.metrics.wilson import Z_975, wilson

NUM_RESAMPLES = 400
"""Enough for percentiles near 2.5 and 97.5 to be right in their first two digits."""
_MAX_CELLS = 4_000_000
"""Rows drawn at a time."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """``value`` between ``low`` and ``high``, from ``num_rows`` rows. Always finite."""

    value: float
    low: float
    high: float
    num_rows: int

    @property
    def excludes_zero(self) -> bool:
        """Whether chance alone is an unlikely cause of a difference."""
        return self.low > 0 or self.high < 0

    def excludes(self, value: float) -> bool:
        return not self.low <= value <= self.high

    def as_dict(self) -> dict[str, Any]:
        return {
            "value": round(self.value, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "rows": self.num_rows,
        }


def share(num_hits: float, num_rows: int) -> Estimate:
    """The share of rows that are hits, with Wilson's interval. Needs one row."""
    low, high = wilson(num_hits, num_rows)
    return Estimate(min(1.0, num_hits / num_rows), low, high, num_rows)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """The second less the first, from the intervals of two independent figures (MOVER: Zou and
    Donner, 2008); of two shares it is Newcombe's (1998, method 10).
    """
    change = other.value - one.value
    low = change - hypot(other.value - other.low, one.high - one.value)
    high = change + hypot(other.high - other.value, one.value - one.low)
    return Estimate(change, low, high, one.num_rows + other.num_rows)


@dataclass(slots=True)
class PerAccepted:
    """What all rows have taken for each one that was accepted, summed up row by row.

    A ratio of two sums, by its linearised variance (Cochran, 1977, 6.3): rows that took much and
    were rejected make the others dearer.
    """

    num_rows: int = 0
    num_accepted: int = 0
    _taken: float = 0.0
    _squares: float = 0.0
    _taken_by_accepted: float = 0.0

    def add(self, amount: float, *, is_accepted: bool) -> None:
        self.num_rows += 1
        self._taken += amount
        self._squares += amount * amount
        if is_accepted:
            self.num_accepted += 1
            self._taken_by_accepted += amount

    def estimate(self) -> Estimate | None:
        """``None`` where nothing was accepted."""
        if not self.num_accepted:
            return None
        value = self._taken / self.num_accepted
        residuals = (
            self._squares - 2 * value * self._taken_by_accepted + value**2 * self.num_accepted
        )
        spare = max(1, self.num_rows - 1)
        reach = Z_975 * sqrt(max(0.0, residuals) * self.num_rows / spare) / self.num_accepted
        return Estimate(value, max(0.0, value - reach), value + reach, self.num_rows)


def mean(values: Floats, rng: np.random.Generator) -> Estimate:
    """By the bootstrap, as ``interval`` has it. Needs one row."""
    return interval(float(values.mean()), resampled_means(values, rng), len(values))


def mean_difference(values: Floats, others: Floats, rng: np.random.Generator) -> Estimate:
    """The mean of ``others`` less that of ``values``; each is drawn anew by itself."""
    means = resampled_means(others, rng) - resampled_means(values, rng)
    change = float(others.mean()) - float(values.mean())
    num_rows = len(values) + len(others)
    return interval(change, means, num_rows, fewest=min(len(values), len(others)))


def resampled_means(values: Floats, rng: np.random.Generator) -> Floats:
    """The mean of each of ``NUM_RESAMPLES`` draws of as many rows, with replacement."""
    num_rows = len(values)
    at_a_time = max(1, _MAX_CELLS // num_rows)
    means = []
    for start in range(0, NUM_RESAMPLES, at_a_time):
        num = min(at_a_time, NUM_RESAMPLES - start)
        drawn = rng.integers(0, num_rows, (num, num_rows))  # (resamples, rows)
        means.append(values[drawn].mean(axis=1))
    return np.concatenate(means)


def interval(
    value: float, resampled: Floats, num_rows: int, *, fewest: int | None = None
) -> Estimate:
    """``value`` between the percentiles of what resampling has made of it.

    They are too close together where rows are few: they are moved apart by as much as Student's
    interval is wider than the normal one (Hesterberg, 2015, on expanded percentiles). ``fewest``
    is the size of the smallest group that was drawn from.
    """
    low, high = np.percentile(resampled, (2.5, 97.5))
    wider = _student_over_normal(fewest or num_rows)
    return Estimate(
        value,
        value - max(0.0, (value - float(low)) * wider),
        value + max(0.0, (float(high) - value) * wider),
        num_rows,
    )


def rng_of(seed: int, *names: str) -> np.random.Generator:
    """Each figure draws from a generator of its own: none depends on which others there are."""
    return np.random.default_rng([seed & (2**63 - 1), *(crc32(name.encode()) for name in names)])


def _student_over_normal(num_rows: int) -> float:
    """The factor of the two half-widths, by the expansion of Student's t at the normal's point
    (Fisher and Cornish, 1960); right to 1 % from 5 rows on.
    """
    spare, z = max(1, num_rows - 1), Z_975
    t = (
        z
        + (z**3 + z) / (4 * spare)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * spare**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * spare**3)
    )
    return sqrt((spare + 1) / spare) * t / z
