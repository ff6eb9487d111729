"""``weave-async export``, and ``run --prompts`` of what it has written."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from export.made_runs import make_run, row
from weave_async import registry
from weave_async.rundir import RunFolder

from .conftest import Program


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is once the package is installed with its entry point."""
    name, place = "openai_batch", "weave_async.sources.openai_batch:OpenAIBatchSource"
    entry = EntryPoint(name, place, registry.GROUPS["source"])
    monkeypatch.setitem(registry._entries("source"), name, entry)


def lines_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_is_written_as_the_batch_file_of_its_requests(
    weave_async: Program, recipe_file: Path
) -> None:
    assert weave_async("run", str(recipe_file), "-n", "6", "-o", "out").exit_code == 0
    lines = lines_in(weave_async("export", "out", "--format", "openai-batch").out)
    assert [line["body"]["messages"][-1]["content"] for line in lines] == [
        f"Question {number} about my account" for number in range(6)
    ]
    assert {line["url"] for line in lines} == {"/v1/chat/completions"}
    assert {line["body"]["max_tokens"] for line in lines} == {100}
    ids = [line["custom_id"] for line in lines]
    assert len(set(ids)) == 6
    assert max(map(len, ids)) <= 64


def test_only_chooses_by_how_samples_have_ended(weave_async: Program, recipe_file: Path) -> None:
    weave_async("run", str(recipe_file), "-n", "6", "-o", "out")
    written = Path("out/samples.jsonl").read_text().splitlines()
    Path("out/samples.jsonl").write_text("\n".join(written[2:]) + "\n")
    counts = {
        only: len(
            lines_in(weave_async("export", "out", "--format", "openai-batch", "--only", only).out)
        )
        for only in ("all", "written", "pending")
    }
    assert counts == {"all": 6, "written": len(written) - 2, "pending": 2}


def test_a_file_is_there_whole_or_not_at_all(weave_async: Program, recipe_file: Path) -> None:
    weave_async("run", str(recipe_file), "-n", "6", "-o", "out")
    told = weave_async("export", "out", "--format", "openai-batch", "-o", "batch.jsonl")
    assert (told.exit_code, told.out, told.err) == (0, "", "6 rows in batch.jsonl\n")
    RunFolder(Path("out")).recipe.write_text("prompts: 7\n")
    again = weave_async("export", "out", "--format", "openai-batch", "-o", "second.jsonl")
    assert again.exit_code == 78
    assert not list(Path().glob("second*"))


def test_an_export_of_no_run_is_refused(weave_async: Program) -> None:
    told = weave_async("export", "nothing", "--format", "openai-batch")
    assert told.exit_code == 73
    assert weave_async("export", "nothing", "--format", "odt").exit_code == 2


def test_a_run_whose_journal_is_empty_yet_is_told_as_such(
    weave_async: Program, recipe_file: Path
) -> None:
    weave_async("run", str(recipe_file), "-n", "6", "-o", "out")
    for segment in Path("out/journal").iterdir():
        segment.unlink()
    told = weave_async("export", "out", "--format", "openai-batch", "--only", "pending")
    assert told.exit_code == 73
    assert "journal is empty" in told.err


def test_an_exported_file_is_a_source_that_asks_the_same(
    weave_async: Program, recipe_file: Path
) -> None:
    weave_async("run", str(recipe_file), "-n", "6", "-o", "out")
    weave_async("export", "out", "--format", "openai-batch", "-o", "batch.jsonl")
    told = weave_async(
        *("run", "--prompts", "batch.jsonl", "-p", "simulated", "-o", "again", "--json")
    )
    assert told.exit_code == 0, told.err
    assert told.json["asked"] == 6
    rows = lines_in(Path("again/samples.jsonl").read_text())
    assert {row["lineage"]["params"]["max_tokens"] for row in rows} == {100}
    lines = lines_in(Path("batch.jsonl").read_text())
    assert [row["lineage"]["params"]["seed"] for row in rows] == [
        line["body"]["seed"] for line in lines
    ]


