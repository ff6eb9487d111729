"""Diversity and bias of a run: in its files, its summary and its exit code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from doubles import CountingProvider
from weave_async import Recipe, Run, RunSummary, Settings
from weave_async.errors import RecipeError

COUNTING = "doubles:CountingProvider"


@pytest.fixture(autouse=True)
def _fresh_counts() -> Iterator[None]:
    CountingProvider.reset()
    return


def recipe_of(num_rows: int = 60, **changes: Any) -> Recipe:
    Path("seeds.jsonl").write_text(
        "".join(json.dumps({"text": f"Question {i} about my card"}) + "\n" for i in range(num_rows))
    )
    base: dict[str, Any] = {
        "seed": 7,
        "prompts": {
            "source": "seeds.jsonl",
            "template": "{{ text }} {{ tone }}",
            "attributes": {"tone": {"choice": ["kindly", "briefly"], "weights": [3, 1]}},
        },
        "generate": {"mix": [{"endpoint": COUNTING}], "params": {"max_tokens": 60}},
    }
    return Recipe.model_validate({**base, **changes})


def make(recipe: Recipe, folder: str = "out", **options: Any) -> RunSummary:
    async def run_it() -> RunSummary:
        settings = Settings.from_environment({}, None).with_flags(max_concurrency=8)
        async with Run(recipe, output_dir=folder, settings=settings, **options) as run:
            return await run.finish()

    return asyncio.run(run_it())


def metrics_of(folder: str = "out") -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((Path(folder) / "metrics.json").read_text())
    return metrics


def manifest_of(folder: str = "out") -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((Path(folder) / "manifest.json").read_text())
    return manifest


def test_metrics_tell_diversity_and_bias_of_what_was_written() -> None:
    summary = make(recipe_of())
    metrics = metrics_of()
    assert metrics["diversity"]["num_rows"] == metrics["bias"]["rows"] == summary.written == 60
    assert metrics["diversity"]["metrics"]["vendi"]["value"] > 1
    assert metrics["bias"]["representation"]["tone"]["values"]["kindly"]["target"] == 0.75
    assert "Diversity of 60 rows: vendi " in str(summary)


def test_figures_are_those_of_one_run_when_it_was_made_in_two() -> None:
    make(recipe_of(), "whole")
    make(recipe_of(), "halves", samples=37)
    summary = make(recipe_of(), "halves")
    assert summary.recalled == 37
    whole, halves = metrics_of("whole"), metrics_of("halves")
    assert whole["diversity"] == halves["diversity"]
    assert whole["bias"] == halves["bias"]


def test_off_leaves_the_dataset_as_it_is_and_measures_nothing() -> None:
    make(recipe_of(), "on")
    summary = make(recipe_of(measure="off"), "off")
    assert Path("on/samples.jsonl").read_bytes() == Path("off/samples.jsonl").read_bytes()
    assert metrics_of("off")["diversity"] == {}
    assert "bias" not in metrics_of("off")
    assert "Diversity" not in str(summary)


def test_what_is_rejected_is_not_measured() -> None:
    summary = make(recipe_of(validation=[{"length": {"min_words": 20}}]))
    assert summary.rejected > 0 < summary.written
    assert metrics_of()["diversity"]["num_rows"] == summary.written


def test_a_missed_requirement_has_an_exit_code_of_its_own_and_publishes_all_the_same() -> None:
    summary = make(recipe_of(require={"vendi": ">= 10000", "rows": ">= 60"}))
    assert (summary.status, summary.exit_code) == ("unmet", 3)
    assert len(Path("out/samples.jsonl").read_text().splitlines()) == 60
    lines = str(summary).splitlines()
    assert lines[0].startswith("Done, with requirements missed")
    assert "require rows >= 60: 60, met." in lines
    assert any(
        line.startswith("require vendi >= 10000: ") and line.endswith("missed.") for line in lines
    )
    [vendi, rows] = manifest_of()["required"]
    assert vendi["required"] == {"metric": "vendi", "comparison": ">=", "bound": 10000.0}
    assert not vendi["met"]
    assert rows["met"]
    assert rows["found"]["value"] == 60


def test_a_failed_sample_counts_for_more_than_a_missed_requirement() -> None:
    mix = [{"endpoint": COUNTING, "options": {"error_rate": 0.4}}]
    recipe = recipe_of(generate={"mix": mix, "attempts": 1}, require={"rows": ">= 60"})
    summary = make(recipe)
    assert summary.failed
    assert (summary.status, summary.exit_code) == ("incomplete", 1)
    assert "missed" in str(summary)


def test_requirements_of_the_ledger_need_no_measuring() -> None:
    rules: list[Any] = [{"length": {"min_words": 20}}]
    require = {"acceptance": ">= 0.01", "rows": ">= 1"}
    summary = make(recipe_of(validation=rules, measure="off", require=require))
    assert (summary.status, summary.exit_code) == ("complete", 0)


@pytest.mark.parametrize("num_rows", [1, 2])
def test_a_dataset_too_small_to_tell_misses_with_a_reason(num_rows: int) -> None:
    require = {"vendi": ">= 1.5", "distinct_2": ">= 1.1", "top_opening_share": "<= 0.1"}
    summary = make(recipe_of(num_rows, require=require))
    assert summary.exit_code == 3
    assert "nan" not in str(summary).lower()
    assert "nan" not in (Path("out") / "metrics.json").read_text().lower()


def test_a_dataset_without_rows_misses_with_a_reason() -> None:
    rules: list[Any] = [{"length": {"min_words": 10_000}}]
    summary = make(recipe_of(5, validation=rules, require={"vendi": ">= 1"}))
    assert not summary.written
    assert summary.exit_code == 3
    assert "require vendi >= 1: cannot be told, " in str(summary)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('require: {vendy: ">= 40"}', "recipe:2: require.vendy.*did you mean 'vendi'"),
        ("require: {vendi: 40}", "recipe:2: require.vendi: say which way"),
        ("require: {vendi: many}", "recipe:2: require.vendi: expected a comparison"),
        ('require: {vendi: ">= 4"}\nmeasure: off', "needs vendi, and `measure` is off"),
        ("measure: maybe", "recipe:2: measure: expected on, off or options"),
        ("measure: {lable: topic}", "recipe:2: .*did you mean 'label'"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_way_out(text: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        Recipe.parse(f"prompts: {{source: seeds.jsonl}}\n{text}\n")


@pytest.mark.parametrize("text", ["measure: on", "measure: true", "measure: {}", ""])
def test_measuring_is_on_by_default(text: str) -> None:
    recipe = Recipe.parse(f"prompts: {{source: seeds.jsonl}}\n{text}\n")
    assert recipe.measure is not None
    assert Recipe.model_validate(recipe.resolved()) == recipe


@pytest.mark.parametrize("text", ["measure: off", "measure: false", "measure: null"])
def test_measuring_is_off_by_one_line(text: str) -> None:
    recipe = Recipe.parse(f"prompts: {{source: seeds.jsonl}}\n{text}\n")
    assert recipe.measure is None
    assert Recipe.model_validate(recipe.resolved()).measure is None


def test_few_that_are_chosen_of_many_are_all_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave_async.metrics.live.MOST_ROWS", 20)
    choose = {"choose": {"k": 20, "embedder": "ngrams"}}
    make(recipe_of(60, selection=[choose]))
    assert metrics_of()["diversity"]["num_rows"] == 20
