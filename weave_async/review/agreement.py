"""How far reviewers agree: Cohen's kappa of each two of them, Krippendorff's alpha of them all.

Of the rows that people decided, not of the run: strata in which people find more are shown more
often, and on those they may well agree less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np

from weave_async.metrics.bias.intervals import NUM_RESAMPLES, Estimate, interval, rng_of
from weave_async.metrics.wilson import Z_975, wilson
from weave_async.review_log import HumanVerdict

MIN_REVIEWERS_FOR_ALPHA = 3
"""Of two, alpha and kappa say the same."""


@dataclass(frozen=True, slots=True)
class TwoByTwo:
    """How often two judges of the same rows said what. Counts, or weights that sum to as many rows
    as the weighted ones are worth.
    """

    both_accept: float
    only_first_accepts: float
    only_second_accepts: float
    both_reject: float

    @property
    def total(self) -> float:
        return (
            self.both_accept + self.only_first_accepts + self.only_second_accepts + self.both_reject
        )

    @property
    def observed(self) -> float:
        """The share on which they agree. Needs a row."""
        return (self.both_accept + self.both_reject) / self.total

    @property
    def expected(self) -> float:
        """The share on which they would agree if what one says told nothing of the other."""
        first, second = self._accept_shares()
        return first * second + (1 - first) * (1 - second)

    @property
    def is_one_category(self) -> bool:
        """Both have said one thing alone, the same: agreement by chance is certain then."""
        apart = self.only_first_accepts + self.only_second_accepts
        return apart == 0 and 0 in (self.both_accept, self.both_reject)

    def _accept_shares(self) -> tuple[float, float]:
        first = (self.both_accept + self.only_first_accepts) / self.total
        second = (self.both_accept + self.only_second_accepts) / self.total
        return first, second

    def kappa(self) -> Estimate | None:
        """Cohen's kappa (1960) with a 95 % interval; ``None`` where it is undefined: without a row,
        or with one category alone.

        The interval is by the ``standard_error``. That is 0 where all agree, however few, and too
        small where few disagree: there, and wherever it reaches further, Wilson's interval of the
        observed agreement counts, with the expected one as given, as Cohen himself had it.
        """
        if self.total == 0 or self.is_one_category:
            return None
        observed, expected = self.observed, self.expected
        value = (observed - expected) / (1 - expected)
        reach = Z_975 * self.standard_error()
        shares = wilson(self.both_accept + self.both_reject, self.total)
        low, high = ((share - expected) / (1 - expected) for share in shares)
        return Estimate(
            value,
            max(-1.0, min(low, value - reach)),
            min(1.0, max(high, value + reach)),
            round(self.total),
        )

    def standard_error(self) -> float:
        """Of kappa, where it is defined: Fleiss, Cohen and Everitt (1969), formula 13."""
        first, second = self._accept_shares()
        expected, total = self.expected, self.total
        kept = (1 - self.observed) / (1 - expected)  # 1 - kappa
        on_diagonal = self.both_accept / total * (1 - (first + second) * kept) ** 2
        on_diagonal += self.both_reject / total * (1 - (2 - first - second) * kept) ** 2
        off_diagonal = self.only_first_accepts / total * (second + (1 - first)) ** 2
        off_diagonal += self.only_second_accepts / total * ((1 - second) + first) ** 2
        spread = on_diagonal + kept**2 * off_diagonal - (1 - kept - expected * kept) ** 2
        return sqrt(max(0.0, spread) / total) / (1 - expected)


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Of the rows that both have decided. ``kappa`` is ``None`` where it is undefined."""

    reviewers: tuple[str, str]
    table: TwoByTwo
    kappa: Estimate | None

    @property
    def num_rows(self) -> int:
        return round(self.table.total)

    def as_dict(self) -> dict[str, Any]:
        return {
            "reviewers": list(self.reviewers),
            "rows": self.num_rows,
            "observed": round(self.table.observed, 6) if self.num_rows else None,
            "kappa": self.kappa.as_dict() if self.kappa else None,
        }

    def __str__(self) -> str:
        names = " and ".join(self.reviewers)
        if not self.num_rows:
            return f"{names}: no row in common"
        same = f"{self.table.observed * 100:.0f} %"
        told = f"{names}: {self.num_rows} rows in common, the same on {same}"
        if self.kappa is None:
            return f"{told}; kappa undefined: both said the same of every row"
        return (
            f"{told}; kappa {self.kappa.value:.2f} ({self.kappa.low:.2f} to {self.kappa.high:.2f})"
        )


