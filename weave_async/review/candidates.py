"""The thresholds that a rule might have: one between each two values that were measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_CANDIDATES = 100

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def candidates_among(values: Floats, now: float, *, is_least: bool, is_one_sided: bool) -> Floats:
    """Thresholds that split the rows differently, the present one among them. Where the values of
    rows that pass are not known, only those that reject no more than the present one does.
    """
    known = np.unique(values[~np.isnan(values)])
    if len(known) > MAX_CANDIDATES:
        known = np.unique(np.quantile(known, np.linspace(0, 1, MAX_CANDIDATES), method="nearest"))
    between = [
        _between(low, high, is_least=is_least)
        for low, high in zip(known.tolist(), known.tolist()[1:], strict=False)
    ]
    ends = known[[0, -1]].tolist() if len(known) else []
    between += ends[:1] if is_least else ends[1:]  # rejects none
    splits = {_num_rejected(known, each, is_least=is_least): each for each in between}
    splits[_num_rejected(known, now, is_least=is_least)] = now
    found = np.array(sorted(splits.values()), np.float64)
    if is_one_sided:
        found = found[found <= now] if is_least else found[found >= now]
    return found


def _num_rejected(known: Floats, threshold: float, *, is_least: bool) -> int:
    return int((known < threshold).sum() if is_least else (known > threshold).sum())


def _between(low: float, high: float, *, is_least: bool) -> float:
    """A number with few digits that rejects one of the two and passes the other."""
    if low.is_integer() and high.is_integer():
        return high if is_least else low
    for digits in range(1, 7):
        middle = round((low + high) / 2, digits)
        if low < middle < high:
            return middle
    return high if is_least else low


def rejected_by(values: Floats, thresholds: Floats, *, is_least: bool) -> Flags:
    with np.errstate(invalid="ignore"):
        column = values[:, np.newaxis]
        return column < thresholds if is_least else column > thresholds
