"""Who texts speak of: words that say a gender, by group and beside occupations.

A row is masculine or feminine by which of the two kinds of words it has more of. Shares are of
rows, with Wilson's intervals; words are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from weave_async.metrics.bias import intervals
from weave_async.metrics.bias.observed import RowFacts

MIN_ROWS = 5
"""Gendered rows of a group or an occupation below which nothing is said of it."""
MAX_SHOWN = 20


def figures(rows: Sequence[RowFacts], groupings: Iterable[str]) -> dict[str, Any]:
    """Of English rows. ``feminine_share`` is that of the rows that are one or the other."""
    if not rows:
        return {"rows": 0, "note": "no English text to look at"}
    masculine = [row for row in rows if row.masculine > row.feminine]
    feminine = [row for row in rows if row.feminine > row.masculine]
    told: dict[str, Any] = {
        "rows": len(rows),
        "words": {
            "masculine": sum(row.masculine for row in rows),
            "feminine": sum(row.feminine for row in rows),
            "neutral": sum(row.neutral for row in rows),
        },
        "masculine_rows": intervals.share(len(masculine), len(rows)).as_dict(),
        "feminine_rows": intervals.share(len(feminine), len(rows)).as_dict(),
    }
    overall = _feminine_share(masculine, feminine)
    if overall is None:
        return told | {"note": "no row says a gender"}
    told["feminine_share"] = overall.as_dict()
    told["by_group"] = {
        name: shares
        for name in groupings
        if (shares := _by_group(name, masculine, feminine, overall))
    }
    told["occupations"] = _by_occupation(masculine, feminine, overall)
    return told


def _feminine_share(
    masculine: Sequence[RowFacts], feminine: Sequence[RowFacts]
) -> intervals.Estimate | None:
    num = len(masculine) + len(feminine)
    return intervals.share(len(feminine), num) if num else None


def _by_group(
    name: str,
    masculine: Sequence[RowFacts],
    feminine: Sequence[RowFacts],
    overall: intervals.Estimate,
) -> dict[str, Any]:
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for index, rows in enumerate((masculine, feminine)):
        for row in rows:
            if name in row.groups:
                counts[row.groups[name]][index] += 1
    return _told(counts, overall)


def _by_occupation(
    masculine: Sequence[RowFacts], feminine: Sequence[RowFacts], overall: intervals.Estimate
) -> dict[str, Any]:
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for index, rows in enumerate((masculine, feminine)):
        for row in rows:
            for occupation in row.occupations:
                counts[occupation][index] += 1
    return _told(counts, overall)


def _told(counts: dict[str, list[int]], overall: intervals.Estimate) -> dict[str, Any]:
    """The feminine share of each, most rows first; ``is_skewed`` where its interval leaves out the
    share of all. Of twenty that are as all are, one is called skewed by chance.
    """
    often = [(sum(both), value) for value, both in counts.items() if sum(both) >= MIN_ROWS]
    told = {}
    for num, value in sorted(often, key=lambda each: (-each[0], each[1]))[:MAX_SHOWN]:
        estimate = intervals.share(counts[value][1], num)
        told[value] = {**estimate.as_dict(), "is_skewed": estimate.excludes(overall.value)}
    return told
