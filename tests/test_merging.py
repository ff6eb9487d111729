"""Shards, made one by one or killed on the way, and the run that is made of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from weave_async.audit import audit
from weave_async.errors import RecipeError, RunFolderError, RunLockedError, UsageError, WeaveError
from weave_async.merging import merge
from weave_async.recipe import Recipe
from weave_async.revalidation import revalidate
from weave_async.run import Run
from weave_async.sharding import Shard
from weave_async.summary import RunSummary

RUBRIC = "A good answer is polite."


def recipe_of(folder: Path, num_rows: int = 60, **changes: Any) -> Recipe:
    """Of answers that have much in common, so that selection has to look across shards."""
    (folder / "seeds.jsonl").write_text(
        "".join(
            json.dumps({"text": f"Say something about the weather in town {number % 40}"}) + "\n"
            for number in range(num_rows)
        )
    )
    return Recipe.model_validate(
        {
            "name": "shards",
            "prompts": {"source": str(folder / "seeds.jsonl"), "template": "{{ text }}"},
            "generate": {"mix": [{"endpoint": "simulated"}], "params": {"max_tokens": 200}},
            "noise": [{"typos": {"rate": 0.05}}],
            "validation": [{"length": {"min_words": 20}}],
            "selection": ["exact", {"near_duplicates": {"threshold": 0.6}}],
            "measure": "off",
            **changes,
        }
    )


async def finished(recipe: Recipe, folder: Path, **options: Any) -> RunSummary:
    async with Run(recipe, output_dir=folder, **options) as run:
        return await run.finish()


def run_shards(recipe: Recipe, folder: Path, of: int, **options: Any) -> list[Path]:
    paths = []
    for number in range(1, of + 1):
        shard = Shard(number, of)
        paths.append(folder / shard.folder_name)
        asyncio.run(finished(recipe, paths[-1], shard=shard, **options))
    return paths


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        name: (folder / f"{name}.jsonl").read_bytes() for name in ("samples", "rejected", "failed")
    }


@pytest.mark.parametrize("of", [1, 4, 30])
def test_merged_shards_are_the_run_of_one_machine(tmp_path: Path, of: int) -> None:
    recipe = recipe_of(tmp_path)
    asyncio.run(finished(recipe, tmp_path / "whole"))
    shards = run_shards(recipe, tmp_path / "shards", of)
    summary = asyncio.run(merge(shards, tmp_path / "merged"))
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")
    assert b'"stage":"selection"' in files_of(tmp_path / "merged")["rejected"]
    assert (summary.status, summary.recalled, summary.asked_now) == ("complete", 60, 0)
    assert audit(tmp_path / "merged").passed
    manifest = json.loads((tmp_path / "merged/manifest.json").read_text())
    assert "shard" not in manifest


def test_several_draws_and_completions_of_a_prompt_stay_together(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, 20, selection=[])
    recipe = recipe.with_changes(generate={**recipe.model_dump()["generate"], "n": 3})
    asyncio.run(finished(recipe, tmp_path / "whole", samples=90))
    shards = run_shards(recipe, tmp_path / "shards", 3, samples=90)
    asyncio.run(merge(shards, tmp_path / "merged"))
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")


def test_what_a_judge_has_said_in_the_shards_is_not_asked_again(tmp_path: Path) -> None:
    (tmp_path / "rubric.txt").write_text(RUBRIC)
    judge = {"judge": {"rubric": str(tmp_path / "rubric.txt"), "endpoint": "simulated"}}
    recipe = recipe_of(tmp_path, 30, validation=[judge], selection=[])
    asyncio.run(finished(recipe, tmp_path / "whole"))
    shards = run_shards(recipe, tmp_path / "shards", 3)
    asyncio.run(merge(shards, tmp_path / "merged"))
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")


def test_a_killed_shard_goes_on_and_its_runs_stay_apart(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, 300, selection=["exact"])
    slow = recipe.model_dump()
    slow["generate"]["mix"][0]["options"] = {"latency_s": 0.02}
    recipe = Recipe.model_validate(slow)
    resolved = tmp_path / "recipe.yaml"
    resolved.write_text(json.dumps(recipe.resolved()))
    asyncio.run(finished(recipe, tmp_path / "whole"))
    shards = []
    for number in (1, 2):
        folder = tmp_path / f"shard-{number}"
        shards.append(folder)
        words = ["run", str(resolved), "--shard", f"{number}/2", "-o", str(folder), "-c", "4"]
        for lasts_s in (0.9, 1.2, None):
            process = subprocess.Popen(
                [sys.executable, "-m", "weave_async.cli", *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            with process:
                if lasts_s is not None:
                    time.sleep(lasts_s)
                    os.kill(process.pid, signal.SIGKILL)
    asyncio.run(merge(shards, tmp_path / "merged"))
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")
    assert audit(tmp_path / "merged").passed


def test_missing_shards_and_answers_are_refused_or_stay_pending(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    shards = run_shards(recipe, tmp_path / "shards", 4)
    with pytest.raises(RunFolderError, match="2 of 4 shards are not there: 2, 4"):
        asyncio.run(merge(shards[::2], tmp_path / "merged"))
    assert not (tmp_path / "merged").exists()
    summary = asyncio.run(merge(shards[::2], tmp_path / "merged", allow_missing=True))
    assert summary.pending > 0
    assert summary.pending + summary.written + summary.rejected == 60
    assert f"{summary.pending} of 60 samples have no answer yet" in str(summary.error)
    asyncio.run(finished(recipe, tmp_path / "merged"))  # a run like any other
    asyncio.run(finished(recipe, tmp_path / "whole"))
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "whole")


def test_what_cannot_be_merged_is_told(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    shards = run_shards(recipe, tmp_path / "shards", 2)
    asyncio.run(finished(recipe, tmp_path / "whole"))
    asyncio.run(finished(recipe, tmp_path / "of_three", shard=Shard(1, 3)))
    other = recipe.with_changes(seed=8)
    asyncio.run(finished(other, tmp_path / "other", shard=Shard(2, 2)))
    refused: list[tuple[list[Path], type[WeaveError], str]] = [
        ([], UsageError, "name the folders"),
        ([tmp_path], RunFolderError, "holds no run"),
        ([tmp_path / "whole"], RunFolderError, "is no shard of a run"),
        ([*shards, shards[0]], UsageError, "shard 1 is named twice"),
        ([shards[1], tmp_path / "of_three"], RunFolderError, "they are of different runs"),
        ([shards[0], tmp_path / "other"], RunFolderError, "are of different recipes: seed"),
    ]
    for paths, kind, why in refused:
        with pytest.raises(kind, match=why):
            asyncio.run(merge(paths, tmp_path / "merged"))
    with pytest.raises(RunFolderError, match="holds a run already"):
        asyncio.run(merge(shards, tmp_path / "whole"))


def test_a_shard_that_was_killed_is_merged_as_far_as_it_came(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    shards = run_shards(recipe, tmp_path / "shards", 2)
    (shards[1] / "manifest.json").unlink()
    with pytest.raises(RunFolderError, match=r"not all is answered in .*0002-of-0002"):
        asyncio.run(merge(shards, tmp_path / "merged"))
    summary = asyncio.run(merge(shards, tmp_path / "merged", allow_missing=True))
    assert summary.pending == 0


def test_options_of_the_command_line_and_the_environment_need_not_be_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tmp_path)
    recipe = recipe.with_changes(
        generate={**recipe.model_dump()["generate"], "mix": [{"endpoint": "local", "model": "m"}]}
    )
    with monkeypatch.context() as patched:
        patched.setenv("WEAVE_ASYNC_PROVIDER", "simulated")
        patched.setenv("WEAVE_ASYNC_MODEL", "another")
        shards = run_shards(recipe, tmp_path / "shards", 2)
    summary = asyncio.run(merge(shards, tmp_path / "merged"))
    assert (summary.status, summary.asked_now) == ("complete", 0)


def test_a_shard_is_validated_anew_as_itself(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    [first, _] = run_shards(recipe, tmp_path / "shards", 2)
    written = len((first / "samples.jsonl").read_bytes().splitlines())
    found = asyncio.run(revalidate(first))
    assert (found.written, found.written_before, found.gone) == (written, written, 0)
    assert not found.changes


def test_a_folder_is_of_one_shard_or_of_a_whole_run(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    asyncio.run(finished(recipe, tmp_path / "shard", shard=Shard(1, 2)))
    asyncio.run(finished(recipe, tmp_path / "shard", shard=Shard(1, 2)))
    asyncio.run(finished(recipe, tmp_path / "whole"))
    for folder, shard, why in (
        ("shard", Shard(2, 2), "holds shard 1/2: go on with it with --shard 1/2"),
        ("shard", None, "holds shard 1/2"),
        ("whole", Shard(1, 2), "holds a whole run: go on with it without --shard"),
    ):
        with pytest.raises(RunFolderError, match=why):
            asyncio.run(finished(recipe, tmp_path / folder, shard=shard))


def test_a_shard_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    shards = run_shards(recipe, tmp_path / "shards", 2)

    async def meanwhile() -> None:
        async with Run(recipe, output_dir=shards[0], shard=Shard(1, 2)):
            await merge(shards, tmp_path / "merged")

    with pytest.raises(RunLockedError):
        asyncio.run(meanwhile())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"accept": 5}, "accept: 5 written samples are known once shards are merged"),
        ({"controller": "on"}, "a controller learns from all samples"),
    ],
)
def test_what_needs_all_samples_is_refused_in_a_shard(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    recipe = recipe_of(tmp_path, **changes)
    with pytest.raises(RecipeError, match=why):
        asyncio.run(finished(recipe, tmp_path / "shard", shard=Shard(1, 2)))


@pytest.mark.parametrize("cut", ["while adopting", "while deriving"])
def test_a_merge_that_was_cut_short_begins_anew(tmp_path: Path, cut: str) -> None:
    recipe = recipe_of(tmp_path)
    shards = run_shards(recipe, tmp_path / "shards", 2)
    half = tmp_path / "merged" / ("journal.part" if cut == "while adopting" else "journal")
    half.mkdir(parents=True)
    (tmp_path / "merged" / "merging").touch()
    (half / "000001.log").write_bytes(b"torn")
    (half / "000009.log").write_bytes(b"torn")
    asyncio.run(merge(shards, tmp_path / "merged"))
    assert sorted(path.name for path in (tmp_path / "merged/journal").glob("*.log")) == [
        "000001.log",
        "000002.log",
    ]
    assert not (tmp_path / "merged/merging").exists()
