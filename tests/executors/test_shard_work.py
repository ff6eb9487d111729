"""Shards run by a worker, in this process: what a cluster adds is in test_ray_run."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from weave_async.dispatch import Dispatcher
from weave_async.errors import RunFolderError
from weave_async.executors import shard_work
from weave_async.executors.leased import LeasedDispatcher, Leases
from weave_async.executors.shard_folders import ShardFolders
from weave_async.executors.shard_work import Job, ShardWork, Told
from weave_async.executors.totals import count_all, counts_of
from weave_async.flow.leasing import Ask, Grant
from weave_async.flow.lessor import Lessor
from weave_async.merging import merge
from weave_async.metrics.ledger import RunMetrics
from weave_async.recipe import Recipe
from weave_async.run import Run
from weave_async.rundir import RunFolder
from weave_async.sharding import Shard
from weave_async.testing.scripted_endpoint import ScriptedEndpoint


def job_in(folder: Path, num_rows: int = 40, endpoint: str = "simulated", **options: Any) -> Job:
    rows = [json.dumps({"text": f"row {number}"}) + "\n" for number in range(num_rows)]
    (folder / "seeds.jsonl").write_text("".join(rows))
    recipe = {
        "name": "work",
        "prompts": {"source": str(folder / "seeds.jsonl"), "template": "{{ text }}"},
        "generate": {"mix": [{"endpoint": endpoint, "model": "m", "options": options}]},
        "measure": "off",
    }
    return Job(
        recipe_yaml=yaml.safe_dump(recipe),
        recipe_folder=folder,
        shards_folder=folder / "out/shards",
        samples=num_rows,
    )


def shards_of(job: Job, wanted: int) -> list[Shard]:
    return ShardFolders(RunFolder(job.shards_folder.parent)).open(wanted)


def run_all(job: Job, shards: list[Shard]) -> list[Told]:
    async def run() -> list[Told]:
        work = ShardWork(Dispatcher)
        return [await work.run(job, shard) for shard in shards]

    return asyncio.run(run())


def total_of(told: list[Told], num_samples: int) -> RunMetrics:
    total = RunMetrics()
    count_all([each.counts for each in told], total, num_samples=num_samples)
    return total


def test_shards_run_one_after_another_and_add_up_to_the_run(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    shards = shards_of(job, 4)
    total = total_of(run_all(job, shards), 40)
    assert (total.asked, total.written, total.pending, total.asked_now) == (40, 40, 0, 40)
    assert total.output_tokens > 0
    folders = ShardFolders(RunFolder(tmp_path / "out")).paths(shards)
    asyncio.run(merge(folders, tmp_path / "out"))

    async def whole() -> None:
        async with Run(job.recipe(), output_dir=tmp_path / "whole") as run:
            await run.finish()

    asyncio.run(whole())
    merged = (tmp_path / "out/samples.jsonl").read_bytes()
    assert merged == (tmp_path / "whole/samples.jsonl").read_bytes()


def test_a_shard_that_is_run_again_asks_for_nothing(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    shards = shards_of(job, 2)
    run_all(job, shards)
    total = total_of(run_all(job, shards), 40)
    assert (total.recalled, total.asked_now, total.written) == (40, 0, 40)


def test_an_interrupted_shard_lets_in_what_is_in_flight_and_goes_on_later(tmp_path: Path) -> None:
    job = replace(job_in(tmp_path, latency_s=0.02), flags={"max_concurrency": 4})

    async def interrupted() -> Told:
        work = ShardWork(Dispatcher)
        running = asyncio.create_task(work.run(job, Shard(1, 1)))
        while work.progress().counts["asked_now"] == 0:
            await asyncio.sleep(0.005)
        work.interrupt()
        work.interrupt()
        return await running

    [shard] = shards_of(job, 1)
    first = asyncio.run(interrupted())
    assert 0 < first.counts["asked_now"] < 40
    [second] = run_all(job, [shard])
    assert (second.counts["recalled"], second.counts["written"]) == (
        first.counts["asked_now"],
        40,
    )


def test_a_shard_that_is_given_to_a_stopped_worker_asks_for_nothing(tmp_path: Path) -> None:
    job = job_in(tmp_path)

    async def stopped() -> Told:
        work = ShardWork(Dispatcher)
        work.interrupt()
        return await work.run(job, Shard(1, 1))

    shards_of(job, 1)
    assert asyncio.run(stopped()).counts["asked_now"] == 0


def test_what_is_wrong_with_a_shard_is_told_with_its_number(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    shards_of(job, 2)
    (tmp_path / "seeds.jsonl").unlink()
    [told] = run_all(job, [Shard(2, 2)])
    assert told.exit_code == 65
    assert told.error is not None
    assert told.error.startswith("shard 2/2: ")


def test_a_shard_waits_for_the_worker_that_had_it_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_work, "LOOK_AGAIN_S", 0.01)
    job = job_in(tmp_path)
    [shard] = shards_of(job, 1)

    async def run() -> Told:
        before = RunFolder(job.shards_folder / shard.folder_name)
        before.open()
        running = asyncio.create_task(ShardWork(Dispatcher).run(job, shard))
        await asyncio.sleep(0.1)
        assert not running.done()
        before.close()
        return await running

    assert asyncio.run(run()).counts["written"] == 40


def test_warnings_of_a_worker_are_told_once() -> None:
    work = ShardWork(Dispatcher)
    logging.getLogger("weave_async.run").warning("look: %d", 7)
    assert [text for _, text in work.progress().messages] == ["look: 7"]
    assert work.progress().messages == ()


def test_a_worker_that_does_not_see_the_probe_says_what_storage_it_needs(tmp_path: Path) -> None:
    folders = ShardFolders(RunFolder(tmp_path / "out"))
    folders.open(1)
    work = ShardWork(Dispatcher)
    with folders.probe() as probe:
        work.see(probe)
    with pytest.raises(RunFolderError, match="all machines share"):
        work.see(probe)


def test_a_job_that_travels_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAVE_ASYNC_API_KEY", "sk-of-this-machine")
    job = job_in(tmp_path, endpoint="openai_compatible")
    assert "sk-of-this-machine" not in repr(job)
    assert job.settings().default.api_key is not None  # it is read where the worker is


# --- rates and concurrency -----------------------------------------------------------------------


def test_rate_limits_are_leased_and_concurrency_is_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_ASYNC_RPM", "60000")
    monkeypatch.setenv("WEAVE_ASYNC_MAX_CONCURRENCY", "9")
    made = []

    async def run(base_url: str) -> Told:
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", base_url)
        lessors: dict[str, Lessor] = {}

        async def ask(endpoint: str, ask: Ask) -> Grant:
            return await lessors.setdefault(endpoint, Lessor(ask.limits, 2)).lease(ask)

        leases = Leases(0, 2, ask)

        def new_dispatcher(*args: Any, **options: Any) -> Dispatcher:
            made.append(leases.dispatcher(*args, **options))
            return made[-1]

        return await ShardWork(new_dispatcher).run(job, Shard(1, 1))

    job = job_in(tmp_path, 30, endpoint="openai_compatible")
    shards_of(job, 1)
    with ScriptedEndpoint() as endpoint:
        told = asyncio.run(run(endpoint.base_url))
    assert told.counts["written"] == 30, told
    assert isinstance(made[0], LeasedDispatcher)
    assert made[0].admission.max_concurrency == 5
    assert made[0].admission.requests_used == 30


# --- folders -------------------------------------------------------------------------------------


def test_shards_keep_their_number_whatever_the_workers_are_later(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    run_all(job, shards_of(job, 4)[:1])
    assert shards_of(job, 16) == [Shard(number, 4) for number in range(1, 5)]


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="holds no shards"):
        ShardFolders(RunFolder(tmp_path / "out")).open(4)


def merged_by(job: Job, shards: list[Shard]) -> tuple[ShardFolders, Path]:
    out = job.shards_folder.parent
    folders = ShardFolders(RunFolder(out))
    asyncio.run(merge(folders.paths(shards), out))
    return folders, out


def test_what_was_merged_may_be_made_again(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    shards = shards_of(job, 2)
    run_all(job, shards)
    folders, out = merged_by(job, shards)
    assert folders.is_merged()
    before = (out / "samples.jsonl").read_bytes()
    folders.make_room_for_merge(shards)
    merged_by(job, shards)
    assert (out / "samples.jsonl").read_bytes() == before


def test_shards_of_an_endpoint_are_merged_where_nothing_of_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(tmp_path, endpoint="openai_compatible")
    shards = shards_of(job, 2)
    with ScriptedEndpoint() as endpoint:
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
        run_all(job, shards)
    monkeypatch.delenv("WEAVE_ASYNC_BASE_URL")
    _, out = merged_by(job, shards)
    assert len((out / "samples.jsonl").read_text().splitlines()) == 40


def test_answers_that_were_bought_after_a_merge_are_not_thrown_away(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    shards = shards_of(job, 2)
    run_all(job, shards)
    folders, out = merged_by(job, shards)

    async def go_on() -> None:
        recipe = Recipe.load(out / "recipe.yaml")
        async with Run(recipe, output_dir=out, samples=60) as run:
            await run.finish()

    asyncio.run(go_on())
    with pytest.raises(RunFolderError, match="gone on by itself"):
        folders.make_room_for_merge(shards)


# --- totals --------------------------------------------------------------------------------------


def test_counts_add_up_and_copies_are_asked_for_too() -> None:
    one, other = RunMetrics(asked=12, written=10, copies=2), RunMetrics(asked=10, written=3)
    one.rejected.update({"length: too_short": 2})
    other.rejected.update({"length: too_short": 1})
    one.tokens["here"], other.tokens["here"] = [5, 7], [1, 2]
    total = RunMetrics()
    count_all([counts_of(one), counts_of(other)], total, num_samples=30)
    assert (total.asked, total.written, total.pending) == (32, 13, 16)
    assert total.rejected == {"length: too_short": 3}
    assert (total.input_tokens, total.output_tokens) == (6, 9)
