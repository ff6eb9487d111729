"""Whether texts of one group are kinder than those of others.

``difference`` is the mean polarity of a group's rows less that of all other rows of the attribute;
for gender, that of feminine rows less that of masculine ones. Bootstrapped over rows. Of twenty
groups that are alike, one differs by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from weave_async.metrics.bias import intervals
from weave_async.metrics.bias.observed import RowFacts

MIN_ROWS = 5
MAX_VALUES = 12


def figures(
    rows: Sequence[RowFacts], groupings: Iterable[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Of English rows."""
    if not rows:
        return {"rows": 0, "note": "no English text to look at"}
    told: dict[str, Any] = {
        "rows": len(rows),
        "mean": intervals.mean(_scores(rows), rng).as_dict(),
    }
    his = [row for row in rows if row.masculine > row.feminine]
    hers = [row for row in rows if row.feminine > row.masculine]
    if min(len(his), len(hers)) >= MIN_ROWS:
        told["feminine_less_masculine"] = _told(_scores(his), _scores(hers), rng)
    by_group = {}
    for name in groupings:
        values = _by_value(rows, name)
        if len(values) >= 2:
            by_group[name] = {
                value: _told(_scores(others), _scores(own), rng)
                for value, (own, others) in values.items()
            }
    return told | {"by_group": by_group}


def _by_value(
    rows: Sequence[RowFacts], name: str
) -> dict[str, tuple[list[RowFacts], list[RowFacts]]]:
    """The most frequent values, each with its rows and the rows of all others."""
    rows = [row for row in rows if name in row.groups]
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.groups[name]] = sizes.get(row.groups[name], 0) + 1
    often = sorted(sizes, key=lambda value: (-sizes[value], value))[:MAX_VALUES]
    return {
        value: (
            [row for row in rows if row.groups[name] == value],
            [row for row in rows if row.groups[name] != value],
        )
        for value in often
        if min(sizes[value], len(rows) - sizes[value]) >= MIN_ROWS
    }


def _scores(rows: Sequence[RowFacts]) -> intervals.Floats:
    return np.array([row.sentiment for row in rows], float)


def _told(
    others: intervals.Floats, own: intervals.Floats, rng: np.random.Generator
) -> dict[str, Any]:
    difference = intervals.mean_difference(others, own, rng)
    return {**difference.as_dict(), "differs": difference.excludes_zero}
