"""The smaller commands, and what ``--help`` teaches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from weave_async.recipe import Recipe, json_schema

from .conftest import Program

COMMANDS = ["run", "preview", "verify", "compare", "explain", "doctor", "serve", "new", "schema"]


def test_version_is_that_of_the_package(weave_async: Program) -> None:
    from importlib.metadata import version

    assert weave_async("--version").out.strip() == f"weave-async {version('weave-async')}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(weave_async: Program, command: str) -> None:
    outcome = weave_async(command, "--help")
    assert outcome.exit_code == 0
    assert "Example" in outcome.out
    assert f"weave-async {command}" in outcome.out


def test_help_answers_without_loading_the_heavy_parts() -> None:
    code = (
        "import sys; sys.argv = ['weave-async', '--help']\n"
        "from weave_async.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'pyreqwest', 'pydantic', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_schema_prints_what_the_recipe_is_checked_against(weave_async: Program) -> None:
    assert json.loads(weave_async("schema").out) == json.loads(json.dumps(json_schema()))


def test_new_makes_a_recipe_that_runs(weave_async: Program) -> None:
    assert weave_async("new", "my-data").exit_code == 0
    outcome = weave_async("run", "my-data/recipe.yaml", "-p", "simulated", "-o", "out", "--json")
    assert outcome.exit_code == 0
    assert outcome.json["asked"] == 10
    assert outcome.json["written"] > 5
    assert Recipe.load("my-data/recipe.yaml").name == "my-data"


def test_preview_shows_clean_and_noisy_answer_and_verdict(
    weave_async: Program, recipe_file: Path
) -> None:
    recipe_file.write_text(recipe_file.read_text() + "noise: [{typos: {rate: 0.2}}]\n")
    outcome = weave_async("preview", str(recipe_file), "-n", "4")
    assert outcome.exit_code == 0
    assert "user (clean)  Question 0 about my account" in outcome.out
    assert "assistant" in outcome.out
    assert "written" in outcome.out
    assert not Path("out").exists()


def test_preview_shows_verdicts_behind_the_first_rejection_from_workers_too(
    weave_async: Program, recipe_file: Path
) -> None:
    rules = "[{length: {min_words: 500}}, python_code, {sql: postgres}]"
    recipe = recipe_file.read_text().replace("[{length: {min_words: 20}}]", rules)
    recipe_file.write_text(recipe)
    for row in map(json.loads, weave_async("preview", str(recipe_file), "--json").out.splitlines()):
        told = [(each["rule"], each["passed"]) for each in row["lineage"]["verdicts"]]
        assert told == [("length", False), ("python_code", False), ("sql", False)]
        assert row["rejection"]["rule"] == "length"


def test_preview_as_json_has_a_row_per_sample(weave_async: Program, recipe_file: Path) -> None:
    outcome = weave_async("preview", str(recipe_file), "-n", "5", "--json")
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert len(rows) == 5
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)
