"""The judge and each rule beside what people say of the same rows.

A row is bad to people if they reject or edit it: its text was not fit to be written as it was. Rows
count by how many of the run they stand for, so that a stratum which was shown more often does not
weigh more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weave_async.metrics.bias.intervals import Estimate
from weave_async.metrics.wilson import wilson
from weave_async.review.agreement import TwoByTwo
from weave_async.review.calibration_text import lines_of
from weave_async.review.decided import Decided, DecidedRow
from weave_async.review.judgements import Judgement, judgements_of, measured_in
from weave_async.review.thresholds import ScoredRow, Threshold, threshold_for


@dataclass(frozen=True, slots=True)
class RuleCalibration:
    """Counts are of rows that people have decided and that the rule has judged: what it ``rejects``
    or ``passes``, bad or good to people. Figures are of the run's rows.

    ``precision``: of what it rejects, how much is bad. ``recall``: of what is bad, how much it
    rejects. ``kappa``: how far it agrees with people beyond chance. ``None`` where there is nothing
    to tell it by. ``num_undecided`` rows it has rejected because it could not decide.
    """

    rule: str
    rejects_bad: int
    rejects_good: int
    passes_bad: int
    passes_good: int
    num_undecided: int
    precision: Estimate | None
    recall: Estimate | None
    kappa: Estimate | None
    thresholds: tuple[Threshold, ...] = ()

    @property
    def num_rejected(self) -> int:
        return self.rejects_bad + self.rejects_good

    @property
    def num_judged(self) -> int:
        return self.num_rejected + self.passes_bad + self.passes_good

    def as_dict(self) -> dict[str, Any]:
        figures = {"precision": self.precision, "recall": self.recall, "kappa": self.kappa}
        return {
            "rule": self.rule,
            "rejects_bad": self.rejects_bad,
            "rejects_good": self.rejects_good,
            "passes_bad": self.passes_bad,
            "passes_good": self.passes_good,
            "undecided": self.num_undecided,
            **{name: found.as_dict() if found else None for name, found in figures.items()},
            "thresholds": [threshold.as_dict() for threshold in self.thresholds],
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    num_decided: int
    num_bad: int
    num_reviewers: int
    rules: tuple[RuleCalibration, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "decided": self.num_decided,
            "bad": self.num_bad,
            "reviewers": self.num_reviewers,
            "rules": [rule.as_dict() for rule in self.rules],
        }

    def __str__(self) -> str:
        return "\n".join(lines_of(self))


def calibration(
    decided: Decided, rules: Sequence[str], *, miss_cost: float | None = None, seed: int = 0
) -> Calibration:
    """``rules`` in the order in which they judge, as ``judgements.rules_of`` tells them; where it
    could not, those that rows name. ``miss_cost`` is as in ``threshold_for``.
    """
    are_in_order = bool(rules)
    rules = rules or _named_in(decided.rows)
    num_decided = Counter(each.stratum for each in decided.rows)
    cases = [
        _Case(
            judgements_of(each.row, rules, are_in_order=are_in_order),
            each.consensus.is_defect,
            decided.num_rows_in[each.stratum] / num_decided[each.stratum],
            each.stratum,
        )
        for each in decided.rows
    ]
    return Calibration(
        num_decided=len(cases),
        num_bad=sum(case.is_bad for case in cases),
        num_reviewers=len({who for each in decided.rows for who in each.consensus.reviewers}),
        rules=tuple(_of_rule(rule, cases, miss_cost, seed) for rule in rules),
    )


@dataclass(frozen=True, slots=True)
class _Case:
    judgements: Mapping[str, Judgement]
    is_bad: bool
    weight: float
    stratum: str


def _named_in(rows: Iterable[DecidedRow]) -> list[str]:
    rejecting = {each.row.rejection["rule"] for each in rows if each.row.rejection is not None}
    return sorted(rejecting)


def _of_rule(
    rule: str, cases: Iterable[_Case], miss_cost: float | None, seed: int
) -> RuleCalibration:
    judged = [(case, case.judgements[rule]) for case in cases if rule in case.judgements]
    known = [(case, judgement) for case, judgement in judged if judgement.is_decided]
    counts = Counter((judgement.passed, case.is_bad) for case, judgement in known)
    rejected = [case for case, judgement in known if not judgement.passed]
    return RuleCalibration(
        rule=rule,
        rejects_bad=counts[False, True],
        rejects_good=counts[False, False],
        passes_bad=counts[True, True],
        passes_good=counts[True, False],
        num_undecided=len(judged) - len(known),
        precision=_share((case.weight, case.is_bad) for case in rejected),
        recall=_share(
            (case.weight, not judgement.passed) for case, judgement in known if case.is_bad
        ),
        kappa=_kappa(known),
        thresholds=tuple(
            threshold_for(option, bound, rows, miss_cost=miss_cost, seed=seed)
            for option, bound, rows in _measured(known)
        ),
    )


def _share(rows: Iterable[tuple[float, bool]]) -> Estimate | None:
    """Of weighted rows that are hits, with Wilson's interval of as many as the weights leave."""
    rows = list(rows)
    if not rows:
        return None
    total = sum(weight for weight, _ in rows)
    value = sum(weight for weight, is_hit in rows if is_hit) / total
    worth = _worth(weight for weight, _ in rows)
    low, high = wilson(value * worth, worth)
    return Estimate(value, min(low, value), max(high, value), len(rows))


def _worth(weights: Iterable[float]) -> float:
    """How many rows of equal weight say as much: Kish's effective sample size (1965, 11.7)."""
    weights = list(weights)
    return sum(weights) ** 2 / sum(weight**2 for weight in weights)


def _kappa(known: Sequence[tuple[_Case, Judgement]]) -> Estimate | None:
    if not known:
        return None
    sums = defaultdict[tuple[bool, bool], float](float)
    for case, judgement in known:
        sums[judgement.passed, not case.is_bad] += case.weight
    scale = _worth(case.weight for case, _ in known) / sum(case.weight for case, _ in known)
    found = TwoByTwo(
        both_accept=sums[True, True] * scale,
        only_first_accepts=sums[True, False] * scale,
        only_second_accepts=sums[False, True] * scale,
        both_reject=sums[False, False] * scale,
    ).kappa()
    return found and Estimate(found.value, found.low, found.high, len(known))


def _measured(
    known: Sequence[tuple[_Case, Judgement]],
) -> Iterator[tuple[str, float, list[ScoredRow]]]:
    """Of each option that the rule's evidence names: its bound, and the rows. Those that were
    rejected for something else are left out: how they stand to this option, nobody has told.
    """
    told = [(case, judgement, measured_in(judgement.evidence)) for case, judgement in known]
    bounds = Counter((found.option, found.bound) for *_, found in told if found is not None)
    for option in sorted({option for option, _ in bounds}):
        bound = max((n, bound) for (name, bound), n in bounds.items() if name == option)[1]
        rows = list[ScoredRow]()
        for case, judgement, found in told:
            is_it = found is not None and (found.option, found.bound) == (option, bound)
            if found is not None and is_it and found.passes == judgement.passed:
                value: float | None = found.value
            elif judgement.passed and not is_it:
                value = None
            else:
                continue
            rows.append(ScoredRow(value, case.is_bad, case.weight, case.stratum))
        yield option, bound, rows
