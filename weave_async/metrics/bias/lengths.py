"""Whether a label can be told by length: a model trained on such rows may learn that instead.

``eta_squared`` is the share of the variance of log lengths that lies between labels (Fisher's
correlation ratio): 0 where they are alike. ``omega_squared`` is the same less what chance alone
brings (Hays, 1963). ``auc`` is, for the two labels that lie furthest apart, how often a row of one
is longer than a row of the other, ties by half (Mann and Whitney, 1947): 0.5 where length says
nothing, 1 where it says all. Two that were picked for being far apart are so by chance too:
``auc_by_chance`` is what 95 % of shufflings of the labels stay under.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from weave_async.metrics.bias import intervals
from weave_async.metrics.bias.observed import RowFacts

MIN_ROWS = 5
MAX_VALUES = 20
_MAX_PAIRED = 1000
"""Rows of a label that its bootstrap draws from, as each draw is sorted."""
_NUM_SHUFFLES = 200
T = TypeVar("T")


def figures(rows: Sequence[RowFacts], name: str, rng: np.random.Generator) -> dict[str, Any]:
    """Lengths in words by the values of ``name``: of rows in any language, as they come."""
    by_value: dict[str, list[int]] = {}
    for row in rows:
        if name in row.groups:
            by_value.setdefault(row.groups[name], []).append(row.num_words)
    often = sorted(by_value, key=lambda value: (-len(by_value[value]), value))
    lengths = {
        value: np.array(by_value[value], float)
        for value in often[:MAX_VALUES]
        if len(by_value[value]) >= MIN_ROWS
    }
    told: dict[str, Any] = {
        "rows": sum(map(len, by_value.values())),
        "mean_words": {
            value: intervals.mean(each, rng).as_dict() for value, each in lengths.items()
        },
    }
    if len(lengths) < 2:
        few = "no row has it" if not by_value else f"fewer than two values with {MIN_ROWS} rows"
        return told | {"note": f"nothing to compare: {few}"}
    between, corrected = _effect(list(lengths.values()))
    longest, shortest = _furthest_apart(lengths)
    told["eta_squared"] = round(between, 6)
    told["omega_squared"] = round(corrected, 6)
    auc = _auc(lengths[longest], lengths[shortest], rng)
    by_chance = _auc_by_chance(list(lengths.values()), rng)
    return told | {
        "auc": auc.as_dict(),
        "auc_by_chance": round(by_chance, 6),
        "is_told_by_length": bool(auc.value > by_chance),
        "longest": longest,
        "shortest": shortest,
    }


def _furthest_apart(lengths: Mapping[T, intervals.Floats]) -> tuple[T, T]:
    """The values with the longest and with the shortest rows, by the mean of log lengths,
    which few long rows do not decide.
    """
    means = {value: float(np.log1p(each).mean()) for value, each in lengths.items()}
    ordered = sorted(means, key=lambda value: means[value])
    return ordered[-1], ordered[0]


def _effect(groups: Sequence[intervals.Floats]) -> tuple[float, float]:
    logs = [np.log1p(group) for group in groups]
    everything = np.concatenate(logs)
    total = float(((everything - everything.mean()) ** 2).sum())
    if total <= 1e-12:  # all of one length
        return 0.0, 0.0
    within = sum(float(((each - each.mean()) ** 2).sum()) for each in logs)
    between, spare = total - within, len(everything) - len(logs)
    if spare <= 0:
        return between / total, 0.0
    noise = within / spare
    corrected = (between - (len(logs) - 1) * noise) / (total + noise)
    return max(0.0, between / total), max(0.0, corrected)


def _auc(
    longer: intervals.Floats, shorter: intervals.Floats, rng: np.random.Generator
) -> intervals.Estimate:
    num_rows = len(longer) + len(shorter)
    value = _shares_won(longer[None, :], shorter[None, :])[0]
    longer, shorter = longer[:_MAX_PAIRED], shorter[:_MAX_PAIRED]
    size = (intervals.NUM_RESAMPLES, len(longer)), (intervals.NUM_RESAMPLES, len(shorter))
    drawn = longer[rng.integers(0, len(longer), size[0])]  # (resamples, rows)
    others = shorter[rng.integers(0, len(shorter), size[1])]
    return intervals.interval(float(value), _shares_won(drawn, others), num_rows)


def _auc_by_chance(groups: Sequence[intervals.Floats], rng: np.random.Generator) -> float:
    everything, ends = np.concatenate(groups), np.cumsum([len(group) for group in groups])[:-1]
    shuffled = []
    for _ in range(_NUM_SHUFFLES):
        drawn = dict(enumerate(np.split(rng.permutation(everything), ends)))
        longest, shortest = _furthest_apart(drawn)
        shuffled.append(_shares_won(drawn[longest][None, :], drawn[shortest][None, :])[0])
    return float(np.percentile(shuffled, 95))


def _shares_won(longer: intervals.Floats, shorter: intervals.Floats) -> intervals.Floats:
    """How often a value of ``longer`` is above one of ``shorter``, ties by half; by row."""
    won = []
    for ours, theirs in zip(longer, np.sort(shorter, axis=1), strict=True):
        below = np.searchsorted(theirs, ours, "left") + np.searchsorted(theirs, ours, "right")
        won.append(below.mean() / (2 * len(theirs)))
    return np.array(won)
