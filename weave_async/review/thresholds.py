"""Where a rule's threshold had better be, by the rows that people have decided.

Each candidate splits the rows into those it would reject and those it would pass. The best one of
many looks better than it is on the very rows that chose it. By how much, the bootstrap tells: what
is best for rows drawn anew does worse on the rows as they are (Efron 1983, on optimism). The rest
is its gain, and it is proposed only if that is surely more than nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weave_async.metrics.bias.intervals import NUM_RESAMPLES, Estimate, interval, rng_of
from weave_async.review.candidates import Flags, Floats, candidates_among, rejected_by

MIN_EACH = 10
"""Good rows and bad ones that are needed, and rows whose fate a proposal would change: a share of
fewer may be off by more than 0.3, and a bootstrap of a few that are all alike sees no doubt.
"""
MAX_SHOWN = 9

Worth = Callable[[Floats, Floats], Floats]
"""Of the shares of bad rows rejected, and of good ones passed."""


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """``value`` is ``None`` where the rule has passed the row without telling it. ``weight`` is how
    many rows of the run it stands for; rows are drawn anew within their ``stratum``.
    """

    value: float | None
    is_defect: bool
    weight: float
    stratum: str


@dataclass(frozen=True, slots=True)
class Split:
    """What a threshold would do: the share of all rows that it ``rejects``, the share of bad rows
    that it ``finds``, of good ones that it ``spares``.
    """

    threshold: float
    rejects: float
    finds: float
    spares: float

    @property
    def youden(self) -> float:
        """Youden's J (1950): 1 for a perfect rule, 0 for a coin."""
        return self.finds + self.spares - 1

    def as_dict(self) -> dict[str, float]:
        told = {name: getattr(self, name) for name in ("threshold", "rejects", "finds", "spares")}
        return {name: round(value, 6) for name, value in (*told.items(), ("youden", self.youden))}


@dataclass(frozen=True, slots=True)
class Threshold:
    """``proposed`` is ``None`` where the present one stays; ``why`` says it in words. ``gain`` is
    in Youden's J, or in cost, less its optimism; ``low`` and ``high`` are where the best one lies
    with 95 % confidence. ``is_one_sided``: the rule tells no value of what it passes, so that
    nobody knows what a stricter threshold would do.
    """

    option: str
    now: float
    splits: tuple[Split, ...]
    why: str
    proposed: float | None = None
    low: float | None = None
    high: float | None = None
    gain: Estimate | None = None
    is_one_sided: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "option": self.option,
            "now": self.now,
            "proposed": self.proposed,
            "low": self.low,
            "high": self.high,
            "gain": self.gain.as_dict() if self.gain else None,
            "why": self.why,
            "one_sided": self.is_one_sided,
            "splits": [split.as_dict() for split in self.splits],
        }


def threshold_for(
    option: str,
    now: float,
    rows: Sequence[ScoredRow],
    *,
    miss_cost: float | None = None,
    seed: int = 0,
) -> Threshold:
    """``option`` begins with ``min`` or ``max``. ``miss_cost`` is what a bad row in the dataset
    costs, in good rows lost; without it Youden's J is maximised.
    """
    is_least = option.startswith("min")
    values = np.array([np.nan if row.value is None else row.value for row in rows], np.float64)
    is_one_sided = bool(np.isnan(values).any())
    candidates = candidates_among(values, now, is_least=is_least, is_one_sided=is_one_sided)
    bad = np.array([row.is_defect for row in rows], np.bool_)
    weights = np.array([row.weight for row in rows], np.float64)
    rejects = rejected_by(values, candidates, is_least=is_least)  # (rows, candidates)
    every = _splits(candidates, rejects, bad, weights)
    lacking = [
        f"{MIN_EACH - num} more that people {verb}"
        for verb, num in (("reject or edit", int(bad.sum())), ("accept", int((~bad).sum())))
        if num < MIN_EACH
    ]
    if lacking:
        why = f"too few verdicts: needs {' and '.join(lacking)}"
        return Threshold(option, now, _shown(every, {now}), why, is_one_sided=is_one_sided)
    if len(candidates) < 2:
        why = f"keep {now:g}: all rows are on one side of any other"
        return Threshold(option, now, _shown(every, {now}), why, is_one_sided=is_one_sided)
    worth = _worth_by(miss_cost, bad, weights)
    search = _Search(candidates, rejects, bad, worth, int(np.argmin(np.abs(candidates - now))))
    strata = [row.stratum for row in rows]
    decided = _decided(option, now, search, weights, strata, every, seed)
    return replace(decided, is_one_sided=is_one_sided)


