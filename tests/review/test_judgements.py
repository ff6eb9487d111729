"""What each rule has made of a row, as the row's own file tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from export.made_runs import row
from weave_async.review.judgements import Measured, judgements_of, measured_in
from weave_async.run_rows import ExportRow

RULES = ("length", "judge", "language")


def told(rule: str, *, passed: bool = True, reason: str = "", **evidence: Any) -> dict[str, Any]:
    return {"rule": rule, "passed": passed, "reason": reason, "evidence": json.dumps(evidence)}


def read(
    *verdicts: dict[str, Any], by: str | None = None, reason: str = "why", stage: str = "validation"
) -> ExportRow:
    made = row("0-0", "answer", rejected=(stage, reason) if by else None)
    made["lineage"]["verdicts"] = list(verdicts)
    if by:
        made |= {"rule": by, "evidence": {"score": 1.0, "min": 3.0}}
    return ExportRow.of(orjson.dumps(made), 0)


def passed(row: ExportRow, **options: Any) -> dict[str, bool]:
    return {rule: told.passed for rule, told in judgements_of(row, RULES, **options).items()}


def test_a_row_in_the_dataset_has_passed_every_rule() -> None:
    assert passed(read()) == {"length": True, "judge": True, "language": True}


def test_a_rejected_row_has_passed_the_rules_before_and_no_more_is_known() -> None:
    assert passed(read(by="judge")) == {"length": True, "judge": False}
    assert passed(read(by="judge"), are_in_order=False) == {"judge": False}
    assert passed(read(by="unheard of")) == {}


def test_where_all_was_explained_later_rules_are_known_too() -> None:
    row = read(told("judge", score=4), told("language", passed=False), by="length")
    assert passed(row) == {"length": False, "judge": True, "language": False}
    assert judgements_of(row, RULES)["judge"].evidence == {"score": 4}


def test_a_rule_that_broke_down_has_not_decided() -> None:
    assert not judgements_of(read(by="judge", reason="no_verdict"), RULES)["judge"].is_decided
    row = read(told("judge", passed=False, reason="raised"), by="length")
    assert not judgements_of(row, RULES)["judge"].is_decided


def test_verdicts_of_other_kinds_are_passed_over() -> None:
    odd: list[dict[str, Any]] = [{"rule": "judge"}, told("repair:judge", passed=False)]
    odd.append({**told("judge"), "evidence": "[1]"})
    assert passed(read(*odd)) == {"length": True, "judge": True, "language": True}


@pytest.mark.parametrize(
    ("evidence", "measured"),
    [
        ({"score": 2.5, "min": 3, "scores": {"a": [2.5]}}, Measured("min", 3.0, 2.5)),
        ({"score": 0.99, "max_score": 0.98, "message": 1}, Measured("max_score", 0.98, 0.99)),
        ({"words": 4, "min_words": 10}, Measured("min_words", 10.0, 4.0)),
        ({"tokens": 9, "max_tokens": 8, "estimated": True}, Measured("max_tokens", 8.0, 9.0)),
        ({"value": 0.4, "max_top_2gram": 0.3}, Measured("max_top_2gram", 0.3, 0.4)),
        ({"share": 0.9, "max_prompt_share": 0.8}, Measured("max_prompt_share", 0.8, 0.9)),
        ({"score": 2.5}, None),
        ({"min": 3}, None),
        ({"max_tokens": 100}, None),
        ({"value": 1, "min_words": 2, "max_words": 9}, None),
        ({"score": True, "min": 3}, None),
        ({"score": float("inf"), "min": 3}, None),
        ({}, None),
    ],
)
def test_a_number_and_its_bound_are_read_from_evidence(
    evidence: Mapping[str, Any], measured: Measured | None
) -> None:
    assert measured_in(evidence) == measured


def test_a_bound_is_kept_by_what_is_just_on_it() -> None:
    assert Measured("min", 3.0, 3.0).passes
    assert not Measured("min", 3.0, 2.9).passes
    assert Measured("max_words", 9.0, 9.0).passes
    assert not Measured("max_words", 9.0, 10.0).passes
