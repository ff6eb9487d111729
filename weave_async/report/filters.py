"""What the table of samples can be filtered by: what its rows have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

MOST_CHOICES, MOST_ATTRIBUTES = 100, 20
"""In a list, the most common ones."""


@dataclass(frozen=True, slots=True)
class Filters:
    """``attributes`` are a name, and its values: each with the JSON that means it."""

    runs: Sequence[str]
    ends: Sequence[str]
    whys: Sequence[str]
    models: Sequence[str]
    finishes: Sequence[str]
    attributes: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    has_noise: bool


def filters_of(rows: Sequence[Mapping[str, Any]]) -> Filters:
    return Filters(
        runs=sorted({row["run"] for row in rows} - {""}),
        ends=_common(row["end"] for row in rows),
        whys=_common(" · ".join(row["why"]) for row in rows if row["why"]),
        models=_common(row["model"] for row in rows),
        finishes=_common(row["finish"] for row in rows),
        attributes=_attributes(rows),
        has_noise=any(row["noise"] for row in rows),
    )


def _attributes(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row["attributes"].items():
            counts.setdefault(name, Counter())[value] += 1
    return [
        (name, [(value, _pair(name, value)) for value in sorted(_most(counted))])
        for name, counted in list(counts.items())[:MOST_ATTRIBUTES]
        if len(counted) <= MOST_CHOICES
    ]


def _pair(name: str, value: str) -> str:
    return orjson.dumps([name, value]).decode()


def _common(names: Iterable[str]) -> list[str]:
    return _most(Counter(names))


def _most(counted: Counter[str]) -> list[str]:
    return [name for name, _ in counted.most_common(MOST_CHOICES)]
