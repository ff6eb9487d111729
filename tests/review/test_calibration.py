"""The judge and each rule beside what people say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from export.made_runs import row
from reviews_said import say
from weave_async.cli.main import app
from weave_async.consensus import Consensus
from weave_async.review.calibration import calibration
from weave_async.review.decided import Decided, DecidedRow
from weave_async.review.judgements import rules_of
from weave_async.review_log import ReviewLog
from weave_async.run_rows import ExportRow, RunRows
from weave_async.rundir import RunFolder

GOOD, BAD = Consensus(("ana",), 1, 0), Consensus(("ana",), 0, 1)
EDITED = Consensus(("ben",), 1, 0, 1, "better")


def case(
    consensus: Consensus,
    *,
    score: float | None = None,
    by: str | None = None,
    reason: str = "low_score",
    stratum: str = "written: others",
) -> DecidedRow:
    """A row, written or rejected ``by`` a rule, with the judge's score in its evidence."""
    evidence = {} if score is None else {"score": score, "min": 3.0}
    made = row("0-0", "answer", rejected=("validation", reason) if by else None)
    if by:
        made |= {"rule": by, "evidence": evidence}
    elif evidence:
        made["lineage"]["verdicts"] = [
            {"rule": "judge", "passed": True, "reason": "", "evidence": json.dumps(evidence)}
        ]
    return DecidedRow(ExportRow.of(orjson.dumps(made), 0), stratum, consensus)


def decided(rows: Sequence[DecidedRow], sizes: dict[str, int] | None = None) -> Decided:
    num_rows_in = Counter(sizes or Counter(each.stratum for each in rows))
    return Decided(tuple(rows), num_rows_in, ())


def test_a_rules_rejections_are_counted_beside_what_people_say() -> None:
    rows = [case(GOOD)] * 6 + [case(BAD)] * 2 + [case(EDITED)] * 1
    rows += [case(BAD, by="judge")] * 3 + [case(GOOD, by="judge")] * 1 + [case(BAD, by="length")]
    found = calibration(decided(rows), ["length", "judge"])
    assert (found.num_decided, found.num_bad, found.num_reviewers) == (14, 7, 2)
    length, judge = found.rules
    counts = (judge.rejects_bad, judge.rejects_good, judge.passes_bad, judge.passes_good)
    assert counts == (3, 1, 3, 6)
    assert judge.precision is not None
    assert judge.precision.value == 0.75
    assert judge.recall is not None
    assert judge.recall.value == 0.5
    assert judge.kappa is not None
    assert judge.kappa.value == pytest.approx((9 / 13 - 87 / 169) / (1 - 87 / 169))
    assert length.num_judged == 14


def test_rows_count_by_how_many_of_the_run_they_stand_for() -> None:
    rows = [case(GOOD, by="judge", stratum="rejected: by judge")] * 4
    rows += [case(BAD, by="judge", stratum="rejected: disagreement")] * 4
    found = calibration(
        decided(rows, {"rejected: by judge": 90, "rejected: disagreement": 10}), ["judge"]
    )
    precision = found.rules[0].precision
    assert precision is not None
    assert precision.value == pytest.approx(0.1)
    assert precision.high > 0.4


def test_a_rule_that_could_not_decide_is_not_held_to_it() -> None:
    rows = [case(BAD, by="judge", reason="no_verdict"), case(GOOD)]
    (judge,) = calibration(decided(rows), ["judge"]).rules
    assert (judge.num_undecided, judge.num_judged) == (1, 1)
    assert judge.precision is None


def test_a_judge_that_is_too_kind_is_told_a_higher_threshold() -> None:
    rows = [case(BAD, score=3)] * 20 + [case(GOOD, score=score) for score in (4, 5)] * 20
    rows += [case(BAD, score=2, by="judge")] * 10
    found = calibration(decided(rows), ["judge"])
    (threshold,) = found.rules[0].thresholds
    assert (threshold.option, threshold.now, threshold.proposed) == ("min", 3.0, 4.0)
    told = str(found)
    assert "70 rows decided by 1 person; 30 of them are to be rejected or edited" in told
    assert "judge, min 3: propose 4 (4 to 4); gain 0.6" in told
    assert "43 %              100 %             100 %  1.00  proposed" in told


