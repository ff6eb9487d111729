"""Files of one kind each, and what is in the way of them."""

from __future__ import annotations

import csv
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from export.made_runs import changed, make_run, row
from weave_async.errors import InputError, RunFolderError, StorageError, UsageError
from weave_async.export.making import Export, To, Wanted, lines, to_file

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")']


def run_of(folder: Path, *answers: str) -> Path:
    return make_run(folder, [row(f"p{n}-0", text) for n, text in enumerate(answers)])


def test_no_cell_of_a_csv_begins_as_a_formula(tmp_path: Path) -> None:
    export = Export(run_of(tmp_path / "run", *FORMULAS), Wanted("alpaca"))
    to_file(export, tmp_path / "a.csv", "csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        told = list(csv.DictReader(file))
    assert [each["output"] for each in told] == ["'" + text for text in FORMULAS]


def test_a_raw_csv_holds_the_texts_as_they_are(tmp_path: Path) -> None:
    texts = [*FORMULAS, 'a "quoted"\nline, with a comma', "ünï\r\n", "lone\rreturn"]
    export = Export(run_of(tmp_path / "run", *texts), Wanted("alpaca", raw_csv=True))
    to_file(export, tmp_path / "a.csv", "csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [each["output"] for each in csv.DictReader(file)] == texts


def test_nested_cells_of_a_csv_are_json(tmp_path: Path) -> None:
    to_file(Export(run_of(tmp_path / "run", "So."), Wanted("openai")), tmp_path / "a.csv", "csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        [told] = csv.DictReader(file)
    assert json.loads(told["messages"])[1] == {"role": "assistant", "content": "So."}


def test_formulas_stay_as_they_are_in_json_lines(tmp_path: Path) -> None:
    told = lines(Export(run_of(tmp_path / "run", *FORMULAS), Wanted("alpaca")))
    assert [json.loads(line)["output"] for line in told] == FORMULAS


def test_a_plain_text_has_a_line_for_each_row(tmp_path: Path) -> None:
    export = Export(run_of(tmp_path / "run", "One.\n\nTwo.", "Three."), Wanted("text"))
    to_file(export, tmp_path / "a.txt", "txt")
    assert (tmp_path / "a.txt").read_text() == "Why? One. Two.\nWhy? Three.\n"


def test_only_texts_are_written_as_plain_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="text"):
        to_file(Export(run_of(tmp_path / "run", "So."), Wanted("kto")), tmp_path / "a.txt", "txt")


def test_what_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    run, path = run_of(tmp_path / "run", "So."), tmp_path / "a.jsonl"
    path.write_text("mine")
    with pytest.raises(RunFolderError, match="--force"):
        to_file(Export(run, Wanted("text")), path, "jsonl")
    assert path.read_text() == "mine"
    to_file(Export(run, Wanted("text", force=True)), path, "jsonl")
    assert path.read_text() == '{"text":"Why?\\n\\nSo."}\n'


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda content: content[: len(content) // 2], "no row of ours"),
        (lambda content: content.replace(b"So.", b"No."), "not what the run has published"),
        (lambda content: content[: content.index(b"\n") + 1], "not what the run has published"),
        (lambda content: b"[]\n" + content, ":1 is no row of ours"),
        (lambda content: content.replace(b'"content"', b'"c"'), "no row of ours"),
    ],
    ids=["torn", "changed", "shortened", "foreign", "keys"],
)
@pytest.mark.parametrize("to", ["jsonl", "csv", "parquet"])
def test_a_damaged_run_is_told_in_one_line_and_leaves_no_file(
    tmp_path: Path, damage: Callable[[bytes], bytes], told: str, to: To
) -> None:
    if to == "parquet":
        pytest.importorskip("pyarrow")
    run = run_of(tmp_path / "run", "So.", "Well.")
    samples = run / "samples.jsonl"
    samples.write_bytes(damage(samples.read_bytes()))
    with pytest.raises(InputError, match=told) as raised:
        to_file(Export(run, Wanted("messages")), tmp_path / "a", to)
    assert "\n" not in str(raised.value)
    assert os.listdir(tmp_path) == ["run"]


def test_edits_that_are_not_in_the_text_are_told_as_damage(tmp_path: Path) -> None:
    rows = [row("a-0", "So.", noise=[changed(0, 0, "x", "not there")]), row("b-0", "So.")]
    export = Export(make_run(tmp_path / "run", rows), Wanted("messages", validation=0.5))
    with pytest.raises(InputError, match="a-0"):
        export.divide()


def test_a_run_that_has_published_nothing_says_what_to_do(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "So.")
    (run / "manifest.json").unlink()
    with pytest.raises(RunFolderError, match="let it come to its end"):
        Export(run, Wanted("messages"))


def test_a_run_without_rows_is_not_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [row("a-0", "x", rejected=("validation", "short"))])
    with pytest.raises(InputError, match="no rows"):
        to_file(Export(run, Wanted("messages")), tmp_path / "a.jsonl", "jsonl")
    assert not (tmp_path / "a.jsonl").exists()


def test_a_full_disk_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    """The file may not grow past what the process is allowed."""
    run = run_of(tmp_path / "run", *["x" * 1_000] * 1_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        for to in ("jsonl", "csv"):
            with pytest.raises(StorageError, match="cannot write"):
                to_file(Export(run, Wanted("text")), tmp_path / "a", to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["run"]
