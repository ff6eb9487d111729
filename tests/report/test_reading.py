"""What a run folder holds is counted; what is wrong with it is said, and stops nothing."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest

from weave_async.errors import InputError, RunFolderError
from weave_async.report.reading import Reading, read_run
from weave_async.report.view import RunView

from .runs import answer, make_run, missed, row, rows, write_segment

TOLD = [
    *rows(30, attributes={"tone": "calm"}),
    *rows(12, why=("validation", "length", "too_short"), attributes={"tone": "calm"}),
    *rows(7, why=("validation", "echo", "echoed"), model="other", attributes={"tone": "loud"}),
    *rows(1, why=("server", "500: out of order")),
]


def read(run: Path, num_samples: int = 1_000) -> Reading:
    return read_run(run, num_samples=num_samples)


def test_every_row_is_counted_by_its_end_and_its_reason(tmp_path: Path) -> None:
    tally = read(make_run(tmp_path / "run", TOLD)).tally
    assert tally.num_ended == {"written": 30, "rejected": 19, "failed": 1}
    assert tally.whys["validation", "length", "too_short"] == 12
    assert tally.by_model["other", "rejected"] == 7
    assert tally.by_attribute["tone"]["loud", "rejected"] == 7
    assert tally.error_examples == {"server": "500: out of order"}


def test_the_steps_from_asked_to_written_add_up(tmp_path: Path) -> None:
    metrics = {"stages": {"validation:echo": {}, "validation:length": {}}}
    run = make_run(tmp_path / "run", TOLD, metrics=metrics, asked=60, pending=10)
    steps = RunView(read(run)).steps
    assert [(step.name, step.num) for step in steps] == [
        ("Asked", 60),
        ("not ended yet", 10),
        ("failed", 1),
        ("Answered", 49),
        ("validation: echo", 7),  # in the order of the journey, not of their size
        ("validation: length", 12),
        ("Written", 30),
    ]
    assert all(
        step.left + step.num == before.left for before, step in pairwise(steps) if step.is_loss
    )


def test_many_small_losses_are_told_as_one(tmp_path: Path) -> None:
    told = [*rows(9), *rows(5, why=("validation", "big", "x"))]
    told += [row(f"p{n}-0", why=("validation", f"rule {n}", "x")) for n in range(60)]
    steps = RunView(read(make_run(tmp_path / "run", told))).steps
    assert len(steps) == 43
    assert ("validation: big", 5) in [(step.name, step.num) for step in steps]
    assert (steps[-2].name, steps[-2].num, steps[-2].left) == ("21 smaller losses", 21, 9)
    assert steps[-1].num == 9


def test_a_finished_run_needs_no_notes(tmp_path: Path) -> None:
    assert read(make_run(tmp_path / "run", TOLD)).notes == []


def test_a_killed_run_tells_what_it_had_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TOLD, is_finished=False, journal=[answer(1, 0.5)] * 60)
    with (run / "samples.jsonl.part").open("a") as file:
        file.write('{"sample_id": "torn-0", "mess')
    found = read(run)
    assert found.tally.num_ended["written"] == 30
    assert "unfinished" in found.notes[0]
    assert "60 answers" in found.notes[1]
    assert not any("damaged" in note for note in found.notes)
    assert RunView(found).status[2] == "Unfinished"


def test_a_later_run_that_was_cut_short_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TOLD)
    (run / "samples.jsonl.part").write_text("")
    found = read(run)
    assert found.tally.total == 50
    assert "samples.jsonl.part" in found.notes[0]


@pytest.mark.parametrize(
    "line",
    [
        "\x00" * 100,
        '{"sample_id": "torn-0", "mess',
        "[]",
        "7",
        '{"sample_id": 7, "messages": [], "lineage": {}}',
        '{"sample_id": "a-0", "messages": {}, "lineage": {"model": "m"}}',
        '{"sample_id": "a-0", "messages": [{"role": "assistant"}], "lineage": {"model": "m"}}',
        json.dumps(row(attributes={"a": 1}) | {"messages": [7]}),
    ],
)
def test_a_damaged_row_is_counted_and_left_out(tmp_path: Path, line: str) -> None:
    run = make_run(tmp_path / "run", TOLD)
    with (run / "samples.jsonl").open("a") as file:
        file.write(line + "\n")
    found = read(run)
    assert found.tally.num_ended["written"] == 30
    assert [note for note in found.notes if "1 row" in note and "line 31" in note]


def test_edits_that_are_of_another_text_leave_a_row_out_of_the_table_alone(tmp_path: Path) -> None:
    changes = [{"start": 0, "before": "The", "after": "Teh"}]
    odd = row("odd-0", noise=[{"noise": "typos", "message_index": 0, "changes": changes}])
    odder = row("odd-1", noise=[{"noise": "typos"}])
    found = read(make_run(tmp_path / "run", [*TOLD, odd, odder]))
    assert found.tally.num_ended["written"] == 32
    assert len(found.rows) == 50
    assert any("2 rows" in note and "not of their texts" in note for note in found.notes)


def test_rows_that_are_missing_are_told_by_the_manifest(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TOLD, written=31)
    assert any("31" in note and "verify" in note for note in read(run).notes)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff\xfe", b'{"diversity": 7, "bias": [], "stages": {"a": 1}}']
)
def test_damaged_metrics_leave_their_sections_out(tmp_path: Path, content: bytes) -> None:
    run = make_run(tmp_path / "run", TOLD)
    (run / "metrics.json").write_bytes(content)
    view = RunView(read(run))
    assert view.diversity == view.bias == view.representation == view.stages == []


@pytest.mark.parametrize("name", ["metrics.json", "recipe.yaml"])
def test_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    run = make_run(tmp_path / "run", TOLD)
    (run / name).unlink()
    (run / name).symlink_to(secret)
    found = read(run)
    assert "somebody else" not in found.recipe
    assert any(name in note for note in found.notes)


def test_a_link_in_place_of_rows_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TOLD)
    (run / "samples.jsonl").rename(tmp_path / "elsewhere.jsonl")
    (run / "samples.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    with pytest.raises(RunFolderError, match="not a regular file"):
        read(run)


def test_no_run_and_a_damaged_manifest_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        read(tmp_path)
    run = make_run(tmp_path / "run", TOLD)
    (run / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="manifest"):
        read(run)


def test_latencies_are_told_by_model_and_only_where_answers_tell_them(tmp_path: Path) -> None:
    journal = [answer(0.1 * n, 0.01 * (n + 1)) for n in range(100)]
    journal += [answer(n, None, model="untimed") for n in range(3)]
    view = RunView(read(make_run(tmp_path / "run", TOLD, journal=journal)))
    fast, untimed = view.latencies
    assert (fast.model, fast.num_answers, fast.output_tokens) == ("m", 100, 400)
    p50, p90, p95, p99 = fast.percentiles_s
    assert (p50, p90, p95) == pytest.approx((0.505, 0.901, 0.9505), abs=1e-3)
    assert p99 is None  # but one answer lies beyond it
    assert untimed.percentiles_s == (None,) * 4
    assert untimed.slowest_s is None


def test_sessions_follow_each_other_without_the_time_between(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TOLD, journal=[answer(n, 0.5) for n in range(1, 11)])
    write_segment(run, 2, [answer(n, 0.5) for n in range(1, 11)], started_at=1.8e9)
    found = read(run)
    assert found.calls.begun_s == [0, 10]
    assert found.calls.last_s == 20
    slices = RunView(found).slices
    assert slices is not None
    assert slices.answers_per_s.sum() * slices.slice_s == pytest.approx(20)


def test_calls_without_an_answer_are_counted_by_error(tmp_path: Path) -> None:
    journal = [answer(1, 0.5), missed(2), missed(3), missed(4, "rate_limited")]
    view = RunView(read(make_run(tmp_path / "run", TOLD, journal=journal)))
    assert view.missed == [("server", 2), ("rate_limited", 1)]


def test_a_damaged_journal_tells_what_stands_before(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TOLD, journal=[answer(n, 0.5) for n in range(10)])
    write_segment(run, 2, [answer(n, 0.5) for n in range(10)])
    path = run / "journal" / "000001.log"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b"\xff" * 8 + content[middle + 8 :])
    found = read(run)
    assert 10 < found.calls.num_answers < 20
    assert any("000001.log is damaged" in note for note in found.notes)


@pytest.mark.parametrize("odd", [1e300, -5.0, "soon", None, True])
def test_times_that_cannot_be_are_not_believed(tmp_path: Path, odd: object) -> None:
    entries = [answer(1, 0.5), answer(2, odd) if not isinstance(odd, str) else answer(2, 0.5)]  # type: ignore[arg-type]
    entries.append({**answer(3, 0.5), "at_s": odd if isinstance(odd, float) else 3.0})
    run = make_run(tmp_path / "run", TOLD, journal=entries)
    write_segment(run, 2, [answer(1, 0.5)], started_at=odd if isinstance(odd, float) else 1e300)
    view = RunView(read(run))
    assert view.latencies[0].num_answers == 4
    assert view.begun_at == "2026-11-23 08:45:48 UTC"


def test_reading_takes_no_more_memory_for_more_rows(tmp_path: Path) -> None:
    def peak_of(num: int) -> int:
        run = make_run(tmp_path / str(num), rows(num, ask="why? " * 100))
        tracemalloc.start()
        try:
            assert read(run, num_samples=20).tally.total == num
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_of(100)  # what is loaded once
    few, many = peak_of(500), peak_of(5_000)
    assert many - few < 500_000  # of 4 MB more rows