def test_rows_that_a_judge_rejects_for_another_reason_do_not_move_its_threshold() -> None:
    rows = [case(GOOD, score=5)] * 12 + [case(BAD, score=2, by="judge")] * 12
    rows += [case(BAD, score=5, by="judge", reason="judges_disagree")] * 12
    (threshold,) = calibration(decided(rows), ["judge"]).rules[0].thresholds
    assert [split.finds for split in threshold.splits if split.threshold == 3.0] == [1.0]
    assert threshold.why.startswith("keep 3")


def test_rules_are_known_by_their_rejections_where_the_recipe_cannot_be_read() -> None:
    found = calibration(decided([case(GOOD), case(BAD, by="b"), case(BAD, by="a")]), [])
    assert [(rule.rule, rule.num_judged) for rule in found.rules] == [("a", 2), ("b", 2)]


def test_rules_that_have_rejected_nothing_are_named_apart() -> None:
    told = str(calibration(decided([case(GOOD), case(BAD, by="judge")]), ["length", "judge"]))
    assert "have rejected none of these rows: length" in told
    assert "judge       2         1  1.00" in told


def test_without_verdicts_there_is_nothing_to_tell() -> None:
    found = calibration(decided([]), ["judge"])
    assert found.as_dict()["decided"] == 0
    assert str(found).startswith("0 rows decided by 0 people")


def test_the_intervals_hold_as_often_as_they_say_though_a_stratum_is_shown_more_often() -> None:
    """Of 900 rows a rule finds 20 % of the bad ones, of 100 others, shown as often, 80 %."""
    rng, held, num_trials = np.random.default_rng(5), 0, 300
    shares = {"written: others": (900, 0.3, 0.2), "written: rare": (100, 0.6, 0.8)}
    truth = (900 * 0.3 * 0.2 + 100 * 0.6 * 0.8) / (900 * 0.3 + 100 * 0.6)
    kinds = {
        (is_bad, by, name): case(BAD if is_bad else GOOD, by=by, stratum=name)
        for is_bad in (True, False)
        for by in ("judge", None)
        for name in shares
    }
    for _ in range(num_trials):
        rows = [
            kinds[bool(is_bad), "judge" if is_bad and is_found else None, name]
            for name, (_, bad, found) in shares.items()
            for is_bad, is_found in zip(rng.random(60) < bad, rng.random(60) < found, strict=True)
        ]
        sizes = {name: size for name, (size, _, _) in shares.items()}
        recall = calibration(decided(rows, sizes), ["judge"]).rules[0].recall
        held += recall is not None and recall.low <= truth <= recall.high
    assert held / num_trials >= 0.93


RECIPE = """\
prompts: {source: seeds.jsonl, template: "{{ text }}"}
generate: {mix: [{endpoint: simulated}]}
validation:
  - length: {min_words: 22}
  - judge: {rubric: rubric.txt, min: 2}
"""


def test_a_real_run_is_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"text": f"Question {n} about my order"}) + "\n" for n in range(150)]
    Path("seeds.jsonl").write_text("".join(rows))
    Path("rubric.txt").write_text("5 is good.")
    Path("recipe.yaml").write_text(RECIPE)
    run: Any = app
    run(["run", "recipe.yaml", "-o", "out", "--explain-all"], standalone_mode=False)
    found = RunRows(Path("out"))
    said = {row.sample_id: _said(row) for row in (*found.written(), *found.rejected())}
    say(Path("out"), "ana", said)
    everything = Decided.read(found, ReviewLog.read(found.folder.review))
    rules = rules_of(RunFolder(Path("out")))
    assert rules == ["completion", "length", "judge"]
    thresholds = {
        rule.rule: {each.option: each.proposed for each in rule.thresholds}
        for rule in calibration(everything, rules).rules
    }
    assert thresholds == {"completion": {}, "length": {"min_words": 16.0}, "judge": {"min": 4.0}}


def _said(row: ExportRow) -> str:
    """Somebody who likes long answers, and of those what the judge likes better than it must."""
    score = row.score_by("judge")
    is_good = len(row.completion.split()) >= 16 and (score is None or score >= 4)
    return "accept" if is_good else "reject"
