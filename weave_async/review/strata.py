"""Which rows are worth a person's time first, and why: each row of a run belongs to one stratum.

Within a stratum rows are reviewed in a random order, so that those decided are a simple random
sample of it: what holds for them can be said of the whole (see ``defects``), although strata in
which people find more are shown more often.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from weave_async.run_rows import ROW_ERRORS, ExportRow

Population = Literal["written", "rejected"]
POPULATIONS: tuple[Population, ...] = ("written", "rejected")

NEAR_SHARE = 0.1
"""Of a rule's scores, those that are nearest to its threshold."""
RARE_SHARE = 0.02
"""A value that fewer of the rows have is rare."""
LEAST_AGREEMENT = 0.75
"""Judges that agree less are at odds: apart by more than a quarter of their scale."""
MOST_TIES = 2
"""So many times as many rows as were meant to be near may be, where many have the same score."""
NOTHING_NEAR = -1.0
MOST_APART = 0.5
"""Draws that differ by more of the highest are at odds: 5 and 2 are, 5 and 3 are not."""
MOST_VALUES = 200
"""A column with more values than this, as an id, has no rare ones: all are."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """``weight`` says how often its rows are shown beside those of others; ``why`` is for the
    person who is shown one.
    """

    name: str
    population: Population
    weight: int
    why: str

    @property
    def title(self) -> str:
        """What it is about; empty for rows that nothing sets apart."""
        kind = self.name.partition(": ")[2]
        return kind.capitalize() if kind in _REJECTED or kind in set(_WRITTEN) - {"others"} else ""


_WRITTEN = {
    "disagreement": (4, "Its judges do not agree."),
    "repaired": (3, "A rule had rejected an earlier answer, and a model has mended it."),
    "near a threshold": (3, "It was accepted, but only just."),
    "rare": (2, "Few rows of the run have this."),
    "others": (2, "Drawn at random from the accepted rows that nothing sets apart."),
}
_REJECTED = {
    "disagreement": (4, "Its judges do not agree, or a judge passed what a rule rejected."),
    "near a threshold": (3, "It was rejected, but only just."),
}
_REJECTED_BY = (1, "Drawn at random from what this rule has rejected.")


def stratum_named(name: str) -> Stratum:
    population, _, kind = name.partition(": ")
    if population == "written":
        weight, why = _WRITTEN[kind]
        return Stratum(name, "written", weight, why)
    weight, why = _REJECTED.get(kind, _REJECTED_BY)
    return Stratum(name, "rejected", weight, why)


@dataclass(slots=True)
class Landscape:
    """What must be known of all rows before one can be placed: read them once, ``see`` by ``see``.

    Then ``name_of`` says to which stratum a row belongs.
    """

    num_rows: int = 0
    _values: dict[str, Counter[str]] = field(default_factory=dict)
    _margins: dict[str, list[float]] = field(default_factory=dict)
    _near: dict[str, float] = field(default_factory=dict)

    def see(self, row: ExportRow) -> None:
        self.num_rows += 1
        for column, value in _values_of(row):
            values = self._values.setdefault(column, Counter())
            if len(values) <= MOST_VALUES:
                values[value] += 1
        for rule, margin in _margins_of(row):
            self._margins.setdefault(rule, []).append(margin)

    def survey(self) -> None:
        """All rows were seen."""
        for rule, margins in self._margins.items():
            margins.sort()
            self._near[rule] = _nearest_of(margins)
        self._margins.clear()

    def name_of(self, row: ExportRow) -> str:
        if row.rejection is None:
            return f"written: {self._written(row)}"
        return f"rejected: {self._rejected(row, row.rejection['rule'])}"

    def _written(self, row: ExportRow) -> str:
        if any(_is_at_odds(evidence) for _, _, evidence in _verdicts_of(row)):
            return "disagreement"
        if row.lineage.get("repairs"):
            return "repaired"
        if self._is_near(row):
            return "near a threshold"
        return "rare" if self.rare_values(row) else "others"

    def _rejected(self, row: ExportRow, by: str) -> str:
        judged = {
            rule: (passed, evidence)
            for rule, passed, evidence in _verdicts_of(row)
            if _is_of_a_judge(evidence)
        }
        is_overruled = any(passed for rule, (passed, _) in judged.items() if rule != by)
        if is_overruled or any(_is_at_odds(evidence) for _, evidence in judged.values()):
            return "disagreement"
        return "near a threshold" if self._is_near(row) else f"by {by}"

    def _is_near(self, row: ExportRow) -> bool:
        near = self._near
        return any(m <= near.get(rule, NOTHING_NEAR) for rule, m in _margins_of(row))

    def rare_values(self, row: ExportRow) -> list[str]:
        """As ``tone: angry``."""
        most = RARE_SHARE * self.num_rows
        return [
            f"{column}: {value}"
            for column, value in _values_of(row)
            if len(self._values[column]) <= MOST_VALUES and self._values[column][value] < most
        ]


def _values_of(row: ExportRow) -> Iterable[tuple[str, str]]:
    yield "model", row.model
    attributes = row.lineage.get("attributes")
    if isinstance(attributes, dict):
        for column, value in attributes.items():
            if isinstance(value, str | int | bool):
                yield column, str(value)


def _verdicts_of(row: ExportRow) -> list[tuple[str, bool, Mapping[str, Any]]]:
    """Rule, whether it passed the row, and its evidence; its rejection, too. What cannot be read
    is left out: a row of a rule of somebody else's may say anything.
    """
    found: list[tuple[str, bool, Mapping[str, Any]]] = []
    for verdict in row.verdicts:
        try:
            evidence = orjson.loads(verdict["evidence"])
            if isinstance(evidence, dict):
                found.append((str(verdict["rule"]), bool(verdict["passed"]), evidence))
        except ROW_ERRORS:
            continue
    if row.rejection is not None and isinstance(row.rejection["evidence"], dict):
        found.append((row.rejection["rule"], False, row.rejection["evidence"]))
    return found


def _margins_of(row: ExportRow) -> Iterable[tuple[str, float]]:
    """How far a rule's score is from its threshold, where its evidence says both."""
    for rule, _, evidence in _verdicts_of(row):
        score = evidence.get("score")
        bounds = (evidence.get(name) for name in ("min", "min_score", "max_score"))
        bound = next((bound for bound in bounds if bound is not None), None)
        if isinstance(score, int | float) and isinstance(bound, int | float):
            yield rule, abs(score - bound)