@dataclass(frozen=True, slots=True)
class Agreement:
    """``alpha`` is Krippendorff's, of three or more reviewers; rows that one of them alone has
    decided say nothing and are left out.
    """

    pairs: tuple[PairAgreement, ...]
    alpha: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "pairs": [pair.as_dict() for pair in self.pairs],
            "alpha": self.alpha.as_dict() if self.alpha else None,
        }

    def __str__(self) -> str:
        lines = [str(pair) for pair in self.pairs]
        if self.alpha is not None:
            value, low, high = self.alpha.value, self.alpha.low, self.alpha.high
            lines.append(
                f"all together: Krippendorff's alpha {value:.2f} ({low:.2f} to {high:.2f})"
            )
        return "\n".join(lines) or "one reviewer: nobody to agree with"


def agreement(verdicts: Iterable[HumanVerdict], *, seed: int = 0) -> Agreement:
    """``verdicts``: one of each reviewer on each row at most. An edit accepts: whether the text
    could be better is not what they were asked.
    """
    accepted: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    reviewers = set[str]()
    for each in verdicts:
        if each.decision != "skip":
            accepted[each.sample_id][each.reviewer] = each.decision == "accept"
            reviewers.add(each.reviewer)
    rows = list(accepted.values())
    pairs = tuple(_pair(rows, one, other) for one, other in combinations(sorted(reviewers), 2))
    alpha = None
    if len(reviewers) >= MIN_REVIEWERS_FOR_ALPHA:
        alpha = _alpha([(sum(row.values()), len(row)) for row in rows], seed)
    return Agreement(pairs, alpha)


def _pair(rows: Iterable[Mapping[str, bool]], one: str, other: str) -> PairAgreement:
    said = [(row[one], row[other]) for row in rows if one in row and other in row]
    table = TwoByTwo(
        both_accept=said.count((True, True)),
        only_first_accepts=said.count((True, False)),
        only_second_accepts=said.count((False, True)),
        both_reject=said.count((False, False)),
    )
    return PairAgreement((one, other), table, table.kappa())


def _alpha(rows: list[tuple[int, int]], seed: int) -> Estimate | None:
    """Krippendorff's alpha for nominal values (2011, "Computing Krippendorff's Alpha-Reliability",
    D), its interval by a bootstrap of the rows. ``rows``: how many accepted it, of how many.
    """
    counts = np.array([each for each in rows if each[1] > 1], np.float64)
    if not len(counts):
        return None
    accepts, decided = counts.T
    apart = 2 * accepts * (decided - accepts) / (decided - 1)
    sums = np.stack((apart, accepts, decided), axis=1)  # (rows, 3)
    value = _alpha_of(sums.sum(axis=0, keepdims=True))[0]
    if np.isnan(value):
        return None
    drawn = rng_of(seed, "alpha").multinomial(
        len(sums), np.full(len(sums), 1 / len(sums)), NUM_RESAMPLES
    )
    resampled = _alpha_of(drawn @ sums)
    resampled = np.where(np.isnan(resampled), 1.0, resampled)  # a draw on which nobody differs
    found = interval(float(value), resampled, len(sums))
    return Estimate(found.value, max(-1.0, found.low), min(1.0, found.high), len(sums))


def _alpha_of(sums: np.ndarray) -> np.ndarray:
    """Of each row of sums: disagreement, acceptances, verdicts. NaN where all said one thing."""
    apart, accepts, decided = sums.T
    by_chance = 2 * accepts * (decided - accepts) / (decided - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 0, 1 - apart / by_chance, np.nan)
