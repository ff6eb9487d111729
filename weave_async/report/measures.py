"""The figures that a run has measured of itself, as ``metrics.json`` and the manifest hold them.

Files may be damaged or of another version: what is not as expected is not known, and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from weave_async.metrics.catalogue import CATALOGUE
from weave_async.report.reading import Reading
from weave_async.visible import cut

MOST_GROUPS, MOST_IN_GROUP, MOST_STAGES, MOST_TEXTS = 12, 15, 80, 50
MAX_NAME_CHARS, MAX_TEXT_CHARS = 120, 500
MAX_FIGURE = 1e15
"""What is more is no count, time or share of anything."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95 % interval, where it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    num_rows: int | None = None
    target: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """Figures that belong together. ``of`` says what they are of; ``remark`` what is odd."""

    title: str
    figures: Sequence[Measured]
    kind: str = "number"
    remark: str = ""
    num_more: int = 0


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage has taken."""

    name: str
    samples: int
    wall_s: float
    cpu_s: float

    @property
    def per_sample_s(self) -> float | None:
        return self.wall_s / self.samples if self.samples else None


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What a rule has judged, in the last session, and how much of that it has rejected."""

    name: str
    judged: int
    rejected: int


@dataclass(frozen=True, slots=True)
class NoiseCount:
    """What a noise has changed, in the last session; or the samples that it left, and why."""

    name: str
    texts: int
    changes: int | None


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens that an endpoint has counted, of one session of the run."""

    endpoint: str
    input_tokens: int
    output_tokens: int


def diversity_of(run: Reading) -> list[Measured]:
    """In the order of the catalogue, which has their definitions."""
    metrics = _at(run.metrics, "diversity", "metrics")
    found = ((name, _measured(name, metrics.get(name))) for name in CATALOGUE)
    return [measured for _, measured in found if measured is not None]


def absences_of(run: Reading) -> list[str]:
    """What of diversity cannot be told, and why."""
    told = [
        cut(f"{name}: {reason}", MAX_TEXT_CHARS)
        for name, reason in list(_at(run.metrics, "diversity", "absent").items())[:MOST_TEXTS]
        if isinstance(reason, str)
    ]
    for section in ("diversity", "bias"):
        note = _note(_at(run.metrics, section))
        if note:
            told.append(note)
    return told


def openings_of(run: Reading) -> list[Measured]:
    """How texts begin most often."""
    openings = _at(run.metrics, "diversity").get("top_openings")
    told = []
    for each in openings[:10] if isinstance(openings, list) else ():
        share = _finite(each.get("share")) if isinstance(each, dict) else None
        if share is not None and isinstance(each.get("opening"), str):
            told.append(Measured(cut(each["opening"], MAX_NAME_CHARS), share))
    return told


def representation_of(run: Reading) -> list[Panel]:
    """The shares of each attribute's values among the written rows, with the targets."""
    panels = []
    for name, told in _groups_in(_at(run.metrics, "bias", "representation")):
        values = list(_all_measured(_at(told, "values")))
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
    gender, regions = _at(bias, "gender"), _at(bias, "regions")
    panels = [
        _panel("Gender in the texts", "share", gender, _GENDER),
        Panel(
            "Regions that texts name",
            list(_all_measured(_at(regions, "shares")))[:MOST_IN_GROUP],
            "share",
            _note(regions),
        ),
        _panel("Sentiment, from −1 to 1", "number", _at(bias, "sentiment"), _SENTIMENT),
    ]
    lengths = [
        measured
        for name, told in _groups_in(_at(bias, "length"))
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


def stages_of(run: Reading) -> list[StageTime]:
    """In the order of the journey."""
    told = []
    for name, each in _groups_in(_at(run.metrics, "stages"), MOST_STAGES):
        wall_s, cpu_s = _finite(each.get("wall_s")), _finite(each.get("cpu_s"))
        samples = _finite(each.get("samples"))
        if wall_s is not None and cpu_s is not None and samples is not None:
            told.append(StageTime(name, int(samples), wall_s, cpu_s))
    return told


def rules_of(run: Reading) -> list[RuleCount]:
    """In the order of the journey."""
    return [
        RuleCount(name, _count(each, "judged"), _count(each, "rejected"))
        for name, each in _groups_in(_at(run.metrics, "rules"), MOST_STAGES)
        if _count(each, "judged") >= _count(each, "rejected")
    ]


def noise_of(run: Reading) -> list[NoiseCount]:
    noise = _at(run.metrics, "noise")
    varied, changes = _at(noise, "texts_varied"), _at(noise, "changes")
    left = _at(noise, "left_as_they_were")
    told = [NoiseCount(name, _count(varied, name), _count(changes, name)) for name in varied]
    told += [NoiseCount(f"left as it was by {name}", _count(left, name), None) for name in left]
    return [replace(each, name=cut(each.name, MAX_NAME_CHARS)) for each in told[:MOST_STAGES]]


def spent_by(run: Reading) -> list[Spent]:
    return [
        Spent(name, int(_finite(each.get("input")) or 0), int(_finite(each.get("output")) or 0))
        for name, each in _groups_in(_at(run.metrics, "tokens"), MOST_STAGES)
    ]


def amount_in(run: Reading, name: str) -> float | None:
    """A number of the manifest."""
    return _finite(run.manifest.get(name))


def texts_in(run: Reading, name: str) -> list[str]:
    told = run.manifest.get(name)
    texts = told[:MOST_TEXTS] if isinstance(told, list) else []
    return [cut(each, MAX_TEXT_CHARS) for each in texts if isinstance(each, str)]


def _panel(title: str, kind: str, told: Mapping[str, Any], names: Mapping[str, str]) -> Panel:
    found = (_measured(words, told.get(key)) for key, words in names.items())
    return Panel(title, [each for each in found if each is not None], kind, _note(told))


def _note(told: Mapping[str, Any]) -> str:
    note = told.get("note")
    return cut(note, MAX_TEXT_CHARS) if isinstance(note, str) else ""


def _all_measured(told: Mapping[str, Any]) -> Iterator[Measured]:
    for name, each in told.items():
        measured = _measured(cut(name, MAX_NAME_CHARS), each)
        if measured is not None:
            yield measured


def _measured(name: str, told: object) -> Measured | None:
    if not isinstance(told, Mapping):
        return None
    value = _finite(told.get("value"))
    if value is None:
        return None
    num_rows = _finite(told.get("num_rows", told.get("rows")))
    return Measured(
        name,
        value,
        _finite(told.get("low")),
        _finite(told.get("high")),
        None if num_rows is None else int(num_rows),
        _finite(told.get("target")),
        told["method"] if isinstance(told.get("method"), str) else "",
    )


def _groups_in(
    told: Mapping[str, Any], most: int = MOST_GROUPS
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, each in list(told.items())[:most]:
        if isinstance(each, Mapping):
            yield cut(name, MAX_NAME_CHARS), each


def _at(told: object, *path: str) -> Mapping[str, Any]:
    for step in path:
        told = told.get(step) if isinstance(told, Mapping) else None
    return told if isinstance(told, Mapping) else {}


def _count(told: Mapping[str, Any], name: str) -> int:
    return max(0, int(_finite(told.get(name)) or 0))


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= MAX_FIGURE else None