def test_a_row_whose_parameters_changed_is_asked_anew(weave_async: Program) -> None:
    def run(temperature: float) -> dict[str, Any]:
        body = {"messages": [{"role": "user", "content": "Why?"}], "temperature": temperature}
        Path("batch.jsonl").write_text(json.dumps({"custom_id": "a", "body": body}) + "\n")
        arguments = ("-p", "simulated", "-o", "out", "--json", "--accept-changes")
        told = weave_async("run", "--prompts", "batch.jsonl", *arguments)
        assert told.exit_code == 0, told.err
        return told.json

    assert run(0.1)["asked_now"] == 1
    assert run(0.1)["asked_now"] == 0
    assert run(0.9)["asked_now"] == 1


def test_texts_that_noise_has_changed_are_written_beside_their_clean_ones(
    weave_async: Program, recipe_file: Path
) -> None:
    noise = "noise: [{typos: {rate: 0.1, copies: 2, keep_clean: true}}]\n"
    recipe_file.write_text(recipe_file.read_text() + noise)
    weave_async("run", str(recipe_file), "-n", "6", "-o", "out")
    pairs = lines_in(weave_async("export", "out", "--format", "noise-pairs").out)
    rows = {row["sample_id"]: row for row in lines_in(Path("out/samples.jsonl").read_text())}
    assert {pair["sample_id"] for pair in pairs} == {name for name in rows if "~" in name}
    for pair in pairs:
        clean_row = rows[pair["sample_id"].partition("~")[0]]
        assert pair["noisy"] == rows[pair["sample_id"]]["messages"][-2]["content"]
        assert pair["clean"] == clean_row["messages"][-2]["content"] != pair["noisy"]
        assert pair["edits"][0]["noise"] == "typos"


def test_pairs_of_pending_samples_are_refused(weave_async: Program, recipe_file: Path) -> None:
    weave_async("run", str(recipe_file), "-n", "2", "-o", "out")
    told = weave_async("export", "out", "--format", "noise-pairs", "--only", "pending")
    assert told.exit_code == 2


def test_a_run_becomes_a_folder_with_splits_and_a_card(
    weave_async: Program, recipe_file: Path
) -> None:
    weave_async("run", str(recipe_file), "-n", "10", "-o", "out")
    options = ("--to", "jsonl", "--validation", "0.25", "-o", "data")
    told = weave_async("export", "out", "--format", "messages", *options)
    assert told.exit_code == 0, told.err
    files = sorted(path.name for path in Path("data/data").iterdir())
    assert files == ["train-00000-of-00001.jsonl", "validation-00000-of-00001.jsonl"]
    rows = [lines_in((Path("data/data") / name).read_text()) for name in files]
    assert told.err == f"{len(rows[0])} train and {len(rows[1])} validation rows in data\n"
    written = lines_in(Path("out/samples.jsonl").read_text())
    assert {row["sample_id"] for part in rows for row in part} == {
        row["sample_id"] for row in written
    }
    assert "name: t" in Path("data/README.md").read_text()


def test_the_ending_of_a_file_says_what_is_in_it(weave_async: Program, recipe_file: Path) -> None:
    weave_async("run", str(recipe_file), "-n", "4", "-o", "out")
    assert weave_async("export", "out", "--format", "alpaca", "-o", "a.csv").exit_code == 0
    assert Path("a.csv").read_text().startswith("instruction,input,output,system,history\n")
    assert weave_async("export", "out", "--format", "text", "-o", "a.txt").exit_code == 0
    assert len(Path("a.txt").read_text().splitlines()) == len(
        lines_in(Path("out/samples.jsonl").read_text())
    )


