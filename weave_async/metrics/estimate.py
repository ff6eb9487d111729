"""A figure with what it rests on and how far it can be trusted.

Nearly all metrics of diversity look at a set of rows as a whole, and change with its size. Drawing
rows *with* replacement, as the bootstrap does, makes duplicates, and so sets that are less diverse
than any real one: of distinct-2 or the Vendi score it would give intervals that lie beside the
value. The intervals here come from the delete-a-group jackknife, which only ever leaves rows out:
the rows are divided by a seed into 20 groups of ``d``, the metric is taken without each in turn,
and with ``n`` rows

    variance = (n - d) / (d * groups) * sum((without_group - mean_of_those) ** 2)

(Shao and Wu, 1989, for deleting more than one; Kott, 2001, for groups). The spread is taken around
the replicates' own mean, so that it does not matter that smaller sets are more diverse. Intervals
are of 95 % by Student's t, with one degree of freedom less than groups. They say what another such
set of *as many rows* would give, and err to the wide side (Efron and Stein, 1981). Of synthetic
sets of 100 rows, 88 to 100 % held the expected value (60 sets for each metric), and down to
83 % where a share is within 0.01 of its bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from weave_async.features.ngrams import mixed
from weave_async.metrics.wilson import wilson

MAX_GROUPS, MIN_GROUPS = 20, 10
JACKKNIFE = "delete-a-group jackknife"
WILSON = "Wilson score interval"
TOO_FEW = f"no interval: fewer than {MIN_GROUPS} rows"
_STEP = np.uint64(0x9E3779B97F4A7C15)
# The 97.5 % quantiles of Student's t, from 9 degrees of freedom to 19.
_T_975 = (2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093)

_Rows = TypeVar("_Rows")


class CannotTellError(ValueError):
    """The metric has no value for these rows; the message says why, for a report."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of ``num_rows`` rows with ``num_words`` words: both change it.

    ``low`` and ``high`` are a 95 % interval, and ``None`` where there are too few rows for one.
    """

    value: float
    low: float | None
    high: float | None
    num_rows: int
    num_words: int
    method: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def seeded_order(num: int, seed: int) -> NDArray[np.intp]:  # (num,)
    """The numbers below ``num`` in an order that depends on the seed alone."""
    keys = mixed((np.arange(num, dtype=np.uint64) + np.uint64(1)) * _STEP + mixed_seed(seed))
    return np.argsort(keys, kind="stable")


def mixed_seed(seed: int) -> np.uint64:
    return np.uint64(mixed(np.array([seed % 2**64], np.uint64))[0])


def rows_without_groups(num_rows: int, seed: int) -> list[NDArray[np.intp]]:
    """The rows that are left where each group is left out, in their order; none if too few.

    The groups are equally large, so that all replicates are of as many rows; what is over is in
    none of them.
    """
    if num_rows < MIN_GROUPS:
        return []
    num_groups = min(MAX_GROUPS, num_rows)
    order, size = seeded_order(num_rows, seed), num_rows // num_groups
    left = []
    for start in range(0, num_groups * size, size):
        stays = np.ones(num_rows, bool)
        stays[order[start : start + size]] = False
        left.append(np.flatnonzero(stays))
    return left


def jackknife_margin(replicates: Sequence[float], num_rows: int) -> float:
    """Half the width of the interval, from a metric without each of the groups."""
    num_groups = len(replicates)
    deleted = num_rows // num_groups
    values = np.asarray(replicates, np.float64)
    spread = float(((values - values.mean()) ** 2).sum())
    variance = (num_rows - deleted) / (deleted * num_groups) * spread
    return _T_975[num_groups - MIN_GROUPS] * math.sqrt(variance)


def share_estimate(count: int, total: int, *, num_words: int) -> Estimate:
    """How many of so many rows, with Wilson's score interval (1927). The jackknife would see no
    spread in the largest of many small shares.
    """
    low, high = wilson(count, total)
    return Estimate(count / total, low, high, total, num_words, WILSON)


def jackknifed(
    measure: Callable[[_Rows], float],
    rows: _Rows,
    parts: Sequence[_Rows],
    *,
    num_rows: int,
    num_words: int,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """The metric of the rows, its interval from the ``parts``: the rows without each group.

    Raises ``CannotTellError`` where the metric has no value. ``bounds`` are those of the metric.
    """
    value = measure(rows)
    if not math.isfinite(value):
        raise CannotTellError("it has no finite value for these rows")
    if not parts:
        return Estimate(value, None, None, num_rows, num_words, TOO_FEW)
    try:
        margin = jackknife_margin([measure(part) for part in parts], num_rows)
    except CannotTellError as error:
        return Estimate(value, None, None, num_rows, num_words, f"no interval: {error}")
    low, high = max(bounds[0], value - margin), min(bounds[1], value + margin)
    method = f"{JACKKNIFE}, {len(parts)} groups"
    return Estimate(value, low, high, num_rows, num_words, method)
