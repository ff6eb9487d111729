"""What people have said of a run's rows, in its exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from export.made_runs import changed, make_run, row
from reviews_said import say
from weave_async.errors import InputError
from weave_async.export.card import card
from weave_async.export.making import Export, Wanted, lines
from weave_async.export.preference import PairBy, Pairing
from weave_async.export.reviewed import Reviews

BY_RULE = ("validation", "low_score")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [
        row("a-0", "good"),
        row("a-1", "bad", rejected=BY_RULE, score=1.0),
        row("b-0", "poor", ask="B?", score=4.0),
        row("b-1", "fine", ask="B?", rejected=BY_RULE, score=2.0),
    ]
    return make_run(tmp_path / "run", rows)


def export_of(run: Path, format: str = "messages", **wanted: Any) -> Export:
    return Export(run, Wanted(format, **wanted))


def records(run: Path, format: str = "messages", **wanted: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines(export_of(run, format, **wanted))]


def answers(run: Path, reviews: Reviews = "follow") -> dict[str, str]:
    told = records(run, reviews=reviews)
    return {each["sample_id"]: each["messages"][-1]["content"] for each in told}


def test_what_people_reject_leaves_and_what_they_accept_joins(run: Path) -> None:
    say(run, "ana", {"b-0": "reject", "b-1": "accept", "a-0": "accept", "a-1": "reject"})
    assert answers(run) == {"a-0": "good", "b-1": "fine"}


def test_an_edit_takes_the_place_of_the_completion(run: Path) -> None:
    say(run, "ana", {"a-0": "better", "a-1": "mended"})
    assert answers(run) == {"a-0": "better", "a-1": "mended", "b-0": "poor"}


def test_a_run_that_nobody_has_reviewed_is_exported_as_it_is(run: Path) -> None:
    export = export_of(run)
    assert [record["sample_id"] for _, record in export.records()] == ["a-0", "b-0"]
    assert str(export.rows.applied) == ""
    (run / "rejected.jsonl").unlink()
    assert answers(run) == {"a-0": "good", "b-0": "poor"}


def test_verdicts_can_be_left_out(run: Path) -> None:
    say(run, "ana", {"b-0": "reject", "b-1": "accept"})
    assert answers(run, "ignore") == {"a-0": "good", "b-0": "poor"}
    (run / "review.jsonl").write_text("damaged\n")
    assert answers(run, "ignore") == {"a-0": "good", "b-0": "poor"}
    with pytest.raises(InputError, match=r"review\.jsonl:1 is no review"):
        answers(run)


def test_only_what_people_have_accepted_can_be_taken(run: Path) -> None:
    say(run, "ana", {"b-0": "reject", "b-1": "accept", "a-0": "skip"})
    assert answers(run, "only") == {"b-1": "fine"}


def test_a_tie_rejects_and_the_majority_counts(run: Path) -> None:
    say(run, "ana", {"a-0": "accept", "b-0": "accept"})
    say(run, "ben", {"a-0": "reject", "b-0": "accept"})
    say(run, "eva", {"b-0": "reject"})
    assert answers(run) == {"b-0": "poor"}


def test_a_verdict_on_a_row_that_has_changed_is_counted_and_not_applied(run: Path) -> None:
    say(run, "ana", {"a-0": "reject", "gone-0": "reject"}, sha="0" * 64)
    say(run, "ben", {"b-0": "reject"})
    export = export_of(run)
    assert [record["sample_id"] for _, record in export.records()] == ["a-0"]
    assert export.rows.applied.as_dict() == {
        "rows": 1,
        "reviewers": 1,
        "removed": 1,
        "restored": 0,
        "edited": 0,
        "outdated": 2,
    }
    assert "2 verdicts are on rows that changed since, and not applied" in str(export.rows.applied)


def test_rows_are_counted_once_however_often_they_are_read(run: Path) -> None:
    say(run, "ana", {"a-0": "accept", "b-0": "reject", "b-1": "other words"})
    say(run, "ben", {"a-0": "accept"})
    export = export_of(run, validation=0.5)
    export.divide()
    list(export.records())
    assert export.rows.applied.as_dict() == {
        "rows": 3,
        "reviewers": 2,
        "removed": 1,
        "restored": 1,
        "edited": 1,
        "outdated": 0,
    }
    assert "People: 3 rows reviewed by 2 people: 1 removed, 1 restored" in card(export, "jsonl")


def test_a_label_says_what_people_say_and_else_what_the_rules_say(run: Path) -> None:
    say(run, "ana", {"b-0": "reject", "b-1": "accept"})
    labels = {each["sample_id"]: each["label"] for each in records(run, "kto")}
    assert labels == {"a-0": True, "a-1": False, "b-0": False, "b-1": True}


def test_a_row_that_is_a_duplicate_to_people_is_no_bad_example(run: Path) -> None:
    say(run, "ana", {"b-0": "reject"}, reason="duplicate")
    export = export_of(run, "kto")
    assert [record["sample_id"] for _, record in export.records()] == ["a-0", "a-1", "b-1"]
    assert export.left_out == {
        "rejected by people as a duplicate, which compares no quality": 1,
    }


def test_what_a_rule_could_not_decide_people_can(tmp_path: Path) -> None:
    raised = row("a-1", "odd", rejected=("validation", "raised"))
    run = make_run(tmp_path / "run", [row("a-0", "good"), raised])
    assert [each["label"] for each in records(run, "kto")] == [True]
    say(run, "ana", {"a-1": "reject"})
    assert [each["label"] for each in records(run, "kto")] == [True, False]


def pairs(run: Path, by: PairBy = "accepted") -> list[tuple[str, str]]:
    told = records(run, "preference", pairing=Pairing(by))
    return [(each["chosen"][0]["content"], each["rejected"][0]["content"]) for each in told]


def test_pairs_follow_people(run: Path) -> None:
    assert set(pairs(run)) == {("good", "bad"), ("poor", "fine")}
    say(run, "ana", {"b-0": "reject", "b-1": "accept", "a-0": "better"})
    assert set(pairs(run)) == {("better", "bad"), ("fine", "poor")}


def test_a_judge_keeps_its_scores_of_rows_that_people_have_moved(run: Path) -> None:
    say(run, "ana", {"b-0": "reject", "b-1": "accept"})
    assert pairs(run, "judge") == [("poor", "fine")]


def test_no_judge_has_scored_what_a_person_has_written(run: Path) -> None:
    say(run, "ana", {"b-1": "other words"})
    export = export_of(run, "preference", pairing=Pairing("judge"))
    with pytest.raises(InputError, match="1 edited by a person"):
        list(export.records())


def test_an_edit_is_preferred_to_what_the_model_wrote(run: Path) -> None:
    say(run, "ana", {"a-0": "better", "b-1": "mended", "b-0": "accept"})
    assert set(pairs(run, "edited")) == {("better", "good"), ("mended", "fine")}
    assert "not what people prefer" not in card(
        export_of(run, "preference", pairing=Pairing("edited")), "jsonl"
    )


def test_noise_in_an_edited_completion_is_not_undone(tmp_path: Path) -> None:
    noisy = row(
        "a-0", "gud", ask="Wy?", noise=[changed(0, 0, "Why", "Wy"), changed(1, 1, "oo", "u")]
    )
    run = make_run(tmp_path / "run", [noisy])
    say(run, "ana", {"a-0": "excellent"})
    assert answers(run) == {"a-0": "excellent"}
    (pair,) = records(run, "preference", pairing=Pairing("edited"))
    assert pair["prompt"] == [{"role": "user", "content": "Why?"}]
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("excellent", "gud")
