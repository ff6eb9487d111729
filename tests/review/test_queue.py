"""In which order rows are shown, and to whom."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from export.made_runs import make_run, row
from weave_async.errors import InputError
from weave_async.review import queue as queue_module
from weave_async.review.queue import ReviewQueue
from weave_async.review.strata import POPULATIONS
from weave_async.review_log import Decision, HumanVerdict, ReviewLog
from weave_async.run_rows import RunRows


def rows_of(num: int) -> list[dict[str, Any]]:
    """A tenth repaired, a fifth rejected."""
    rows = []
    for number in range(num):
        made = row(f"{number:04d}-0", f"answer {number}")
        if number % 10 == 0:
            made["lineage"]["repairs"] = 1
        elif number % 5 == 1:
            made = row(f"{number:04d}-0", f"answer {number}", rejected=("validation", "too_short"))
            made["rule"] = "length"
        rows.append(made)
    return rows


def queue_over(folder: Path, rows: list[dict[str, Any]], **options: Any) -> ReviewQueue:
    run = make_run(folder, rows)
    return ReviewQueue(RunRows(run), **{"populations": POPULATIONS, "overlap": 0.25, **options})


def decide(
    log: ReviewLog, queue: ReviewQueue, reviewer: str, decision: Decision = "accept"
) -> str | None:
    given = queue.next_for(reviewer, log)
    if given is None:
        return None
    log.add(
        HumanVerdict(
            at="",
            reviewer=reviewer,
            sample_id=given.row.sample_id,
            decision=decision,
            reason=None,
            edited=None,
            text_sha256=given.text_sha256,
            stratum=given.queued.stratum.name,
        )
    )
    return given.row.sample_id


def shown_to(queue: ReviewQueue, log: ReviewLog, reviewer: str, num: int) -> list[str]:
    ids = [decide(log, queue, reviewer) for _ in range(num)]
    return [each for each in ids if each is not None]


def test_strata_take_turns_by_weight_and_the_heaviest_begins(tmp_path: Path) -> None:
    queue = queue_over(tmp_path / "run", rows_of(200))
    log = ReviewLog()
    names = []
    for sample_id in shown_to(queue, log, "ana", 60):
        queued = queue.find(sample_id)
        assert queued is not None
        names.append(queued.stratum.name)
    assert names[:3] == ["written: repaired", "written: others", "rejected: by length"]
    assert Counter(names[:36]) == Counter(
        {"written: repaired": 18, "written: others": 12, "rejected: by length": 6}
    )
    assert queue.num_rows_in == {
        "written: repaired": 20,
        "written: others": 140,
        "rejected: by length": 40,
    }


def test_the_order_depends_on_the_rows_and_the_seed_alone(tmp_path: Path) -> None:
    rows = rows_of(100)
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)
    one, other, third = (
        shown_to(queue_over(tmp_path / name, given, seed=seed), ReviewLog(), "ana", 100)
        for name, given, seed in (("a", rows, 1), ("b", shuffled, 1), ("c", rows, 2))
    )
    assert one == other != third
    assert sorted(one) == sorted(third) == sorted(each["sample_id"] for each in rows)


def test_within_a_stratum_every_row_is_as_likely_to_come_early(tmp_path: Path) -> None:
    rows = [row(f"{number:04d}-0", "answer") for number in range(20)]
    run = RunRows(make_run(tmp_path / "run", rows))
    firsts: Counter[str] = Counter()
    for seed in range(400):
        queue = ReviewQueue(run, populations=POPULATIONS, overlap=0, seed=seed)
        firsts.update(shown_to(queue, ReviewLog(), "ana", 5))
    expected = 400 * 5 / 20
    chi2 = sum((firsts[each["sample_id"]] - expected) ** 2 / expected for each in rows)
    assert chi2 < 43.8  # p = .001 at 19 degrees of freedom


def test_some_rows_are_shown_to_all_and_the_others_to_one(tmp_path: Path) -> None:
    queue = queue_over(tmp_path / "run", rows_of(200), overlap=0.25)
    log = ReviewLog()
    seen: dict[str, set[str]] = {"ana": set(), "ben": set()}
    open_to = ["ana", "ben"]
    while open_to:
        for who in list(open_to):
            if (sample_id := decide(log, queue, who)) is None:
                open_to.remove(who)
            else:
                seen[who].add(sample_id)
    both = seen["ana"] & seen["ben"]
    assert seen["ana"] | seen["ben"] == {each["sample_id"] for each in rows_of(200)}
    assert 30 <= len(both) <= 70
    assert len(seen["ana"]) == pytest.approx(len(seen["ben"]), abs=2)


def test_a_row_that_one_has_skipped_is_offered_to_another(tmp_path: Path) -> None:
    queue = queue_over(tmp_path / "run", rows_of(20), overlap=0)
    log = ReviewLog()
    skipped = decide(log, queue, "ana", "skip")
    assert decide(log, queue, "ben") == skipped
    assert decide(log, queue, "ana") != skipped


def test_a_row_that_has_changed_since_is_shown_again(tmp_path: Path) -> None:
    rows = [row("a-0", "answer"), row("b-0", "answer")]
    log = ReviewLog()
    assert len(shown_to(queue_over(tmp_path / "run", rows), log, "ana", 3)) == 2
    rows[0] = row("a-0", "another answer")
    assert shown_to(queue_over(tmp_path / "again", rows), log, "ana", 3) == ["a-0"]


def test_of_a_large_stratum_a_bounded_sample_of_all_its_rows_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(f"{number:04d}-0", "answer") for number in range(300)]
    whole = shown_to(queue_over(tmp_path / "whole", rows), ReviewLog(), "ana", 20)
    monkeypatch.setattr(queue_module, "MAX_PER_STRATUM", 20)
    queue = queue_over(tmp_path / "few", rows)
    assert len(queue) == 20
    assert queue.num_rows_in["written: others"] == 300
    assert shown_to(queue, ReviewLog(), "ana", 21) == whole


def test_rows_of_one_kind_alone(tmp_path: Path) -> None:
    queue = queue_over(tmp_path / "run", rows_of(50), populations=["rejected"])
    assert set(queue.num_rows_in) == {"rejected: by length"}


def test_a_file_that_was_written_anew_is_told(tmp_path: Path) -> None:
    queue = queue_over(tmp_path / "run", [row("a-0", "answer"), row("b-0", "answer")])
    path = tmp_path / "run" / "samples.jsonl"
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(InputError, match="start the review again"):
        queue.next_for("ana", ReviewLog())
