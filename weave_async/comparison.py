"""Two runs side by side: quality, diversity, bias and cost, each figure with its interval.

Shares, means and amounts are of all rows, and their change has the interval of two independent
figures. What depends on the number of rows, as diversity and the distance from a target do, is
measured on as many rows of each side, drawn by the seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from weave_async.errors import UsageError
from weave_async.features.embeddings import (
    Embedder,
    MiniLmEmbedder,
    NgramEmbedder,
    has_minilm,
)
from weave_async.features.words import words_of
from weave_async.metrics.bias import intervals
from weave_async.metrics.bias.intervals import Estimate
from weave_async.metrics.bias.meter import BiasMeter
from weave_async.metrics.bias.targets import targets_of
from weave_async.metrics.comparing import UnequalSetsError, compared
from weave_async.outcomes import KeptRow, Outcomes, read_outcomes
from weave_async.recipe import Recipe
from weave_async.rundir import RunFolder

MAX_ROWS = 1000
"""Rows of each side whose texts are looked at, unless somebody says otherwise."""
Kind = Literal["share", "number", "usd", "seconds"]
Figure = Estimate | float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of both sides; ``None`` where a side does not have it."""

    name: str
    kind: Kind
    one: Figure
    other: Figure
    is_part: bool = field(default=False, kw_only=True)
    """Of the line above it."""
    measured: Figure = field(default=None, kw_only=True)
    """The change, where who measured the two sides knows it better."""
    relative: Figure = field(default=None, kw_only=True)
    """The change as a part of the first side's value."""

    @property
    def is_known(self) -> bool:
        return self.one is not None or self.other is not None

    @property
    def change(self) -> Figure:
        """The second less the first, with an interval where both have one."""
        if self.measured is not None:
            return self.measured
        if self.one is None or self.other is None:
            return None
        if isinstance(self.one, Estimate) and isinstance(self.other, Estimate):
            return intervals.difference(self.one, self.other)
        return _value_of(self.other) - _value_of(self.one)

    @property
    def relative_value(self) -> float | None:
        return None if self.relative is None else _value_of(self.relative)

    def as_dict(self) -> dict[str, Any]:
        change = self.change
        told = _told(change)
        if isinstance(change, Estimate):
            told = {**change.as_dict(), "excludes_zero": change.excludes_zero}
        sides = {"one": _told(self.one), "other": _told(self.other), "change": told}
        return sides if self.relative is None else {**sides, "relative": _told(self.relative)}


@dataclass(slots=True)
class Comparison:
    """``sections`` by their titles; ``notes`` say what figures do not."""

    names: tuple[str, str]
    num_rows: tuple[int, int]
    """Whose texts were looked at."""
    sections: dict[str, list[Line]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "one": self.names[0],
            "other": self.names[1],
            "rows_looked_at": list(self.num_rows),
            "sections": {
                title: {line.name: line.as_dict() for line in lines}
                for title, lines in self.sections.items()
            },
            "notes": self.notes,
        }


def compare(
    one: Path,
    other: Path,
    *,
    seed: int = 0,
    num_rows: int | None = None,
    label: str | None = None,
    allow_unequal: bool = False,
    by_meaning: bool = False,
) -> Comparison:
    """Compare two run folders, or files of rows. Reads their files; writes and asks nothing.

    ``num_rows`` are looked at on each side, by default as many as the smaller side has, up to
    ``MAX_ROWS``. With ``allow_unequal``, sides keep their own numbers of rows and words, and
    figures that depend on these do not compare. ``by_meaning`` takes embeddings for what depends on
    how alike texts are, some 150 texts a second, in place of their n-grams.
    """
    if by_meaning and not has_minilm():
        raise UsageError("--by-meaning needs embeddings: pip install 'weave-async[embeddings]'")
    sides = [read_outcomes(path, seed=seed, max_rows=num_rows or MAX_ROWS) for path in (one, other)]
    fewest = min(len(side.rows) for side in sides)
    if num_rows is not None and num_rows > fewest and not allow_unequal:
        raise UsageError(f"--rows {num_rows}: the smaller side has {fewest} rows")
    rows = [side.rows.rows()[: None if allow_unequal else fewest] for side in sides]
    found = Comparison((sides[0].name, sides[1].name), (len(rows[0]), len(rows[1])))
    embedder = MiniLmEmbedder() if by_meaning else NgramEmbedder()
    bias = [_bias_of(side, kept, seed, label) for side, kept in zip(sides, rows, strict=True)]
    for title, lines in (
        ("quality", _quality(sides, rows, seed)),
        ("diversity", _diversity(rows, seed, allow_unequal, embedder, found.notes)),
        ("bias", _bias(*bias)),
        ("cost", _cost(sides)),
    ):
        found.sections[title] = [line for line in lines if line.is_known]
    for side, figures in zip(sides, bias, strict=True):
        found.notes += [f"{side.name}: {note}" for note in (*_notes(side), *_notes_in(figures))]
    return found


