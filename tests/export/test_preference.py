"""What is paired with what, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from export.made_runs import changed, make_run, row
from weave_async.errors import UsageError
from weave_async.export.making import Export, Wanted
from weave_async.export.preference import Pairing, Pairs
from weave_async.export.reviewed import ReviewedRows


def paired(
    folder: Path, rows: list[dict[str, Any]], pairing: Pairing
) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """The ids of each pair, and the counts of what was left out."""
    pairs = Pairs(ReviewedRows(make_run(folder, rows)), pairing)
    told = [(record["chosen_id"], record["rejected_id"]) for _, record in pairs.records()]
    return told, dict(+pairs.unpaired)


def rejected(sample_id: str, answer: str, **options: Any) -> dict[str, Any]:
    return row(sample_id, answer, rejected=("validation", "low_score"), **options)


def test_accepted_is_better_than_rejected_by_a_rule(tmp_path: Path) -> None:
    rows = [
        row("a-0", "good"),
        rejected("a-1", "bad"),
        row("b-0", "alone", ask="B?"),
        row("c-0", "fine", ask="C?"),
        row("c-1", "finer", ask="C?"),
    ]
    pairs, left_out = paired(tmp_path / "run", rows, Pairing())
    assert pairs == [("a-0", "a-1")]
    assert left_out == {
        "the only completion of its prompt": 1,
        "no other of its prompt is better or worse by enough": 2,
    }


def test_a_duplicate_or_an_undecided_rule_makes_nothing_worse(tmp_path: Path) -> None:
    rows = [
        row("a-0", "good"),
        row("a-1", "twin", rejected=("selection", "duplicate")),
        row("a-2", "who knows", rejected=("validation", "raised")),
    ]
    pairs, left_out = paired(tmp_path / "run", rows, Pairing())
    assert pairs == []
    assert sum(left_out.values()) == 3


def test_a_text_is_never_paired_with_itself(tmp_path: Path) -> None:
    rows = [row("a-0", "same"), rejected("a-1", "same")]
    pairs, left_out = paired(tmp_path / "run", rows, Pairing())
    assert pairs == []
    assert left_out["the same text as another of its prompt"] == 1


def test_noisy_prompts_are_paired_under_the_clean_one(tmp_path: Path) -> None:
    noise = [changed(0, 0, "W", "w")]
    rows = [row("a-0~1", "good", ask="why?", noise=noise), rejected("a-1", "bad")]
    run = make_run(tmp_path / "run", rows)
    [(_, record)] = Export(run, Wanted("preference")).records()
    assert record["prompt"] == [{"role": "user", "content": "Why?"}]


def test_a_judge_pairs_the_best_with_the_worst_whoever_was_accepted(tmp_path: Path) -> None:
    rows = [
        row("a-0", "fair", score=3),
        row("a-1", "best", score=5),
        rejected("a-2", "worst", score=1),
        row("a-3", "good", score=4),
        row("a-4", "not judged"),
    ]
    pairing = Pairing("judge", most=2)
    pairs, left_out = paired(tmp_path / "run", rows, pairing)
    assert pairs == [("a-1", "a-2"), ("a-3", "a-0")]
    assert left_out == {"without a score of the rule judge": 1}
    pairs, _ = paired(tmp_path / "again", rows, Pairing("judge", min_gap=2, most=2))
    assert pairs == [("a-1", "a-2")]


def test_models_are_paired_in_the_order_that_is_preferred(tmp_path: Path) -> None:
    rows = [
        row("a-0", "1", model="small"),
        row("a-1", "2", model="large"),
        row("a-2", "3", model="other"),
        row("b-0", "4", model="small", ask="B?"),
        row("b-1", "5", model="small", ask="B?"),
    ]
    pairs, left_out = paired(tmp_path / "run", rows, Pairing("model", prefer=("large", "small")))
    assert pairs == [("a-1", "a-0")]
    assert left_out["of a model that --prefer does not name"] == 1


def test_a_clean_answer_is_better_than_its_noisy_copy(tmp_path: Path) -> None:
    rows = [
        row("a-0", "So."),
        row("a-0~1", "os.", noise=[changed(1, 0, "So", "os")]),
        row("b-0", "So.", ask="hwy?", noise=[changed(0, 0, "Why", "hwy")]),
    ]
    run = make_run(tmp_path / "run", rows)
    export = Export(run, Wanted("preference", Pairing("noise")))
    [(_, record)] = export.records()
    assert (record["chosen"][0]["content"], record["rejected"][0]["content"]) == ("So.", "os.")
    assert export.left_out == {
        "without noise": 1,
        "noise has left the completion as it was": 1,
    }


@pytest.mark.parametrize("prefer", [(), ("one",), ("one", "one")])
def test_an_order_of_models_names_two_at_least(prefer: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        Pairing("model", prefer=prefer)
