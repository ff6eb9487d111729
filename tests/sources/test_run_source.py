"""An earlier run's rows as a source, and how far they are from what people wrote."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from weave_async.errors import InputError, RecipeError
from weave_async.recipe import Recipe
from weave_async.records import Row
from weave_async.run import Run
from weave_async.sources.run import RunSource
from weave_async.summary import RunSummary


def made(source: str, output: str, *, n: int | None = None, **prompts: Any) -> RunSummary:
    return made_by({"prompts": {"source": source, **prompts}}, output, n=n)


def made_by(changes: dict[str, Any], output: str, *, n: int | None = None) -> RunSummary:
    generate = {"mix": [{"endpoint": "simulated", "options": {"latency_s": 0}}]}
    recipe = Recipe.model_validate({"generate": generate, "measure": "off", **changes})

    async def run() -> RunSummary:
        async with Run(recipe, output_dir=output, samples=n) as running:
            return await running.finish()

    return asyncio.run(run())


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("seeds.jsonl").write_text('{"text": "why?"}\n{"text": "how?"}\n')
    made("seeds.jsonl", "first", attributes={"tone": {"choice": ["calm"]}}, template="{{ text }}")
    return "first"


def lineages(folder: str) -> list[dict[str, Any]]:
    lines = Path(folder, "samples.jsonl").read_bytes().splitlines()
    return [orjson.loads(line)["lineage"] for line in lines]


def test_columns_are_what_was_asked_and_answered_and_the_attributes(first: str) -> None:
    rows = list(RunSource(Path(first)).rows())
    assert all(isinstance(row, Row) for row in rows)
    values = rows[0].values  # type: ignore[union-attr]
    assert values["prompt"] in ("why?", "how?")
    assert values["completion"]
    assert (values["tone"], values["model"], values["generation"]) == ("calm", "simulated", 1)


def test_generations_are_counted_and_parents_named(first: str) -> None:
    assert all("generation" not in lineage for lineage in lineages(first))
    made(first, "second", template="{{ completion }}")
    made("second", "third", template="{{ completion }}")
    assert {lineage["generation"] for lineage in lineages("second")} == {1}
    assert {lineage["generation"] for lineage in lineages("third")} == {2}
    lines = Path(first, "samples.jsonl").read_bytes().splitlines()
    ids = {orjson.loads(line)["sample_id"] for line in lines}
    assert {lineage["parent"] for lineage in lineages("second")} == ids


def test_rows_beyond_the_last_generation_are_refused_or_left_out(first: str) -> None:
    made(first, "second", template="{{ completion }}", max_generation=1)
    with pytest.raises(InputError, match=r"no usable rows in second: all 2 are above max_gen"):
        made("second", "third", template="{{ completion }}", max_generation=1)


def test_examples_count_as_ancestors_too(first: str) -> None:
    """A model that is shown its own answers learns from its echo as well."""
    examples = {"num": 1, "user": "{{ prompt }}", "assistant": "{{ completion }}"}
    how = {"template": "{{ text }}", "max_generation": 2}
    made("seeds.jsonl", "second", examples={**examples, "source": first}, **how)
    made("seeds.jsonl", "third", examples={**examples, "source": "second"}, **how)
    assert {lineage["generation"] for lineage in lineages("third")} == {2}
    with pytest.raises(InputError, match="has 0 different rows"):
        made("seeds.jsonl", "fourth", examples={**examples, "source": "third"}, **how)


def test_a_run_is_not_its_own_source(first: str) -> None:
    with pytest.raises(RecipeError, match="is the folder that this run writes"):
        made(first, first)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "first/samples.jsonl"},
        {"source": "first/rejected.jsonl"},
        {"selection": [{"exact": {"against": "first"}}]},
        {"selection": [{"near_duplicates": {"against": ["seeds.jsonl", "first/samples.jsonl"]}}]},
        {"validation": [{"decontamination": ["first/samples.jsonl"]}]},
    ],
)
def test_a_run_reads_nothing_that_it_writes(first: str, changes: dict[str, Any]) -> None:
    before = Path(first, "samples.jsonl").read_bytes()
    prompts = {"source": changes.pop("source", "seeds.jsonl"), "template": "{{ text }}"}
    with pytest.raises(RecipeError, match="that this run writes"):
        made_by({"prompts": prompts, **changes}, first)
    assert Path(first, "samples.jsonl").read_bytes() == before


@pytest.mark.parametrize("source", ["no\0name.jsonl", "loop.jsonl"])
def test_a_path_that_leads_nowhere_is_told_so(first: str, source: str) -> None:
    Path("loop.jsonl").symlink_to("loop.jsonl")
    with pytest.raises(InputError):
        made(source, "out")


def test_a_run_can_be_where_examples_come_from(first: str) -> None:
    examples = {"source": first, "num": 1, "user": "{{ prompt }}", "assistant": "{{ completion }}"}
    assert made("seeds.jsonl", "shown", examples=examples, template="{{ text }}").written == 2


@pytest.mark.parametrize(
    ("remove", "why"),
    [("manifest.json", "published nothing yet"), ("samples.jsonl", "write JSON Lines in that run")],
)
def test_a_run_that_has_nothing_to_read_is_told_so(first: str, remove: str, why: str) -> None:
    Path(first, remove).unlink()
    with pytest.raises(InputError, match=why):
        list(RunSource(Path(first)).rows())


def test_a_folder_without_a_run_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        list(RunSource(tmp_path).rows())


def test_a_run_that_was_not_made_yet_is_told_so(first: str) -> None:
    with pytest.raises(InputError, match=r"there is no .*later: a source is a file of rows, or"):
        made("later", "second", template="{{ prompt }}")
