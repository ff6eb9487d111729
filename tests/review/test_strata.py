"""Which rows come first, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from export.made_runs import make_run, row
from weave_async.review.strata import Landscape
from weave_async.run_rows import RunRows

JUDGED = {"scores": {"judge": [4]}, "min": 3.0}


def told_by(rule: str, *, passed: bool = True, **evidence: Any) -> dict[str, Any]:
    """A verdict as a row keeps it."""
    told = json.dumps(evidence)
    return {"rule": rule, "passed": passed, "reason": "", "evidence": told, "mended": False}


def with_lineage(made: dict[str, Any], **lineage: Any) -> dict[str, Any]:
    return {**made, "lineage": {**made["lineage"], **lineage}}


def rejected_by(sample_id: str, rule: str, **evidence: Any) -> dict[str, Any]:
    made = row(sample_id, "answer", rejected=("validation", "why"))
    return {**made, "rule": rule, "evidence": evidence}


def names_of(folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    found = RunRows(make_run(folder, rows))
    landscape = Landscape()
    for each in (*found.written(), *found.rejected()):
        landscape.see(each)
    landscape.survey()
    return {
        each.sample_id: landscape.name_of(each) for each in (*found.written(), *found.rejected())
    }


def test_rows_that_nothing_sets_apart_are_the_others(tmp_path: Path) -> None:
    rows = [row(f"{number}-0", "answer") for number in range(60)]
    assert set(names_of(tmp_path / "run", rows).values()) == {"written: others"}


def test_judges_that_are_at_odds_are_a_disagreement(tmp_path: Path) -> None:
    made = row("a-0", "answer")
    rows = [
        with_lineage(made, verdicts=[told_by("judge", score=4, agreement=0.5, **JUDGED)]),
        with_lineage(
            row("b-0", "answer"), verdicts=[told_by("judge", score=9, agreement=1.0, **JUDGED)]
        ),
        with_lineage(row("c-0", "answer"), verdicts=[told_by("pairwise", won=1, inconsistent=1)]),
        *(row(f"{number}-0", "answer") for number in range(60)),
    ]
    names = names_of(tmp_path / "run", rows)
    assert names["a-0"] == names["c-0"] == "written: disagreement"
    assert names["1-0"] == "written: others"


def test_what_a_judge_accepts_against_a_rule_or_cannot_agree_on_is_a_disagreement(
    tmp_path: Path,
) -> None:
    by_judge = rejected_by("a-0", "judge", score=3, min=3.5, scores={"judge": [5, 1]})
    against_it = rejected_by("b-0", "length", words=3)
    passed = told_by("judge", score=5, **JUDGED)
    rows = [
        by_judge,
        with_lineage(against_it, verdicts=[passed]),
        rejected_by("c-0", "length", words=3),
        rejected_by("d-0", "judge", score=2, min=3.5, scores={"judge": [2, 2]}),
        *(rejected_by(f"{n}-0", "judge", score=1, min=3.5) for n in range(20)),
    ]
    names = names_of(tmp_path / "run", rows)
    assert names["a-0"] == names["b-0"] == "rejected: disagreement"
    assert names["c-0"] == "rejected: by length"
    assert names["d-0"] == "rejected: near a threshold"
    assert names["7-0"] == "rejected: by judge"


def test_a_tenth_of_a_rules_scores_is_near_its_threshold(tmp_path: Path) -> None:
    rows = [
        with_lineage(
            row(f"{number}-0", "answer"),
            verdicts=[told_by("toxicity", score=number / 100, max_score=0.5)],
        )
        for number in range(50)
    ]
    names = names_of(tmp_path / "run", rows)
    near = {sample_id for sample_id, name in names.items() if name == "written: near a threshold"}
    assert near == {f"{number}-0" for number in range(45, 50)}


def test_of_a_score_that_most_rows_have_none_is_near(tmp_path: Path) -> None:
    scores = [4] * 40 + [3] * 5 + [5] * 5
    rows = [
        with_lineage(row(f"{n}-0", "answer"), verdicts=[told_by("judge", score=score, min=3.0)])
        for n, score in enumerate(scores)
    ]
    names = names_of(tmp_path / "run", rows)
    near = [sample_id for sample_id, name in names.items() if name == "written: near a threshold"]
    assert near == [f"{n}-0" for n in range(40, 45)]


def test_few_rows_with_a_value_are_rare_unless_every_row_has_its_own(tmp_path: Path) -> None:
    rows = [
        with_lineage(
            row(f"{number}-0", "answer"),
            attributes={"tone": "angry" if number == 7 else "calm", "number": f"n{number}"},
        )
        for number in range(300)
    ]
    names = names_of(tmp_path / "run", rows)
    assert [sample_id for sample_id, name in names.items() if name == "written: rare"] == ["7-0"]


def test_a_repaired_row_is_shown_as_one(tmp_path: Path) -> None:
    rows = [with_lineage(row("a-0", "answer"), repairs=1)]
    assert names_of(tmp_path / "run", rows) == {"a-0": "written: repaired"}


@pytest.mark.parametrize(
    "evidence", ["", "no json", "[]", '{"score": "high", "min": 1}', '{"agreement": null}']
)
def test_evidence_of_a_strangers_rule_may_be_anything(tmp_path: Path, evidence: str) -> None:
    verdict = {**told_by("theirs"), "evidence": evidence}
    rows = [with_lineage(row("a-0", "answer"), verdicts=[verdict])]
    assert names_of(tmp_path / "run", rows) == {"a-0": "written: others"}