@dataclass(frozen=True, slots=True)
class _Search:
    """``present`` is the place of the threshold that the rule has now."""

    candidates: Floats
    rejects: Flags  # (rows, candidates)
    bad: Flags
    worth: Worth
    present: int

    def best(self, weights: Floats) -> NDArray[np.intp]:
        """For each row of weights; of those that are as good, the one nearest to the present."""
        found = self.worth(*_shares(self.rejects, self.bad, weights))  # (draws, candidates)
        far = np.abs(np.arange(len(self.candidates)) - self.present)
        best: NDArray[np.intp] = np.argmax(np.round(found, 9) - far * 1e-12, axis=1)
        return best

    def gains(self, weights: Floats) -> Floats:
        """Of each threshold over the present one, (draws, candidates)."""
        found = self.worth(*_shares(self.rejects, self.bad, weights))
        gained: Floats = found - found[:, [self.present]]
        return gained


def _decided(
    option: str,
    now: float,
    search: _Search,
    weights: Floats,
    strata: Sequence[str],
    every: Sequence[Split],
    seed: int,
) -> Threshold:
    once = weights[np.newaxis]
    place = search.best(once)[0]
    best = float(search.candidates[place])
    drawn = _drawn_anew(strata, rng_of(seed, "threshold", option)) * weights
    best_drawn = search.best(drawn)
    low, high = np.quantile(
        search.candidates[best_drawn], (0.025, 0.975), method="closest_observation"
    )
    gains, gains_drawn = search.gains(once)[0], search.gains(drawn)
    own = gains_drawn[np.arange(len(drawn)), best_drawn]
    optimism = float((own - gains[best_drawn]).mean())
    gain = interval(float(gains[place]) - optimism, gains_drawn[:, place] - optimism, len(weights))
    num_between = int((search.rejects[:, place] != search.rejects[:, search.present]).sum())
    is_better = gain.low > 0 and num_between >= MIN_EACH
    if is_better:
        why = f"propose {best:g} ({low:g} to {high:g})"
        if any(split.threshold == best and not split.rejects for split in every):
            why += ", which rejects none of these rows"
    elif best == now:
        why = f"keep {now:g}: it is the best"
    elif num_between < MIN_EACH:
        why = f"keep {now:g}: too few verdicts, {num_between}, lie between it and {best:g}"
    else:
        why = f"keep {now:g}: no other is surely better"
    return Threshold(
        option=option,
        now=now,
        splits=_shown(every, {now, best}),
        why=why,
        proposed=best if is_better else None,
        low=float(low),
        high=float(high),
        gain=gain,
    )


def _shares(rejects: Flags, bad: Flags, weights: Floats) -> tuple[Floats, Floats]:
    """Of bad rows rejected and of good ones passed, (draws, candidates), by ``weights`` (draws,
    rows). None in a draw without such rows.
    """
    of_bad, of_good = weights * bad, weights * ~bad
    with np.errstate(invalid="ignore", divide="ignore"):
        finds = (of_bad @ rejects) / of_bad.sum(axis=1, keepdims=True)
        spares = (of_good @ ~rejects) / of_good.sum(axis=1, keepdims=True)
    return np.nan_to_num(finds), np.nan_to_num(spares)


def _worth_by(miss_cost: float | None, bad: Flags, weights: Floats) -> Worth:
    if miss_cost is None:
        return lambda finds, spares: finds + spares - 1
    share = float(weights[bad].sum() / weights.sum())
    return lambda finds, spares: -(miss_cost * share * (1 - finds) + (1 - share) * (1 - spares))


def _splits(candidates: Floats, rejects: Flags, bad: Flags, weights: Floats) -> tuple[Split, ...]:
    """None where there are no good rows or no bad ones."""
    if bad.all() or not bad.any():
        return ()
    finds, spares = _shares(rejects, bad, weights[np.newaxis])
    shares = (weights @ rejects) / weights.sum()
    table = np.stack((candidates, shares, finds[0], spares[0]), axis=1)
    return tuple(Split(*row) for row in table.tolist())


def _shown(every: Sequence[Split], kept: set[float]) -> tuple[Split, ...]:
    """Those kept, and others evenly among them."""
    if len(every) <= MAX_SHOWN:
        return tuple(every)
    places = set(np.linspace(0, len(every) - 1, MAX_SHOWN - len(kept)).round().astype(int).tolist())
    return tuple(split for n, split in enumerate(every) if n in places or split.threshold in kept)


def _drawn_anew(strata: Sequence[str], rng: np.random.Generator) -> Floats:
    """How often each row is drawn, with replacement within its stratum: (draws, rows)."""
    names = np.array(strata)
    times = np.zeros((NUM_RESAMPLES, len(names)), np.float64)
    for name in sorted(set(strata)):
        places = np.flatnonzero(names == name)
        equal = np.full(len(places), 1 / len(places))
        times[:, places] = rng.multinomial(len(places), equal, NUM_RESAMPLES)
    return times
