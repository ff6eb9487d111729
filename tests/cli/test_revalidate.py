"""``weave-async revalidate``: what other rules would make of answers that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Program


@pytest.fixture
def run_folder(weave_async: Program, recipe_file: Path) -> Path:
    assert weave_async("run", str(recipe_file), "-n", "30", "-o", "out").exit_code == 0
    return Path("out")


def recipe_with(recipe_file: Path, **stages: Any) -> str:
    lines = [
        line
        for line in recipe_file.read_text().splitlines()
        if line.partition(":")[0] not in stages
    ]
    lines += [f"{key}: {json.dumps(value)}" for key, value in stages.items()]
    changed = recipe_file.with_name("changed.yaml")
    changed.write_text("\n".join(lines) + "\n")
    return str(changed)


def in_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_with_the_same_rules_nothing_would_change(weave_async: Program, run_folder: Path) -> None:
    before = in_files(run_folder)
    told = weave_async("revalidate", "out")
    assert told.exit_code == 0
    assert "Nothing would change." in told.out
    assert in_files(run_folder) == before


def test_repairs_are_replayed(weave_async: Program, recipe_file: Path) -> None:
    rules = recipe_with(recipe_file, validation=[{"length": {"min_words": 24}}], repairs=1)
    assert weave_async("run", rules, "-n", "30", "-o", "out").exit_code == 0
    rows = map(json.loads, Path("out/samples.jsonl").read_text().splitlines())
    assert any(row["lineage"]["repairs"] for row in rows)
    assert "Nothing would change." in weave_async("revalidate", "out").out


def test_it_foretells_what_a_run_with_changed_rules_makes_of_the_answers(
    weave_async: Program, recipe_file: Path, run_folder: Path
) -> None:
    changed = recipe_with(
        recipe_file,
        validation=[{"length": {"min_words": 30}}],
        noise=[{"typos": {"rate": 0.1, "keep_clean": True}}],
    )
    told = json.loads(weave_async("revalidate", "out", changed, "--json").out)
    before = len((run_folder / "samples.jsonl").read_text().splitlines())
    assert weave_async("run", changed, "-n", "30", "-o", "out").exit_code == 0
    manifest = json.loads((run_folder / "manifest.json").read_text())
    assert told["written_before"] == before
    assert told["written"] == manifest["written"]
    assert told["rejected"] == manifest["rejected_by_reason"]
    assert told["rejected"]
    assert manifest["recalled"] == 30
    assert manifest["asked_now"] == 0
    new = [change for change in told["changes"] if change["before"] == "new"]
    assert sum(change["samples"] for change in new) == manifest["copies"] > 0


def test_changes_are_told_with_examples(
    weave_async: Program, recipe_file: Path, run_folder: Path
) -> None:
    changed = recipe_with(recipe_file, validation=[{"length": {"min_words": 5000}}])
    out = weave_async("revalidate", "out", changed).out
    assert "0 samples would be written" in out
    assert "written → length: too_short" in out
    first = json.loads((run_folder / "samples.jsonl").read_text().splitlines()[0])
    assert first["sample_id"] in out


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["nowhere"], 73, "nowhere holds no run"),
        (["out", "missing.yaml"], 78, "cannot read the recipe missing.yaml"),
    ],
)
def test_what_is_not_there_is_named(
    weave_async: Program, run_folder: Path, arguments: list[str], exit_code: int, said: str
) -> None:
    told = weave_async("revalidate", *arguments)
    assert (told.exit_code, said in told.err) == (exit_code, True)


def test_a_rule_that_does_not_exist_is_refused(
    weave_async: Program, recipe_file: Path, run_folder: Path
) -> None:
    told = weave_async("revalidate", "out", recipe_with(recipe_file, validation=["lenght"]))
    assert told.exit_code == 78
    assert "unknown validator 'lenght'; did you mean 'length'?" in told.err
