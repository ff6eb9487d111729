"""No more of one kind than was planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor
from typing import ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.selection.values import columns_of, values_of

_ROUNDING = 1e-9  # 0.29 * 100 is 28.999999999999996


@dataclass(slots=True)
class QuotasSelector:
    """Caps the rows of each value of a column or an attribute of the prompt, in the whole output
    and in each beginning of it.

    ``by`` names the column or attribute, or ``model``, or ``endpoint``: who has answered. Of
    several names the combinations are counted; theirs is written ``card lost / angry``. ``most`` is
    the number of rows of each value. ``shares`` is the share of rows that a value may have: one
    number for every value, or a map from values to theirs; others are not bounded then. To each
    share ``tolerance`` is added. The first ``min_rows`` rows are counted as if they were so many,
    since of few rows no share can be had. Shares cap: they wait for rows of other values, and make
    none. Holds one count per value.
    """

    is_light: ClassVar[bool] = True

    by: str | list[str]
    most: int | None = None
    shares: float | dict[str, float] | None = None
    tolerance: float = 0.0
    min_rows: int = 20
    _counts: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _num_rows: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.by = [self.by] if isinstance(self.by, str) else self.by
        if not self.by or len(set(self.by)) < len(self.by):
            raise ValueError(f"by {self.by}: name each column or attribute once, and at least one")
        if self.most is None and self.shares is None:
            raise ValueError(f"by {self.by}: say how many rows of each value, with most or shares")
        if self.most is not None and self.most < 1:
            raise ValueError(f"most {self.most} must be 1 or more")
        if self.min_rows < 1:
            raise ValueError(f"min_rows {self.min_rows} must be 1 or more")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance {self.tolerance:g} is added to shares: from 0 to below 1")
        self._check_shares()

    @property
    def columns_read(self) -> list[str]:
        return columns_of(self.by)

    def features_of(self, samples: Sequence[Sample]) -> list[str]:
        return [values_of(sample, self.by) for sample in samples]

    def verdict(self, sample: Sample, value: str) -> Verdict:
        count = self._counts[value]
        evidence = {"by": self.by, "value": value, "count": count}
        if self.most is not None and count >= self.most:
            return Verdict(False, "quota_full", {**evidence, "most": self.most})
        share = self._share_of(value)
        if share is None:
            return ACCEPTED
        most = self._most_by_share(share, self._num_rows + 1)
        if count >= most:
            told = {"most": most, "share": share, "rows": self._num_rows}
            return Verdict(False, "share_exceeded", {**evidence, **told})
        return ACCEPTED

    def keep(self, sample: Sample, value: str) -> None:
        self._counts[value] += 1
        self._num_rows += 1

    def _share_of(self, value: str) -> float | None:
        return self.shares.get(value) if isinstance(self.shares, dict) else self.shares

    def _most_by_share(self, share: float, num_rows: int) -> int:
        """It never falls as rows are added: what was within a share stays within it."""
        return floor(min(1, share + self.tolerance) * max(num_rows, self.min_rows) + _ROUNDING)

    def _check_shares(self) -> None:
        shares = self.shares if isinstance(self.shares, dict) else {"each value": self.shares}
        for value, share in shares.items():
            if share is None:
                continue
            if not 0 <= share <= 1:
                raise ValueError(f"shares: {share:g} of {value} is no share: from 0 to 1")
            if share > 0 and self._most_by_share(share, self.min_rows) < 1:
                raise ValueError(
                    f"shares: {share:g} of {self.min_rows} rows is less than one row, so {value} "
                    f"could not begin: set min_rows to {floor(1 / share) + 1} or more"
                )
        if self.shares == 0 or shares == {}:
            raise ValueError(f"shares {self.shares}: leaves no row, or bounds none")
