"""What each rule has made of a row, as far as the row's own file tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import orjson

from weave_async.errors import RecipeError
from weave_async.parts.staging import selectors_of, stage_spec_of
from weave_async.recipe import Recipe
from weave_async.run_rows import ROW_ERRORS, ExportRow
from weave_async.rundir import RunFolder
from weave_async.stages.building import stages_of
from weave_async.undecided import UNDECIDED

_BOUND = re.compile(r"(?P<side>min|max)(_(?P<measure>.+))?")
_MEASURES = ("score", "value")


@dataclass(frozen=True, slots=True)
class Judgement:
    """``is_decided`` is false where the rule broke down, or a judge said nothing of use."""

    passed: bool
    evidence: Mapping[str, Any] = field(default_factory=dict)
    is_decided: bool = True


@dataclass(frozen=True, slots=True)
class Measured:
    """A number that a rule has held against one of its options, as its evidence tells it."""

    option: str
    bound: float
    value: float

    @property
    def is_least(self) -> bool:
        """Whether lower values are rejected; else higher ones are."""
        return self.option.startswith("min")

    @property
    def passes(self) -> bool:
        return self.value >= self.bound if self.is_least else self.value <= self.bound


def rules_of(folder: RunFolder) -> Sequence[str]:
    """The rules and selectors of a run in the order in which they judge. None where its recipe
    names a part that is not installed here.
    """
    try:
        recipe = Recipe.load(folder.recipe)
        stages = [*stages_of(stage_spec_of(recipe)), *selectors_of(recipe)]
    except RecipeError:
        return ()
    return [stage.name for stage in stages if stage.kind != "noise"]


def judgements_of(
    row: ExportRow, rules: Sequence[str], *, are_in_order: bool = True
) -> dict[str, Judgement]:
    """Of those rules of which it is known.

    A row in the dataset has passed them all, and one that a rule has rejected those before it, if
    ``rules`` are in the order in which they judge. What later rules would have said is known only
    of a run with ``--explain-all``.
    """
    passed: Sequence[str] = rules
    if row.rejection is not None:
        by = row.rejection["rule"]
        passed = rules[: rules.index(by)] if are_in_order and by in rules else ()
    found = {rule: Judgement(passed=True) for rule in passed}
    found.update((rule, told) for rule, told in _told(row) if rule in rules)
    if row.rejection is not None and row.rejection["rule"] in rules:
        evidence = row.rejection["evidence"]
        found[row.rejection["rule"]] = Judgement(
            passed=False,
            evidence=evidence if isinstance(evidence, dict) else {},
            is_decided=row.rejection["reason"] not in UNDECIDED,
        )
    return found


def measured_in(evidence: Mapping[str, Any]) -> Measured | None:
    """As ``{"score": 2.5, "min": 3}`` or ``{"words": 4, "min_words": 10}`` have it; ``None`` where
    there is no such number, or no one bound.
    """
    bounds = {name: _BOUND.fullmatch(name) for name, value in evidence.items() if _is_number(value)}
    found = [(name, match) for name, match in bounds.items() if match is not None]
    if len(found) != 1:
        return None
    option, match = found[0]
    for measure in (*_MEASURES, match["measure"]):
        if _is_number(evidence.get(measure)):
            return Measured(option, float(evidence[option]), float(evidence[measure]))
    others = [value for name, value in evidence.items() if name != option and _is_number(value)]
    return Measured(option, float(evidence[option]), float(others[0])) if len(others) == 1 else None


def _told(row: ExportRow) -> Iterator[tuple[str, Judgement]]:
    for verdict in row.verdicts:
        try:
            evidence = orjson.loads(verdict["evidence"])
            is_decided = verdict["passed"] or verdict["reason"] not in UNDECIDED
            told = Judgement(bool(verdict["passed"]), evidence, is_decided)
            rule = str(verdict["rule"])
        except ROW_ERRORS:  # of somebody else's rule
            continue
        if isinstance(evidence, dict):
            yield rule, told


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