def _nearest_of(margins: Sequence[float]) -> float:
    """Up to which margin a row is near, of all in rising order: about a tenth are. Of scores that
    many rows share, as a judge's from 1 to 5, those at that margin count only if they are few.
    """
    num = max(1, round(NEAR_SHARE * len(margins)))
    near = margins[num - 1]
    if bisect_right(margins, near) <= MOST_TIES * num:
        return near
    nearer = bisect_left(margins, near)
    return margins[nearer - 1] if nearer else NOTHING_NEAR


def _is_of_a_judge(evidence: Mapping[str, Any]) -> bool:
    """A model was asked: its verdict has scores, or says who won."""
    return "scores" in evidence or "inconsistent" in evidence


def _is_at_odds(evidence: Mapping[str, Any]) -> bool:
    """Judges, or the same one asked again, that say very different things."""
    agreement, inconsistent = evidence.get("agreement"), evidence.get("inconsistent")
    if isinstance(agreement, int | float) and agreement < LEAST_AGREEMENT:
        return True
    if isinstance(inconsistent, int) and inconsistent > 0:
        return True
    draws = _draws_in(evidence.get("scores"))
    return len(draws) > 1 and max(draws) - min(draws) > MOST_APART * abs(max(draws))


def _draws_in(scores: Any) -> list[float]:
    """All scores, where they are by judge, as a judge's evidence has them."""
    if not isinstance(scores, dict):
        return []
    lists = [each for each in scores.values() if isinstance(each, list)]
    return [score for each in lists for score in each if isinstance(score, int | float)]
