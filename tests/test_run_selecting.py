"""Whole runs whose selectors look at samples beside each other."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from consultation_bench import with_models
from weave_async import Recipe, Run, RunSummary, Settings
from weave_async.audit import audit
from weave_async.errors import RecipeError
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_reply,
)

SELECTION = "weave_async.selection"
EXACT, QUOTAS = "exact", {f"{SELECTION}.quotas:QuotasSelector": {"by": "topic", "most": 15}}
NOVELTY = {f"{SELECTION}.novelty:NoveltySelector": {"threshold": 0.93, "embedder": "ngrams"}}
CHOOSE, GRID = f"{SELECTION}.choose:ChooseSelector", f"{SELECTION}.grid:GridSelector"
CHOSEN = {CHOOSE: {"k": 10, "embedder": "ngrams", "quality": {"column": "stars"}}}
BEST = {GRID: {"by": ["topic", {"length_words": [25]}], "quality": {"column": "stars"}}}
NUM_ROWS = 60


@pytest.fixture(autouse=True)
def seeds() -> None:
    rng = random.Random(0)
    rows = [
        {
            "text": f"Question {number} about {rng.choice(['trains', 'rain', 'bread', 'paper'])}",
            "topic": rng.choice("abc"),
            "stars": rng.randint(1, 5),
        }
        for number in range(NUM_ROWS)
    ]
    Path("seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def recipe_of(selection: list[Any], latency_s: float = 0, **more: Any) -> Recipe:
    mix = [{"endpoint": "simulated", "options": {"latency_s": latency_s}}]
    base: dict[str, Any] = {
        "seed": 7,
        "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
        "generate": {"mix": mix, "params": {"max_tokens": 60}},
        "selection": selection,
    }
    return Recipe.model_validate({**base, **more})


async def finished(
    recipe: Recipe, folder: str, *, concurrency: int = 8, settings: Settings | None = None
) -> RunSummary:
    settings = settings or Settings.from_environment({}, None)
    settings = settings.with_flags(max_concurrency=concurrency)
    async with Run(recipe, output_dir=folder, settings=settings) as run:
        return await run.finish()


def outputs_in(folder: str) -> list[bytes]:
    return [(Path(folder) / f"{name}.jsonl").read_bytes() for name in ("samples", "rejected")]


def rejected_in(folder: str) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in outputs_in(folder)[1].splitlines()]
    return {row["sample_id"]: row for row in rows}


@pytest.mark.parametrize("last", [CHOSEN, BEST], ids=["choose", "grid"])
def test_the_dataset_is_the_same_at_any_concurrency(last: dict[str, Any]) -> None:
    recipe = recipe_of([EXACT, QUOTAS, NOVELTY, last], latency_s=0.002)
    summaries = [
        asyncio.run(finished(recipe, folder, concurrency=concurrency))
        for folder, concurrency in (("one", 1), ("many", 16))
    ]
    assert outputs_in("one") == outputs_in("many")
    for summary, folder in zip(summaries, ("one", "many"), strict=True):
        assert summary.written + summary.rejected == NUM_ROWS
        assert 0 < summary.written <= 10
        assert all(check.passed for check in audit(Path(folder)).checks)


def test_a_run_that_was_stopped_chooses_among_all_once_it_goes_on() -> None:
    recipe = recipe_of([NOVELTY, CHOSEN], latency_s=0.01)
    asyncio.run(finished(recipe, "whole"))

    async def stopped() -> tuple[RunSummary, int]:
        settings = Settings.from_environment({}, None).with_flags(max_concurrency=2)
        async with Run(recipe, output_dir="out", settings=settings) as run:
            ending = asyncio.create_task(run.finish())
            while run.metrics.held < 15:
                await asyncio.sleep(0.005)
            num_held = run.metrics.held
            run.interrupt()
            summary = await ending
            assert run.metrics.held == 0
            return summary, num_held

    summary, num_held = asyncio.run(stopped())
    assert summary.status == "interrupted"
    assert summary.written == 10
    assert summary.written + summary.rejected >= num_held
    assert summary.pending > 0
    asyncio.run(finished(recipe, "out"))
    assert outputs_in("out") == outputs_in("whole")


def test_more_to_choose_than_there_are_leaves_all() -> None:
    recipe = recipe_of([{CHOOSE: {"k": 1000, "embedder": "ngrams"}}])
    assert asyncio.run(finished(recipe, "out")).written == NUM_ROWS


def test_the_score_of_a_judge_is_the_quality_that_decides() -> None:
    def script(request: RecordedRequest) -> Reply:
        text = json.dumps(request.body["messages"])
        number = int(text.partition("Question ")[2].partition(" ")[0])
        if "rubric of mine" in text:
            return chat_reply(json.dumps({"reason": "So it is.", "score": 1 + number % 5}))
        return chat_reply(f"An answer to number {number}, in some words.")

    Path("rubric.md").write_text("A rubric of mine.")
    judge = {"judge": {"rubric": "rubric.md", "min": 1}}
    best = {GRID: {"by": "topic", "quality": {"rule": "judge"}}}
    generate = {"mix": [{"endpoint": "main"}]}
    recipe = recipe_of([best], validation=[judge], generate=generate)
    with ScriptedEndpoint(with_models(script)) as endpoint:
        environ = {
            "WEAVE_ASYNC_ENDPOINTS__MAIN__BASE_URL": endpoint.base_url,
            "WEAVE_ASYNC_ENDPOINTS__MAIN__API_KEY": "sk-test",
            "WEAVE_ASYNC_ENDPOINTS__MAIN__MODEL": "small",
        }
        settings = Settings.from_environment(environ, None)
        summary = asyncio.run(finished(recipe, "out", settings=settings))
    assert summary.written == 3
    evidence = [row["evidence"] for row in rejected_in("out").values()]
    assert {each["of_quality"] for each in evidence} == {5.0}
    assert {each["quality"] for each in evidence} == {1.0, 2.0, 3.0, 4.0, 5.0}


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (
            {f"{SELECTION}.quotas:QuotasSelector": {"by": "topik", "most": 1}},
            "unknown column or attribute 'topik'; did you mean 'topic'",
        ),
        (
            {CHOOSE: {"k": 3, "quality": {"column": "score"}}},
            "unknown column or attribute 'score'",
        ),
        (
            {GRID: {"by": [{"length": [3]}]}},
            "unknown column or attribute 'length'",
        ),
        (
            {CHOOSE: {"k": 3, "quality": {"rule": "judge"}}},
            "unknown rule 'judge' in 'validation'",
        ),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_asked(
    selector: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        asyncio.run(finished(recipe_of([selector]), "out"))


def test_so_many_accepted_samples_cannot_be_asked_for_where_the_end_decides() -> None:
    with pytest.raises(RecipeError, match="writes none before it has seen all"):
        asyncio.run(finished(recipe_of([CHOSEN], accept=5), "out"))
