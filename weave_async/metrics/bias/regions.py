"""Which parts of the world the people and places in texts are from.

A name that lists of several regions have counts for each by an equal part, so that ``Anna`` says
little and ``Chinedu`` much. Faker's lists differ in length, and it has none in Latin letters for
Arab countries, Korea and most of China: shares compare datasets, and are no census of one.

A word is taken for a name where it has a capital and the texts do not use it without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from weave_async.metrics.bias import intervals, mentions
from weave_async.metrics.bias.observed import RowFacts
from weave_async.metrics.bias.places import REGIONS

MIN_ROWS = 5
_INDEX = {region: index for index, region in enumerate(REGIONS)}


def figures(rows: Sequence[RowFacts]) -> dict[str, Any]:
    """Of English rows: the share of each region in what names and places say, each row that has
    any counting as much.
    """
    if not rows:
        return {"rows": 0, "note": "no English text to look at"}
    plain = frozenset[str]().union(*(row.plain for row in rows))
    by_row = np.array([_weights(row.mentions, plain) for row in rows])  # (rows, regions)
    whole = by_row.sum(axis=1)  # (rows,)
    says = whole > 0
    told: dict[str, Any] = {
        "rows": len(rows),
        "measured_with": "places and names" if mentions.has_names() else "places",
        "rows_with_any": intervals.share(int(says.sum()), len(rows)).as_dict(),
    }
    if not mentions.has_names():
        told["advice"] = "with names of people: pip install 'weave-async[noise]'"
    if says.sum() < MIN_ROWS:
        return told | {"note": f"fewer than {MIN_ROWS} rows name a person or a place that is known"}
    parts = (by_row[says] / whole[says, None]).sum(axis=0)  # (regions,)
    shares = {
        region: intervals.share(float(part), int(says.sum())).as_dict()
        for region, part in zip(REGIONS, parts, strict=True)
    }
    ordered = sorted(shares, key=lambda region: -float(shares[region]["value"]))
    return told | {"shares": {region: shares[region] for region in ordered}}


def _weights(found: Iterable[str], plain: frozenset[str]) -> intervals.Floats:  # (regions,)
    weights = np.zeros(len(REGIONS))
    for mention in found:
        regions = mentions.regions_of(mention, plain)
        for region in regions:
            weights[_INDEX[region]] += 1 / len(regions)
    return weights
