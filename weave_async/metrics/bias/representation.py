"""How often each value of an attribute, label or model is there, beside how often it should be.

Counted over all rows. ``tv`` is the total variation distance between the shares and the target,
half the sum of their differences: 0 where they are equal, 1 where they have no value in common. It
is never 0 for few rows: ``tv_by_chance`` is what 95 % of draws of as many rows from the target
itself stay under. ``kl`` is the Kullback–Leibler divergence of the shares from the target in nats,
with half a row added to each value (Krichevsky and Trofimov, 1981), so that none is infinite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from weave_async.metrics.bias import intervals

MAX_VALUES = 500
"""Of one attribute; rows with further ones are counted together."""
OTHERS = "(others)"
MAX_SHOWN = 50
_NUM_DRAWS = 1000


class Representation:
    """Counts of one attribute's values."""

    def __init__(self, target: Mapping[str, float] | None = None) -> None:
        """``target`` are weights, of any sum above zero."""
        weights = {value: weight for value, weight in (target or {}).items() if weight > 0}
        total = sum(weights.values())
        self._target = {value: weight / total for value, weight in weights.items()}
        self._counts: Counter[str] = Counter()

    def count(self, value: str) -> None:
        counts = self._counts
        if value in counts or value in self._target or len(counts) < MAX_VALUES:
            counts[value] += 1
        else:
            counts[OTHERS] += 1

    def figures(self, rng: np.random.Generator) -> dict[str, Any]:
        """Shares with Wilson's intervals; with a target, the distance from it and the values whose
        interval it is not in.
        """
        num_rows = self._counts.total()
        named = list(dict.fromkeys([*self._target, *sorted(self._counts)]))
        named.sort(key=lambda value: -self._counts[value])
        if not num_rows:
            return {"rows": 0, "note": "no row has it"}
        shares = {value: intervals.share(self._counts[value], num_rows) for value in named}
        told: dict[str, Any] = {"rows": num_rows, "num_values": len(named)}
        if self._target:
            told |= self._distances(named, num_rows, rng)
            over = [value for value in named if shares[value].low > self._wanted(value)]
            under = [value for value in named if shares[value].high < self._wanted(value)]
            told |= {"over_represented": over[:MAX_SHOWN], "under_represented": under[:MAX_SHOWN]}
        elif len(named) == 1:
            told["note"] = "one value only"
        told["values"] = {
            value: {**shares[value].as_dict(), "target": self._target.get(value)}
            if self._target
            else shares[value].as_dict()
            for value in named[:MAX_SHOWN]
        }
        return told

    def _wanted(self, value: str) -> float:
        return self._target.get(value, 0.0)

    def _distances(
        self, named: list[str], num_rows: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        target = np.array([self._wanted(value) for value in named])
        counts = np.array([self._counts[value] for value in named], float)
        shares = counts / num_rows
        drawn = rng.multinomial(num_rows, shares, _NUM_DRAWS) / num_rows  # (draws, values)
        by_chance = rng.multinomial(num_rows, target / target.sum(), _NUM_DRAWS) / num_rows
        tv = intervals.interval(_tv(shares, target), _tvs(drawn, target), num_rows)
        # Both with half a row more for each value, so that neither has a zero.
        smoothed = (counts + 0.5) / (num_rows + 0.5 * len(named))
        wanted = (target * num_rows + 0.5) / (num_rows + 0.5 * len(named))
        limit = float(np.percentile(_tvs(by_chance, target), 95))
        return {
            "tv": tv.as_dict(),
            "tv_by_chance": round(limit, 6),
            "is_off_target": bool(tv.value > limit),
            "kl": round(max(0.0, float((smoothed * np.log(smoothed / wanted)).sum())), 6),
        }


def _tv(shares: intervals.Floats, target: intervals.Floats) -> float:
    return float(np.abs(shares - target).sum() / 2)


def _tvs(shares: intervals.Floats, target: intervals.Floats) -> intervals.Floats:  # (draws,)
    distances: intervals.Floats = np.abs(shares - target).sum(axis=1) / 2
    return distances