def test_what_was_left_out_of_pairs_is_counted(weave_async: Program, recipe_file: Path) -> None:
    recipe = recipe_file.read_text().replace("prompts:", "prompts:\n  draws: 8")
    recipe_file.write_text(recipe)
    weave_async("run", str(recipe_file), "-n", "80", "-o", "out")
    told = weave_async("export", "out", "--format", "preference", "-o", "pairs.jsonl")
    assert told.exit_code == 0, told.err
    for pair in lines_in(Path("pairs.jsonl").read_text()):
        chosen, rejected = pair["chosen"][0]["content"], pair["rejected"][0]["content"]
        assert len(chosen.split()) >= 20 > len(rejected.split())
    assert "left out" in told.err


def test_what_is_there_is_not_replaced_unasked(weave_async: Program, recipe_file: Path) -> None:
    weave_async("run", str(recipe_file), "-n", "4", "-o", "out")
    arguments = ("export", "out", "-o", "rows.jsonl", "--format")
    for format in ("messages", "openai-batch"):
        Path("rows.jsonl").write_text("mine")
        told = weave_async(*arguments, format)
        assert told.exit_code == 73
        assert "--force" in told.err
        assert Path("rows.jsonl").read_text() == "mine"
        assert weave_async(*arguments, format, "--force").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--format", "messages", "--only", "pending"),
        ("--format", "messages", "--validation", "0.1"),
        ("--format", "messages", "--validation", "0.1", "-o", "rows.jsonl"),
        ("--format", "messages", "--validation", "1.5", "-o", "folder"),
        ("--format", "messages", "--to", "csv"),
        ("--format", "messages", "-o", "rows.txt"),
        ("--format", "preference", "--pair-by", "model"),
        ("--format", "preference", "--prefer", "a,b"),
        ("--format", "openai-batch", "--to", "csv"),
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_refused(
    weave_async: Program, recipe_file: Path, arguments: tuple[str, ...]
) -> None:
    weave_async("run", str(recipe_file), "-n", "2", "-o", "out")
    told = weave_async("export", "out", *arguments)
    assert told.exit_code == 2
    assert told.err.count("\n") == 1
    assert not list(Path().glob("rows*"))


def test_an_unfinished_run_is_told_as_such(weave_async: Program, recipe_file: Path) -> None:
    weave_async("run", str(recipe_file), "-n", "4", "-o", "out")
    manifest = json.loads(Path("out/manifest.json").read_text())
    Path("out/manifest.json").write_text(json.dumps({**manifest, "pending": 3}))
    told = weave_async("export", "out", "--format", "messages")
    assert told.exit_code == 0
    assert told.err == "out is not finished: 3 samples are pending\n"


@pytest.mark.parametrize("place", ["out", "out/samples.jsonl", "out/new.jsonl", "out/new", "."])
@pytest.mark.parametrize("format", ["messages", "openai-batch"])
def test_the_folder_of_a_run_is_no_place_for_its_export(
    weave_async: Program, recipe_file: Path, place: str, format: str
) -> None:
    weave_async("run", str(recipe_file), "-n", "2", "-o", "out")
    before = {path: path.read_bytes() for path in Path("out").iterdir() if path.is_file()}
    told = weave_async("export", "out", "--format", format, "-o", place, "--force")
    assert told.exit_code == 2, told.err
    assert {path: path.read_bytes() for path in Path("out").iterdir() if path.is_file()} == before


def test_a_dash_is_standard_output(weave_async: Program, recipe_file: Path) -> None:
    weave_async("run", str(recipe_file), "-n", "2", "-o", "out")
    for format in ("messages", "openai-batch"):
        told = weave_async("export", "out", "--format", format, "-o", "-")
        assert told.out == weave_async("export", "out", "--format", format).out != ""


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl.gz", "rows.tsv"])
def test_a_file_of_a_kind_that_is_not_written_is_no_folder(
    tmp_path: Path, weave_async: Program, name: str
) -> None:
    make_run(tmp_path / "run", [row("a-0", "answer")])
    outcome = weave_async("export", "run", "-o", name)
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert "a file ends with .jsonl, .parquet, .csv, .txt" in outcome.err
    assert not (tmp_path / name).exists()
