"""The rows that people have decided, read beside all rows of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.made_runs import make_run, row
from reviews_said import say
from weave_async.review.decided import Decided
from weave_async.review_log import ReviewLog
from weave_async.run_rows import RunRows


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [row(f"{n}-0", f"answer {n}") for n in range(4)]
    rows += [row(f"{n}-0", "no", rejected=("validation", "too_short")) for n in range(4, 6)]
    return make_run(tmp_path / "run", rows)


def read(run: Path) -> Decided:
    return Decided.read(RunRows(run), ReviewLog.read(run / "review.jsonl"))


def test_each_row_comes_with_what_its_reviewers_say_together(run: Path) -> None:
    say(run, "ana", {"1-0": "accept", "5-0": "reject"})
    say(run, "ben", {"1-0": "accept"})
    found = read(run)
    assert [(each.row.sample_id, each.stratum) for each in found.rows] == [
        ("1-0", "written: others"),
        ("5-0", "rejected: by judge"),
    ]
    assert [each.consensus.num_accepted for each in found.rows] == [2, 0]
    assert found.num_rows_in == {"written: others": 4, "rejected: by judge": 2}
    assert (len(found.verdicts), found.num_outdated) == (3, 0)


def test_rows_that_were_only_skipped_are_not_decided(run: Path) -> None:
    say(run, "ana", {"1-0": "skip", "2-0": "skip"})
    say(run, "ben", {"2-0": "accept"})
    assert [each.row.sample_id for each in read(run).rows] == ["2-0"]


def test_a_verdict_on_a_row_that_has_changed_or_gone_does_not_count(run: Path) -> None:
    say(run, "ana", {"1-0": "reject", "9-0": "reject"}, sha="0" * 64)
    say(run, "ben", {"1-0": "accept"})
    found = read(run)
    assert [each.consensus.reviewers for each in found.rows] == [("ben",)]
    assert found.num_outdated == 2


def test_reading_tells_how_far_it_is(run: Path) -> None:
    told = list[int]()
    Decided.read(RunRows(run), ReviewLog(), on_row=told.append)
    assert told == list(range(1, 13))
