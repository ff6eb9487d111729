"""The few figures that a run's summary tells, what is odd about them, and those that gates look at.

Reads what ``live`` gives, and needs no numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weave_async.gates import Figure

IN_SUMMARY = ("vendi", "distinct_2", "top_opening_share")
MUCH_ALIKE, FEW = 0.2, 10
"""From which share of the rows on, and from how many, their common opening is odd."""


def figure_of(figures: Mapping[str, Any], metric: str) -> Figure:
    """One of the catalogue's metrics, or why it cannot be told."""
    diversity = figures.get("diversity") or {}
    told = diversity.get("metrics", {}).get(metric)
    if told is None:
        why = diversity.get("absent", {}).get(metric) or diversity.get("note")
        return Figure(None, missing_because=why or "nothing was measured")
    low, high = told["low"], told["high"]
    return Figure(told["value"], None if low is None or high is None else (low, high))


def headlines_of(figures: Mapping[str, Any]) -> dict[str, Figure]:
    """Those of the summary that can be told, and how many rows they are of."""
    found = {name: figure_of(figures, name) for name in IN_SUMMARY}
    told = {name: figure for name, figure in found.items() if figure.value is not None}
    if not told:
        return {}
    num_rows = max(figures["diversity"]["metrics"][name]["num_rows"] for name in told)
    return {"rows": Figure(num_rows), **told}


def cautions_of(figures: Mapping[str, Any]) -> Iterator[str]:
    """What is odd enough about a dataset to be said."""
    yield from _alike_openings(figures)
    bias = figures.get("bias") or {}
    for name, found in (bias.get("representation") or {}).items():
        if found.get("is_off_target"):
            yield _off_target(name, found["values"])


def _alike_openings(figures: Mapping[str, Any]) -> Iterator[str]:
    diversity = figures.get("diversity") or {}
    first = next(iter(diversity.get("top_openings", ())), None)
    if first is not None and first["share"] >= MUCH_ALIKE and first["count"] >= FEW:
        yield f"{first['share']:.0%} of the rows open with the same words: '{first['opening']}'."


def _off_target(name: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """Told by the value that is furthest off."""
    wanted = {value: share.get("target") or 0.0 for value, share in values.items()}
    worst = max(values, key=lambda value: abs(values[value]["value"] - wanted[value]))
    share = values[worst]
    return (
        f"'{name}' is not spread as the recipe asks: '{worst}' has {share['value']:.0%} of rows "
        f"({share['low']:.0%}–{share['high']:.0%}), and was to have {wanted[worst]:.0%}."
    )
