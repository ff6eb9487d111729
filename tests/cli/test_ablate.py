"""``weave-async ablate``, on a small run with the simulated provider."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")

RECIPE = """\
name: topics
prompts:
  source: seeds.jsonl
  template: "{{ text }}"
  draws: 2
generate: {mix: [{endpoint: simulated, options: {latency_s: 0}}]}
noise: [{typos: {rate: 0.05, copies: 1, keep_clean: true}}]
selection: [{exact: {on: prompt}}]
measure: off
"""
TEXTS = {"billing": "the invoice has a wrong fee", "delivery": "the parcel is late again"}


def ablate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weave_async.cli", "ablate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    rows = [
        {"text": f"{text} {number}", "topic": topic}
        for number in range(12)
        for topic, text in TEXTS.items()
    ]
    write("seeds.jsonl", rows)
    unseen = [
        {"text": f"{text} of {number}", "topic": topic}
        for number in range(9)
        for topic, text in TEXTS.items()
    ]
    write("test.jsonl", [*unseen, rows[0]])
    return tmp_path


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_recipe_is_run_once_and_its_parts_are_left_out_one_by_one(folder: Path) -> None:
    asked = ("--eval", "test.jsonl", "--label", "topic", "--text", "prompt", "--seeds", "2")
    first = ablate("recipe.yaml", *asked, "-o", "out/topics")
    assert first.returncode == 0, first.stderr
    assert "without noise" in first.stdout
    assert "1 rows of the evaluation file are in a dataset: left out." in first.stdout
    told = json.loads(ablate("out/topics", *asked, "--json").stdout)
    assert [each["variant"] for each in told["variants"]] == [
        "all of it",
        "without noise",
        "without selection",
    ]
    assert told["variants"][0]["macro_f1"]["value"] == 1
    assert told["variants"][0]["rows"] > told["variants"][1]["rows"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--eval", "test.jsonl", "--label", "tpic"), "unknown column 'tpic'"),
        (("--eval", "none.jsonl", "--label", "topic"), "cannot read none.jsonl"),
        (("--eval", "test.jsonl", "--label", "topic", "--text", "all"), "completion or prompt"),
        (("--eval", "test.jsonl", "--label", "topic", "--eval-text", "txt"), "did you mean 'text'"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, arguments: tuple[str, ...], why: str) -> None:
    done = ablate("recipe.yaml", *arguments, "-o", "out/topics")
    assert done.returncode in (2, 65)
    assert why in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
