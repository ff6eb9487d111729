"""``weave-async explain``: one row's path, however it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Program


@pytest.fixture
def run_folder(weave_async: Program, recipe_file: Path) -> Path:
    recipe = recipe_file.read_text().replace("min_words: 20", "min_words: 40")
    recipe_file.write_text(recipe + "noise: [{typos: {rate: 0.2}}]\n")
    assert weave_async("run", str(recipe_file), "-o", "out").exit_code == 0
    return Path("out")


def rows(folder: Path, stem: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{stem}.jsonl").read_text().splitlines()]


def stages(explained: dict[str, Any]) -> list[tuple[str, str, str]]:
    told = explained["stages"]
    return [(each["stage"], each["name"], each["verdict"].split(" ")[0]) for each in told]


def test_a_rejected_row_passed_the_earlier_stages_and_never_reached_the_later_ones(
    weave_async: Program, run_folder: Path
) -> None:
    row = rows(run_folder, "rejected")[0]
    explained = weave_async("explain", "out", "rejected:1", "--json").json
    assert explained["sample_id"] == row["sample_id"]
    assert (explained["state"], explained["place"]) == ("rejected", "rejected.jsonl:1")
    assert stages(explained) == [
        ("validation", "completion", "passed"),
        ("validation", "length", "rejected:"),
        ("noise", "typos", "not"),
        ("selection", "exact", "not"),
    ]
    assert explained["stages"][1]["detail"] == row["evidence"]
    assert explained["answer"]["finish_reason"] == row["lineage"]["finish_reason"]
    assert "000001.log at byte" in explained["answer_place"]


def test_a_row_is_found_by_id_by_a_part_of_it_by_source_and_by_place(
    weave_async: Program, run_folder: Path
) -> None:
    row = rows(run_folder, "samples")[2]
    for name in (row["sample_id"], row["sample_id"][:12], row["lineage"]["source"], "samples:3"):
        explained = weave_async("explain", "out", name, "--json").json
        assert explained["sample_id"] == row["sample_id"]
        assert explained["state"] == "written"
        assert explained["messages"] == row["messages"]


def test_people_read_prompt_request_answer_and_verdicts(
    weave_async: Program, run_folder: Path
) -> None:
    out = weave_async("explain", "out", "rejected:1").out
    row = rows(run_folder, "rejected")[0]
    for told in (row["lineage"]["request_id"], row["lineage"]["source"], '"max_tokens":100'):
        assert told in out
    assert "length: rejected: too_short" in out
    written = rows(run_folder, "samples")[0]
    out = weave_async("explain", "out", "samples:1").out
    assert repr(written["lineage"]["noise"][0]["changes"][0]["before"]) in out


@pytest.mark.parametrize("name", ["nothing", "samples:999", "seeds.jsonl:999"])
def test_a_row_that_is_not_there_is_said(weave_async: Program, run_folder: Path, name: str) -> None:
    outcome = weave_async("explain", "out", name)
    assert outcome.exit_code == 2
    assert "row" in outcome.err


def test_a_name_for_several_rows_lists_them(weave_async: Program, run_folder: Path) -> None:
    outcome = weave_async("explain", "out", "")
    assert outcome.exit_code == 2
    assert "means 40 samples" in outcome.err


def test_an_answer_that_is_not_written_yet_is_found_in_the_journal(
    weave_async: Program, run_folder: Path
) -> None:
    sample_id = rows(run_folder, "samples")[0]["sample_id"]
    for path in run_folder.glob("*.jsonl"):
        path.unlink()
    explained = weave_async("explain", "out", sample_id[:12], "--json").json
    assert (explained["sample_id"], explained["state"]) == (sample_id, "pending")
    assert explained["answer"]["text"]


def test_what_a_model_wrote_cannot_drive_the_terminal(
    weave_async: Program, run_folder: Path
) -> None:
    path = run_folder / "samples.jsonl"
    [row, *_] = rows(run_folder, "samples")
    row["messages"][-1]["content"] = "\x1b]52;c;aGk=\x07 [red]hi[/red] \u202e"
    path.write_text(json.dumps(row) + "\n")
    out = weave_async("explain", "out", "samples:1").out
    assert "[red]hi[/red]" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_attempts_are_told_with_time_and_reason(weave_async: Program, run_folder: Path) -> None:
    from weave_async.journal import frames

    row = rows(run_folder, "samples")[0]
    request_id = row["lineage"]["request_id"]
    calls = [["a-1", request_id, 90], ["a-2", request_id, 90]]
    failure = {"error": "server", "message": "503 busy"}
    missed = {"kind": "missed", "attempt_id": "a-1", "request_id": request_id, "at_s": 2.5}
    entries = [
        {"kind": "open", "format_version": 2, "epoch": 9, "started_at": 0.0, "asks": {}},
        {"kind": "sent", "at_s": 1.0, "calls": calls},
        {**missed, "failure": failure},
    ]
    blob = b"".join(map(frames.encode, entries))
    (run_folder / "journal/000009.log").write_bytes(blob)
    explained = weave_async("explain", "out", "samples:1", "--json").json
    assert explained["attempts"][1:] == [
        {
            "run": 9,
            "attempt_id": "a-1",
            "at": "1970-01-01 00:00:01+00:00",
            "outcome": "missed",
            "took_s": 1.5,
            "reason": "server: 503 busy",
        },
        {
            "run": 9,
            "attempt_id": "a-2",
            "at": "1970-01-01 00:00:01+00:00",
            "outcome": "unknown",
            "took_s": None,
            "reason": "",
        },
    ]
    out = weave_async("explain", "out", "samples:1").out
    assert "missed after 1.500 s: server: 503 busy  (a-1)" in out


def test_of_several_answers_the_one_that_was_used_is_told(
    weave_async: Program, tmp_path: Path
) -> None:
    Path("rows.jsonl").write_text('{"prompt": "Say a lot about the weather in spring"}\n')
    recipe = Path("recipe.yaml")
    text = (
        "prompts: {source: rows.jsonl}\n"
        "generate: {mix: [{endpoint: simulated}], params: {max_tokens: %d}}\n"
    )
    recipe.write_text(text % 8)
    weave_async("run", "recipe.yaml", "-o", "out")
    recipe.write_text(text % 500)
    assert weave_async("run", "recipe.yaml", "-o", "out", "--accept-changes").exit_code == 0
    explained = weave_async("explain", "out", "samples:1", "--json").json
    assert explained["answer"]["finish_reason"] == "stop"
    assert explained["answer"]["text"] == explained["messages"][-1]["content"]


def test_what_a_part_of_a_composite_has_changed_is_told_of_the_composite(
    weave_async: Program, recipe_file: Path
) -> None:
    noise = "noise: [{one_of: {parts: [{compose: [{typos: 0.2}]}]}}]\n"
    recipe_file.write_text(recipe_file.read_text() + noise)
    assert weave_async("run", str(recipe_file), "-o", "out").exit_code == 0
    changes = rows(Path("out"), "samples")[0]["lineage"]["noise"][0]["changes"]
    [told] = [
        each
        for each in weave_async("explain", "out", "samples:1", "--json").json["stages"]
        if each["stage"] == "noise"
    ]
    assert (told["name"], told["verdict"]) == ("one_of", "changed 1")
    assert len(told["detail"]["message 0"].split(", ")) == len(changes)


def test_verdicts_are_those_on_the_answer_that_was_kept(
    weave_async: Program, recipe_file: Path
) -> None:
    recipe_file.write_text(recipe_file.read_text() + "repairs: 3\n")
    assert weave_async("run", str(recipe_file), "-o", "out", "--explain-all").exit_code == 0
    repaired = [row for row in rows(Path("out"), "samples") if row["lineage"]["repairs"]]
    assert repaired
    for row in repaired:
        told = [each["rule"] for each in row["lineage"]["verdicts"]]
        assert told == ["repair:length"] * row["lineage"]["repairs"] + ["length"]
        explained = weave_async("explain", "out", row["sample_id"], "--json").json
        assert ("validation", "length", "passed") in stages(explained)