def _quality(
    sides: Sequence[Outcomes], rows: Sequence[Sequence[KeptRow]], seed: int
) -> Iterator[Line]:
    def shares(name: str, hits: Sequence[int], totals: Sequence[int]) -> Line:
        return Line(
            name,
            "share",
            *(
                intervals.share(num, total) if total and side.manifest is not None else None
                for side, num, total in zip(sides, hits, totals, strict=True)
            ),
        )

    judged = [side.num_judged for side in sides]
    ended = [side.num_ended.total() for side in sides]
    yield shares("accepted", [side.num_written for side in sides], judged)
    by_stage = [_by_stage(side) for side in sides]
    for stage in sorted(by_stage[0] | by_stage[1]):
        yield shares(f"rejected in {stage}", [counts[stage] for counts in by_stage], judged)
        rules = {rule for side in sides for kind, rule in side.refused_by if kind == stage}
        for rule in sorted(rules):
            hits = [side.refused_by[stage, rule] for side in sides]
            yield replace(shares(f"{stage}: {rule}", hits, judged), is_part=True)
    yield shares("failed", [side.num_ended["failed"] for side in sides], ended)
    for name in ("num_repaired", "num_regenerated"):
        hits = [getattr(side, name) for side in sides]
        if any(hits):
            yield shares(name.replace("num_", "answers "), hits, judged)
    for rule in sorted(sides[0].scores.keys() | sides[1].scores.keys()):
        yield Line(
            f"score by {rule}", "number", *(_mean(side.scores[rule], seed) for side in sides)
        )
    words = ([len(words_of(row.text)) for row in kept] for kept in rows)
    yield Line("words per row", "number", *(_mean(lengths, seed) for lengths in words))


def _mean(values: Sequence[float], seed: int) -> Estimate | None:
    rng = intervals.rng_of(seed, "mean")
    return intervals.mean(np.array(values, float), rng) if values else None


def _by_stage(side: Outcomes) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (stage, _), count in side.refused_by.items():
        counts[stage] += count
    return counts


def _diversity(
    rows: Sequence[Sequence[KeptRow]],
    seed: int,
    allow_unequal: bool,
    embedder: Embedder,
    notes: list[str],
) -> Iterator[Line]:
    texts = [[row.text for row in kept] for kept in rows]
    try:
        measured = compared(
            *texts,
            seed=seed,
            allow_unequal=allow_unequal,
            embedder=embedder,
            max_rows=max(map(len, texts)),
        )
    except UnequalSetsError as error:
        notes.append(f"diversity is left out: {error}, with --allow-unequal")
        return
    for name, each in measured.items():
        if each.reason is not None:
            notes.append(f"{name} is left out: {each.reason}")
        if each.one is None or each.other is None or each.change is None:
            continue
        change, num_rows = each.change, each.one.num_rows + each.other.num_rows
        yield Line(
            name,
            "number",
            *(
                _figure(side.value, side.low, side.high, side.num_rows)
                for side in (each.one, each.other)
            ),
            measured=_figure(change.difference, change.low, change.high, num_rows),
            relative=_figure(change.relative, change.relative_low, change.relative_high, num_rows),
        )
    notes.append(f"how alike texts are, for vendi and cluster_entropy, is told by {embedder.name}")


def _figure(value: float | None, low: float | None, high: float | None, num_rows: int) -> Figure:
    if value is None or low is None or high is None:
        return value
    return Estimate(value, low, high, num_rows)


