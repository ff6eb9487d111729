"""The figures that a run has measured of its rows at its end, as ``metrics.json`` holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weave_async.metrics.catalogue import CATALOGUE
from weave_async.report.reading import Reading
from weave_async.report.told import (
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    finite,
    groups_in,
    mapping_at,
    note_in,
)
from weave_async.visible import cut

MOST_IN_GROUP, MOST_TEXTS = 15, 50


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95 % interval, where it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    num_rows: int | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Figures that belong together; ``num_more`` are left out. ``remark`` says what is odd."""

    title: str
    figures: Sequence[Measured]
    kind: str = "number"
    remark: str = ""
    num_more: int = 0


def diversity_of(run: Reading) -> list[Measured]:
    """In the order of the catalogue, which has their definitions."""
    metrics = mapping_at(run.metrics, "diversity", "metrics")
    found = ((name, _measured(name, metrics.get(name))) for name in CATALOGUE)
    return [measured for _, measured in found if measured is not None]


def absences_of(run: Reading) -> list[str]:
    """What of diversity cannot be told, and why."""
    told = [
        cut(f"{name}: {reason}", MAX_TEXT_CHARS)
        for name, reason in list(mapping_at(run.metrics, "diversity", "absent").items())[
            :MOST_TEXTS
        ]
        if isinstance(reason, str)
    ]
    for section in ("diversity", "bias"):
        note = note_in(mapping_at(run.metrics, section))
        if note:
            told.append(note)
    return told


def openings_of(run: Reading) -> list[Measured]:
    """How texts begin most often."""
    openings = mapping_at(run.metrics, "diversity").get("top_openings")
    told = []
    for each in openings[:10] if isinstance(openings, list) else ():
        share = finite(each.get("share")) if isinstance(each, dict) else None
        if share is not None and isinstance(each.get("opening"), str):
            told.append(Measured(cut(each["opening"], MAX_NAME_CHARS), share))
    return told


def representation_of(run: Reading) -> list[Panel]:
    """The shares of each attribute's values among the written rows, with the targets."""
    panels = []
    for name, told in groups_in(mapping_at(run.metrics, "bias", "representation")):
        values = list(_all_measured(mapping_at(told, "values")))
        tv = _measured("", told.get("tv"))
        remark = ""
        if told.get("is_off_target") is True and tv is not None:
            remark = f"off target: {tv.value:.1%} of the rows would have to have another value"
        more = max(0, len(values) - MOST_IN_GROUP)
        panels.append(Panel(name, values[:MOST_IN_GROUP], "share", remark, more))
    return [panel for panel in panels if panel.figures]


def bias_of(run: Reading) -> list[Panel]:
    """Gender, regions, lengths and sentiment, those of which there is anything."""
    bias = run.metrics.get("bias")
    gender, regions = mapping_at(bias, "gender"), mapping_at(bias, "regions")
    panels = [
        _panel("Gender in the texts", "share", gender, _GENDER),
        Panel(
            "Regions that texts name",
            list(_all_measured(mapping_at(regions, "shares")))[:MOST_IN_GROUP],
            "share",
            note_in(regions),
        ),
        _panel("Sentiment, from −1 to 1", "number", mapping_at(bias, "sentiment"), _SENTIMENT),
    ]
    lengths = [
        measured
        for name, told in groups_in(mapping_at(bias, "length"))
        if (measured := _measured(name, told.get("auc"))) is not None
    ]
    panels.append(
        Panel("How well an answer's length tells an attribute (AUC; 0.5 is by chance)", lengths)
    )
    return [panel for panel in panels if panel.figures or panel.remark]


_GENDER = {
    "masculine_rows": "rows about men",
    "feminine_rows": "rows about women",
    "feminine_share": "women among these",
}
_SENTIMENT = {
    "mean": "mean over all rows",
    "feminine_less_masculine": "rows about women less those about men",
}


def _panel(title: str, kind: str, told: Mapping[str, Any], names: Mapping[str, str]) -> Panel:
    found = (_measured(words, told.get(key)) for key, words in names.items())
    return Panel(title, [each for each in found if each is not None], kind, note_in(told))


def _all_measured(told: Mapping[str, Any]) -> Iterator[Measured]:
    for name, each in told.items():
        measured = _measured(cut(name, MAX_NAME_CHARS), each)
        if measured is not None:
            yield measured


def _measured(name: str, told: object) -> Measured | None:
    if not isinstance(told, Mapping):
        return None
    value = finite(told.get("value"))
    if value is None:
        return None
    num_rows = finite(told.get("num_rows", told.get("rows")))
    return Measured(
        name,
        value,
        finite(told.get("low")),
        finite(told.get("high")),
        None if num_rows is None else int(num_rows),
        finite(told.get("target")),
    )
