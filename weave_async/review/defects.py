"""How many of a run's rows are bad, and how many were wrongly rejected, by the rows that people
have decided.

The rows of each stratum come in a random order, so that those decided are a simple random sample of
it, drawn without replacement; who skips a row must not do so because it is bad. A stratum counts by
its share of all rows: the stratified estimator (Cochran 1977, 5.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot, sqrt
from typing import Any

from weave_async.consensus import Consensus
from weave_async.metrics.wilson import Z_975, wilson
from weave_async.review.decided import DecidedRow
from weave_async.review.strata import POPULATIONS, Population

_ROUNDING = 1e-9
"""A bound that arithmetic has put this near to a whole row is that row."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Of a stratum with ``num_rows``, ``num_decided`` were looked at, ``num_hits`` found."""

    num_rows: int
    num_decided: int
    num_hits: int

    def __post_init__(self) -> None:
        if not 0 <= self.num_hits <= self.num_decided <= self.num_rows:
            raise ValueError(f"{self} counts more than there are")

    @property
    def share(self) -> float:
        return self.num_hits / self.num_decided

    @property
    def left(self) -> float:
        """How much of a share's variance is left, as the rows are drawn without replacement: the
        finite population correction.
        """
        if self.num_decided == self.num_rows:
            return 0.0
        return (self.num_rows - self.num_decided) / (self.num_rows - 1)

    def interval(self) -> tuple[float, float]:
        """Wilson's, of as many rows as would say as much if drawn with replacement."""
        if not self.left:
            return self.share, self.share
        worth = self.num_decided / self.left
        return wilson(self.share * worth, worth)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of a population, between ``low`` and ``high`` with 95 % confidence. ``value`` is of
    the strata that somebody has looked into; the interval has room for anything in the others,
    which hold ``unseen`` of the rows.
    """

    value: float
    low: float
    high: float
    num_rows: int
    num_decided: int
    num_hits: int
    unseen: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "value": round(self.value, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "rows": self.num_rows,
            "decided": self.num_decided,
            "hits": self.num_hits,
            "unseen": round(self.unseen, 6),
        }

    def __str__(self) -> str:
        told = f"{_percent(self.value)} ({_percent(self.low)} to {_percent(self.high)})"
        told += f", by {self.num_decided} of {self.num_rows} rows"
        if self.unseen:
            told += f"; {_percent(self.unseen)} of them are of kinds that nobody has looked at"
        return told


def rate(tallies: Iterable[Tally]) -> Rate | None:
    """Of all strata of a population together; ``None`` where nothing was looked at.

    What nobody has looked at may be all good or all bad: that is no matter of chance, and is added
    to the interval as it is.
    """
    tallies = [each for each in tallies if each.num_rows]
    seen = [each for each in tallies if each.num_decided]
    if not seen:
        return None
    total, num_known = (sum(each.num_rows for each in some) for some in (tallies, seen))
    value = sum(each.num_rows * each.share for each in seen) / num_known
    fewest, most = _hits_between(seen, value)
    return Rate(
        value=value,
        low=fewest / total,
        high=(most + total - num_known) / total,
        num_rows=total,
        num_decided=sum(each.num_decided for each in seen),
        num_hits=sum(each.num_hits for each in seen),
        unseen=1 - num_known / total,
    )


def _hits_between(seen: Sequence[Tally], value: float) -> tuple[int, int]:
    """Of how many rows. Two intervals together, as each is too narrow where the other is not
    (``test_defects`` draws many samples). One joins what may be in each stratum, and holds where
    one of much weight was hardly looked into. The other one holds where few hits are spread over
    many strata.

    Widened to whole rows, and never beyond what those looked at prove.
    """
    (low, high), (lower, higher) = _joined(seen, value), _pooled(seen, value)
    total = sum(each.num_rows for each in seen)
    fewest = sum(each.num_hits for each in seen)
    most = total - sum(each.num_decided - each.num_hits for each in seen)
    return (
        max(fewest, floor(min(low, lower) * total + _ROUNDING)),
        min(most, ceil(max(high, higher) * total - _ROUNDING)),
    )


def _joined(seen: Sequence[Tally], value: float) -> tuple[float, float]:
    """From the strata's intervals, by how far each reaches from its share (MOVER, for a linear
    function of shares: Zou, Huang and Zhang 2009).
    """
    total = sum(each.num_rows for each in seen)
    below = above = 0.0
    for each in seen:
        weight, (low, high) = each.num_rows / total, each.interval()
        below = hypot(below, weight * (each.share - low))
        above = hypot(above, weight * (high - each.share))
    return value - below, value + above


def _pooled(seen: Sequence[Tally], value: float) -> tuple[float, float]:
    """Of one sample that would be as sure as the strata are together: of as many rows as its design
    effect leaves (Kish 1965, 8.2). By Agresti and Coull (1998), who never fall short as far as
    Wilson does for shares near 0 and 1.

    For its variance, each stratum is taken to have a row more, with a hit as likely as elsewhere:
    one without hits in three rows is not known to have none.
    """
    total = sum(each.num_rows for each in seen)
    num = sum(each.num_decided for each in seen)
    usual = (value * num + 1) / (num + 2)
    expected = variance = 0.0
    for each in seen:
        weight, share = each.num_rows / total, (each.num_hits + usual) / (each.num_decided + 1)
        expected += weight * share
        variance += weight**2 * share * (1 - share) / each.num_decided * each.left
    if not variance:
        return value, value
    worth = expected * (1 - expected) / variance
    middle = (value * worth + Z_975**2 / 2) / (worth + Z_975**2)
    reach = Z_975 * sqrt(middle * (1 - middle) / (worth + Z_975**2))
    return middle - reach, middle + reach


@dataclass(frozen=True, slots=True)
class Defects:
    """``None`` where nobody has decided on such a row.

    Of the written rows: ``defective`` are those that people ``reject`` and those that they
    ``edit``. Of the rejected ones: ``wrongly_rejected`` are good as they are, ``mendable`` good
    once they were edited.
    """

    rejected: Rate | None
    edited: Rate | None
    defective: Rate | None
    wrongly_rejected: Rate | None
    mendable: Rate | None

    def as_dict(self) -> dict[str, Any]:
        named = {
            "defective": self.defective,
            "rejected": self.rejected,
            "edited": self.edited,
            "wrongly_rejected": self.wrongly_rejected,
            "mendable": self.mendable,
        }
        return {name: rate.as_dict() if rate else None for name, rate in named.items()}

    def __str__(self) -> str:
        if self.defective is None:
            lines = ["written rows: nobody has decided on one"]
        else:
            lines = [
                f"written rows with a defect: {self.defective}",
                f"  to be rejected: {_short(self.rejected)}",
                f"  to be edited:   {_short(self.edited)}",
            ]
        if self.wrongly_rejected is None:
            lines.append("rejected rows: nobody has decided on one")
        else:
            lines += [
                f"rejected rows that are good as they are: {self.wrongly_rejected}",
                f"  good once edited: {_short(self.mendable)}",
            ]
        return "\n".join(lines)


def defects(rows: Iterable[DecidedRow], num_rows_in: Mapping[str, int]) -> Defects:
    """``num_rows_in``: of all strata of both populations, looked into or not."""
    rows = list(rows)

    def of(population: Population, is_hit: Callable[[Consensus], bool]) -> Rate | None:
        return rate(_tallies(rows, num_rows_in, population, is_hit))

    written, rejected = POPULATIONS
    return Defects(
        rejected=of(written, lambda each: not each.is_accepted),
        edited=of(written, _is_to_be_edited),
        defective=of(written, lambda each: each.is_defect),
        wrongly_rejected=of(rejected, lambda each: not each.is_defect),
        mendable=of(rejected, _is_to_be_edited),
    )


def _is_to_be_edited(consensus: Consensus) -> bool:
    return consensus.edited is not None


def _tallies(
    rows: Iterable[DecidedRow],
    num_rows_in: Mapping[str, int],
    population: Population,
    is_hit: Callable[[Consensus], bool],
) -> list[Tally]:
    num_decided, num_hits = Counter[str](), Counter[str]()
    for each in rows:
        num_decided[each.stratum] += 1
        num_hits[each.stratum] += is_hit(each.consensus)
    return [
        Tally(num_rows, num_decided[stratum], num_hits[stratum])
        for stratum, num_rows in num_rows_in.items()
        if stratum.startswith(f"{population}: ")
    ]


def _short(found: Rate | None) -> str:
    if found is None:
        return "not known"
    return f"{_percent(found.value)} ({_percent(found.low)} to {_percent(found.high)})"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