def _bias(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Line]:
    for name in _names_in(one, other, "representation"):
        both = [_estimate(figures, "representation", name, "tv") for figures in (one, other)]
        if one["representation"].get(name, {}).get("num_values") != 1 or both[0] != both[1]:
            yield Line(f"{name}: distance from target", "number", *both)
    for name, kind, path in _BIAS_FIGURES:
        yield Line(name, kind, _estimate(one, *path), _estimate(other, *path))
    for region in _names_in(one, other, "regions", "shares"):
        both = [_estimate(figures, "regions", "shares", region) for figures in (one, other)]
        if any(each.value for each in both if each is not None):
            yield Line(f"from {region}", "share", *both)
    for name in _names_in(one, other, "length"):
        both = [_estimate(figures, "length", name, "auc") for figures in (one, other)]
        yield Line(f"{name} told by length (AUC)", "number", *both)


_BIAS_FIGURES: Sequence[tuple[str, Kind, Sequence[str]]] = (
    ("rows about men", "share", ("gender", "masculine_rows")),
    ("rows about women", "share", ("gender", "feminine_rows")),
    ("women among these", "share", ("gender", "feminine_share")),
    ("sentiment", "number", ("sentiment", "mean")),
    ("sentiment, women less men", "number", ("sentiment", "feminine_less_masculine")),
)


def _bias_of(
    side: Outcomes, rows: Sequence[KeptRow], seed: int, label: str | None
) -> dict[str, Any]:
    meter = BiasMeter(seed, targets=_targets_of(side), label=label, max_rows=len(rows))
    for row in rows:
        meter.count_row(row.row_id, row.text, row.attributes, row.model)
    return meter.figures()


def _targets_of(side: Outcomes) -> Mapping[str, Mapping[str, float]]:
    folder = RunFolder(side.path)
    if side.manifest is None or not folder.recipe.exists():
        return {}
    mix = [entry.model_dump() for entry in side.manifest.mix]
    return targets_of(Recipe.load(folder.recipe).resolved(), mix)


def _cost(sides: Sequence[Outcomes]) -> Iterator[Line]:
    for name in ("input_tokens", "output_tokens"):
        yield Line(
            f"{name.replace('_', ' ')} per accepted row",
            "number",
            *(getattr(side, name).estimate() if _knows_tokens(side) else None for side in sides),
        )
    for name, kind, key in _COSTS:
        yield Line(f"{name} per accepted row", kind, *(_per_row(side, key) for side in sides))


_COSTS: Sequence[tuple[str, Kind, str]] = (
    ("price", "usd", "cost_usd"),
    ("time", "seconds", "elapsed_s"),
)


def _knows_tokens(side: Outcomes) -> bool:
    return side.manifest is not None and side.rows_without_tokens < side.num_judged


def _per_row(side: Outcomes, key: str) -> float | None:
    """From the manifest, which knows of its own session only."""
    if side.manifest is None or side.manifest.recalled:
        return None
    amount: float | None = getattr(side.manifest, key)
    return None if amount is None else amount / side.num_written


def _notes(side: Outcomes) -> Iterator[str]:
    if side.manifest is None:
        yield "a file of rows, which says nothing of quality and cost"
        return
    if side.manifest.recalled:
        yield "made in several sessions: its price and its time are not known"
    elif side.manifest.cost_usd is None:
        yield "there is no list price for its models"
    if side.rows_without_tokens:
        yield f"{side.rows_without_tokens} answers came without counts of tokens"
    if side.manifest.consultations.asked:
        yield "tokens are of answers; those of judges are in its price alone"
    if side.manifest.pending:
        yield f"not complete: {side.manifest.pending} samples are pending"


def _notes_in(figures: Mapping[str, Any]) -> Iterator[str]:
    if "note" in figures:
        yield figures["note"]
    regions = figures["regions"]
    if "advice" in regions:
        yield f"regions are told by places alone; {regions['advice']}"


def _names_in(one: Mapping[str, Any], other: Mapping[str, Any], *path: str) -> Sequence[str]:
    names: dict[str, None] = {}
    for figures in (one, other):
        for step in path:
            figures = figures.get(step) or {}
        names |= dict.fromkeys(figures)
    return list(names)


def _estimate(figures: Mapping[str, Any], *path: str) -> Estimate | None:
    for step in path:
        figures = figures.get(step) or {}
    if "value" not in figures:
        return None
    return Estimate(figures["value"], figures["low"], figures["high"], figures["rows"])


def _value_of(figure: Estimate | float) -> float:
    return figure.value if isinstance(figure, Estimate) else figure


def _told(figure: Figure) -> Any:
    return figure.as_dict() if isinstance(figure, Estimate) else figure
