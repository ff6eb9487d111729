"""A run from recipe to folder: what the files say, and what a second run makes of them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from doubles import BrokenProvider, CountingProvider, ExpiringProvider
from weave_async import Recipe, Run, RunSummary, Settings
from weave_async.errors import RecipeError, RunFolderError
from weave_async.flow.budget import Budget

COUNTING = "doubles:CountingProvider"


@pytest.fixture(autouse=True)
def _fresh_counts() -> Iterator[None]:
    CountingProvider.reset()
    ExpiringProvider.reset()
    return


def recipe_of(num_rows: int = 40, **changes: Any) -> Recipe:
    Path("seeds.jsonl").write_text(
        "".join(
            json.dumps({"text": f"Question {i} about my account"}) + "\n" for i in range(num_rows)
        )
    )
    base: dict[str, Any] = {
        "seed": 7,
        "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
        "generate": {"mix": [{"endpoint": COUNTING}], "params": {"max_tokens": 100}},
        "noise": [{"typos": {"rate": 0.05}}],
        "validation": [{"length": {"min_words": 15}}],
        "selection": ["exact"],
    }
    return Recipe.model_validate({**base, **changes})


def faulty(**options: Any) -> dict[str, Any]:
    return {"mix": [{"endpoint": COUNTING, "options": options}], "params": {"max_tokens": 100}}


def make(
    recipe: Recipe, folder: str = "out", *, concurrency: int = 8, **options: Any
) -> RunSummary:
    async def run_it() -> RunSummary:
        settings = Settings.from_environment({}, None).with_flags(max_concurrency=concurrency)
        async with Run(recipe, output_dir=folder, settings=settings, **options) as run:
            return await run.finish()

    return asyncio.run(run_it())


def rows_of(folder: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(folder) / f"{name}.jsonl").read_text().splitlines()]


def assert_counts_agree(summary: RunSummary, folder: str = "out") -> None:
    assert summary.written + summary.rejected + summary.failed + summary.pending == summary.asked
    for name in ("samples", "rejected", "failed"):
        path = Path(folder) / f"{name}.jsonl"
        entry = summary.files[path.name]
        content = path.read_bytes()
        assert entry["rows"] == content.count(b"\n")
        assert entry["sha256"] == sha256(content).hexdigest()
    assert len(rows_of(folder, "samples")) == summary.written
    assert len(rows_of(folder, "rejected")) == summary.rejected
    assert len(rows_of(folder, "failed")) == summary.failed


def test_every_sample_ends_once_and_the_files_agree() -> None:
    recipe = recipe_of(
        200, generate={**faulty(error_rate=0.1, errors_in_a_row=2, empty_rate=0.1), "attempts": 1}
    )
    summary = make(recipe, samples=500)
    assert_counts_agree(summary)
    assert (summary.asked, summary.pending) == (500, 0)
    assert min(summary.written, summary.rejected, summary.failed) > 0
    ids = [
        r["sample_id"] for name in ("samples", "rejected", "failed") for r in rows_of("out", name)
    ]
    assert len(set(ids)) == 500
    assert summary.status == "incomplete"
    assert summary.exit_code == 1


def test_a_row_has_messages_that_end_with_an_answer_and_its_lineage() -> None:
    make(recipe_of(), samples=40)
    for row in rows_of("out", "samples"):
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert row["messages"][-1]["content"].strip()
        lineage = row["lineage"]
        assert lineage["source"].startswith("seeds.jsonl:")
        assert lineage["params"]["max_tokens"] == 100
        assert lineage["params"]["seed"] == lineage["seed"]
        assert lineage["model"] == "simulated"
        assert row["sample_id"] == f"{lineage['prompt_id']}-{lineage['sample_index']}"


def test_a_rejected_row_says_stage_rule_reason_and_evidence() -> None:
    make(recipe_of(selection=[]), samples=40)
    rejected = rows_of("out", "rejected")
    assert rejected
    assert {row["stage"] for row in rejected} == {"validation"}
    for row in rejected:
        assert (row["rule"], row["reason"]) == ("length", "too_short")
        assert row["evidence"]["words"] < row["evidence"]["min_words"] == 15


def test_the_dataset_is_the_same_at_any_concurrency() -> None:
    recipe = recipe_of(
        100, generate=faulty(latency_s=0.002, latency_spread=1.5, error_rate=0.05, empty_rate=0.1)
    )
    make(recipe, "slow", concurrency=4, samples=400)
    make(recipe, "fast", concurrency=400, samples=400)
    for name in ("samples.jsonl", "rejected.jsonl", "failed.jsonl"):
        assert Path("slow", name).read_bytes() == Path("fast", name).read_bytes()


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    make(recipe_of(), concurrency=5, samples=200)
    assert CountingProvider.most_in_flight == 5


def test_a_second_run_buys_nothing_and_writes_the_same() -> None:
    make(recipe_of(), samples=100)
    first, asked = Path("out/samples.jsonl").read_bytes(), len(CountingProvider.asked)
    again = make(recipe_of(), samples=100)
    assert len(CountingProvider.asked) == asked == 100
    assert (again.recalled, again.status) == (100, "complete")
    assert Path("out/samples.jsonl").read_bytes() == first


def test_more_samples_buy_only_what_is_new() -> None:
    make(recipe_of(), samples=50)
    grown = make(recipe_of(), samples=80)
    assert len(CountingProvider.asked) == 80
    assert (grown.recalled, grown.asked) == (50, 80)
    make(recipe_of(), "fresh", samples=80)
    assert Path("out/samples.jsonl").read_bytes() == Path("fresh/samples.jsonl").read_bytes()


def test_added_rows_buy_only_what_is_new() -> None:
    make(recipe_of(20))
    make(recipe_of(30))
    assert len(CountingProvider.asked) == 30


def test_a_changed_stage_buys_nothing() -> None:
    before = make(recipe_of(), samples=60)
    after = make(recipe_of(validation=[{"length": {"min_words": 25}}], noise=[]), samples=60)
    assert len(CountingProvider.asked) == 60
    assert after.written < before.written


def test_changed_requests_are_named_and_refused_unless_accepted() -> None:
    make(recipe_of(), samples=10)
    changed = recipe_of(generate={**faulty(), "params": {"max_tokens": 50}}, seed=8)
    with pytest.raises(RunFolderError) as raised:
        make(changed, samples=10)
    assert "changed since: generate.params.max_tokens, seed" in str(raised.value)
    assert "--accept-changes" in str(raised.value)
    assert len(CountingProvider.asked) == 10
    assert make(changed, samples=10, accept_changes=True).recalled == 0
    assert len(CountingProvider.asked) == 20


def test_failed_samples_are_asked_for_again() -> None:
    recipe = recipe_of(generate={**faulty(error_rate=0.1), "attempts": 1})
    first = make(recipe, samples=40)
    assert first.failed > 0
    second = make(recipe, samples=40)
    assert second.recalled == 40 - first.failed
    # The simulated fault belongs to the request. Asked for alone, they look like an outage after
    # the first few, and an outage costs the others no attempt.
    assert 0 < second.failed <= first.failed
    assert_counts_agree(second)


def test_an_accept_target_is_met_exactly_and_stops_the_asking() -> None:
    recipe = recipe_of(4000, accept=30)
    summary = make(recipe, concurrency=4)
    assert (summary.written, summary.status, summary.exit_code) == (30, "complete", 0)
    assert summary.asked <= len(CountingProvider.asked) <= summary.asked + 2 * 4
    assert_counts_agree(summary)
    again = make(recipe, concurrency=4)
    assert (again.asked, again.rejected) == (summary.asked, summary.rejected)
    make(recipe, "wide", concurrency=64)
    for name in ("samples", "rejected"):
        assert rows_of("out", name) == rows_of("wide", name)


def test_an_accept_target_out_of_reach_is_said() -> None:
    summary = make(recipe_of(20, accept=100))
    assert (summary.status, summary.exit_code) == ("incomplete", 1)
    assert_counts_agree(summary)


def test_an_endpoint_that_refuses_the_key_stops_the_run_and_keeps_the_rest_pending() -> None:
    recipe = recipe_of(generate={"mix": [{"endpoint": "doubles:ExpiringProvider"}]})
    summary = make(recipe, samples=200)
    assert (summary.status, summary.exit_code) == ("stopped", 77)
    assert summary.error == "the key has expired"
    assert (summary.failed, summary.pending) == (0, 170)
    assert_counts_agree(summary)


def test_an_interrupted_run_goes_on_where_it_stopped() -> None:
    recipe = recipe_of(generate=faulty(latency_s=0.01, latency_spread=0.5))

    async def interrupted() -> RunSummary:
        async with Run(recipe, output_dir="out", samples=1000) as run:
            asyncio.get_running_loop().call_later(0.1, run.interrupt)
            return await run.finish()

    first = asyncio.run(interrupted())
    assert (first.status, first.exit_code) == ("interrupted", 130)
    assert first.pending > 0
    assert_counts_agree(first)
    asked = len(CountingProvider.asked)
    second = make(recipe, samples=1000)
    assert second.recalled == asked == 1000 - first.pending
    assert len(CountingProvider.asked) == 1000
    make(recipe, "whole", samples=1000)
    assert Path("out/samples.jsonl").read_bytes() == Path("whole/samples.jsonl").read_bytes()


def test_what_is_in_flight_can_be_dropped() -> None:
    recipe = recipe_of(generate=faulty(latency_s=30.0))

    async def dropped() -> RunSummary:
        async with Run(recipe, output_dir="out", samples=50) as run:
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, run.interrupt)
            loop.call_later(0.2, lambda: run.interrupt(drop_in_flight=True))
            return await asyncio.wait_for(run.finish(), timeout=5)

    summary = asyncio.run(dropped())
    assert (summary.status, summary.pending) == ("interrupted", 50)


def test_iterating_yields_what_is_written_in_file_order() -> None:
    async def iterate() -> tuple[list[str], RunSummary]:
        async with Run(recipe_of(), output_dir="out", samples=60) as run:
            ids = [sample.sample_id async for sample in run]
        return ids, run.summary

    ids, summary = asyncio.run(iterate())
    assert ids == [row["sample_id"] for row in rows_of("out", "samples")]
    assert summary.written == len(ids)


def test_leaving_the_loop_early_publishes_what_is_there() -> None:
    async def leave_early() -> RunSummary:
        async with Run(recipe_of(), output_dir="out", samples=100_000) as run:
            async for _ in run:
                break
        return run.summary

    summary = asyncio.run(leave_early())
    assert summary.status == "interrupted"
    assert 0 < summary.written < 100_000
    assert_counts_agree(summary)


def test_an_exception_in_the_loop_comes_through_and_loses_nothing() -> None:
    async def fail() -> None:
        async with Run(recipe_of(), output_dir="out", samples=1000) as run:
            async for _ in run:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(fail())
    assert Path("out/manifest.json").exists()
    assert make(recipe_of(), samples=1000).recalled > 0


def test_a_mix_uses_each_of_its_models() -> None:
    mix = [{"endpoint": COUNTING, "model": "a"}, {"endpoint": COUNTING, "model": "b", "weight": 3}]
    make(recipe_of(generate={"mix": mix}), samples=200)
    models = [
        row["lineage"]["model"] for name in ("samples", "rejected") for row in rows_of("out", name)
    ]
    assert 20 < models.count("a") < 80
    assert models.count("a") + models.count("b") == 200


def test_a_bug_in_the_engine_is_raised_as_it_is_and_what_was_answered_is_kept() -> None:
    def on_sample(sample: object) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        make(recipe_of(), samples=50, on_sample=on_sample)
    assert make(recipe_of(), samples=50).recalled > 0


def test_resume_can_be_demanded_or_refused() -> None:
    with pytest.raises(RunFolderError, match="holds no run to resume"):
        make(recipe_of(), samples=3, resume="always")
    make(recipe_of(), samples=3)
    make(recipe_of(), samples=3, resume="always")
    with pytest.raises(RunFolderError, match="already holds a run"):
        make(recipe_of(), samples=3, resume="never")


def test_entries_of_a_mix_keep_their_own_options() -> None:
    mix = [
        {"endpoint": COUNTING, "options": {"empty_rate": 1.0}},
        {"endpoint": COUNTING, "options": {"empty_rate": 0.0}},
    ]
    summary = make(recipe_of(generate={"mix": mix}, validation=[], selection=[]), samples=200)
    assert 60 < summary.rejected_by_reason["completion: empty"] < 140
    endpoints = {row["lineage"]["endpoint"] for row in rows_of("out", "samples")}
    assert endpoints == {f"{COUNTING}#2"}


@pytest.mark.parametrize("changed", ["weight", "file", "source"])
def test_whatever_changes_the_requests_is_noticed(changed: str) -> None:
    Path("tones.txt").write_text("polite\nangry\n")
    prompts = {
        "source": "seeds.jsonl",
        "template": "{{ text }} {{ tone }}",
        "attributes": {"tone": {"file": "tones.txt"}},
    }
    mix = [{"endpoint": COUNTING, "model": m, "weight": 1} for m in "ab"]
    make(recipe_of(prompts=prompts, generate={"mix": mix}), samples=20)
    if changed == "weight":
        mix[1]["weight"] = 5
    elif changed == "file":
        Path("tones.txt").write_text("polite\nfurious\n")
    else:
        Path("other.jsonl").write_text('{"text": "something else"}\n')
        prompts["source"] = "other.jsonl"
    with pytest.raises(RunFolderError, match=r"changed since: |none to the rows of"):
        make(recipe_of(prompts=prompts, generate={"mix": mix}), samples=20)
    assert len(CountingProvider.asked) == 20


def test_another_spelling_of_the_same_source_is_no_change() -> None:
    make(recipe_of(), samples=10)
    seeds = str(Path("seeds.jsonl").absolute())
    recipe = recipe_of(prompts={"source": seeds, "template": "{{ text }}"})
    assert make(recipe, samples=10).recalled == 10
    assert make(Recipe.load("out/recipe.yaml"), samples=10).recalled == 10


def test_a_new_column_in_every_row_is_not_bought_in_silence() -> None:
    make(recipe_of(), samples=10)
    rows = [json.loads(line) for line in Path("seeds.jsonl").read_text().splitlines()]
    recipe = recipe_of()
    Path("seeds.jsonl").write_text("".join(json.dumps({**r, "note": 1}) + "\n" for r in rows))
    with pytest.raises(RunFolderError, match=r"none to the rows of seeds\.jsonl"):
        make(recipe, samples=10)
    assert len(CountingProvider.asked) == 10


def test_a_stop_ends_the_run_however_full_the_window_is() -> None:
    recipe = recipe_of(generate={"mix": [{"endpoint": "doubles:StallingProvider"}]}, accept=100)

    async def stalled() -> RunSummary:
        settings = Settings.from_environment({}, None).with_flags(max_concurrency=3)
        async with Run(recipe, output_dir="out", samples=500, settings=settings) as run:
            return await asyncio.wait_for(run.finish(), timeout=20)

    summary = asyncio.run(stalled())
    assert (summary.status, summary.exit_code) == ("stopped", 77)
    assert_counts_agree(summary)


@pytest.mark.parametrize("where", ["init", "enter", "exit", "models", "text", "usage", "cancel"])
def test_a_provider_that_breaks_its_promises_ends_in_no_traceback(where: str) -> None:
    BrokenProvider.where = where
    recipe = recipe_of(generate={"mix": [{"endpoint": "doubles:BrokenProvider"}]})
    if where == "init":
        with pytest.raises(RecipeError, match="cannot be made: KeyError"):
            make(recipe, samples=5)
        return
    summary = make(recipe, samples=5)
    assert_counts_agree(summary)
    if where == "enter":
        assert (summary.status, summary.exit_code, summary.pending) == ("stopped", 69, 5)
    elif where in ("exit", "models"):
        assert summary.status == "complete"
    else:
        assert summary.failed == 5


def test_an_accepted_change_is_accepted_for_good() -> None:
    other = recipe_of(generate={**faulty(), "params": {"temperature": 0.5}})
    make(recipe_of(), samples=10)
    make(other, samples=10, accept_changes=True)
    make(recipe_of(), samples=10, accept_changes=True)
    assert make(recipe_of(), samples=10).recalled == 10
    assert len(CountingProvider.asked) == 20


def test_answers_to_rows_that_are_gone_are_counted_and_left_out() -> None:
    make(recipe_of(20))
    summary = make(recipe_of(15))
    assert (summary.asked, summary.unused) == (15, 5)
    assert "5 earlier answers belong to no sample of this run" in str(summary)


def test_a_resume_that_fails_does_not_shrink_the_dataset() -> None:
    recipe = recipe_of(
        generate={"mix": [{"endpoint": "doubles:ExpiringProvider"}], "params": {"max_tokens": 100}}
    )
    first = make(recipe, samples=20)
    assert first.status == "complete"
    second = make(recipe, samples=200)
    assert (second.status, second.asked - second.pending) == ("stopped", 30)
    journal = sorted(Path("out/journal").iterdir())[0]
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3] + lines[4:]))  # one answer is missing in the middle
    third = make(recipe, samples=200, accept_changes=True)
    assert (third.status, third.asked - third.pending) == ("stopped", 29)
    assert_counts_agree(third)


def test_a_refused_resume_writes_all_that_was_bought_however_much_it_is() -> None:
    first = make(recipe_of(), samples=3000)
    journal = sorted(Path("out/journal").iterdir())[0]
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:5] + lines[6:]))
    CountingProvider.is_refusing = True
    second = make(recipe_of(), samples=3000, accept_changes=True)
    assert (second.status, second.exit_code, second.pending) == ("stopped", 77, 1)
    assert second.written + second.rejected == 2999
    assert abs(second.written - first.written) <= 1
    assert_counts_agree(second)


def test_a_part_that_raises_makes_the_run_incomplete(caplog: pytest.LogCaptureFixture) -> None:
    recipe = recipe_of(
        validation=["doubles:explode"], stages={"workers": 1}
    )  # each tells it thrice
    summary = make(recipe, samples=30)
    assert (summary.status, summary.exit_code) == ("incomplete", 1)
    assert summary.rejected_by_reason == {"doubles:explode: raised": 30}
    assert len([r for r in caplog.records if "boom" in r.message]) == 3


def test_evidence_that_is_no_json_is_told_as_text() -> None:
    summary = make(recipe_of(validation=["doubles:refuse_oddly"]), samples=5)
    assert summary.rejected == 5
    assert rows_of("out", "rejected")[0]["evidence"] == {"set": "{1}", "3": "PosixPath('x')"} or (
        rows_of("out", "rejected")[0]["evidence"]["set"] == "{1}"
    )


def test_a_run_folder_that_is_deleted_stops_the_run() -> None:
    recipe = recipe_of(generate=faulty(latency_s=0.02))

    async def deleted() -> None:
        async with Run(recipe, output_dir="out", samples=100_000) as run:
            loop = asyncio.get_running_loop()
            loop.call_later(0.2, shutil.rmtree, "out")
            await asyncio.wait_for(run.finish(), timeout=10)

    with pytest.raises(RunFolderError, match="was deleted while the run wrote to it"):
        asyncio.run(deleted())


def test_rows_that_vanish_while_the_run_goes_on_are_no_success() -> None:
    recipe = recipe_of(generate=faulty(latency_s=0.01))

    async def shrinking() -> RunSummary:
        async with Run(recipe, output_dir="out", samples=5000) as run:
            asyncio.get_running_loop().call_later(
                0.05, Path("seeds.jsonl").write_text, '{"text": "the only one left"}\n'
            )
            return await run.finish()

    summary = asyncio.run(shrinking())
    assert (summary.status, summary.exit_code) == ("stopped", 65)
    assert "was changed while the run went on" in (summary.error or "")


def test_a_run_is_used_once_and_says_so() -> None:
    async def misuse() -> None:
        run = Run(recipe_of(), output_dir="out", samples=5)
        with pytest.raises(RuntimeError, match="not entered"):
            await run.finish()
        async with run:
            async for _ in run:
                pass
            with pytest.raises(RuntimeError, match="iterated over once"):
                async for _ in run:
                    pass
        with pytest.raises(RuntimeError, match="entered already"):
            async with run:
                pass

    asyncio.run(misuse())


def test_a_timeout_around_a_run_publishes_what_is_there() -> None:
    recipe = recipe_of(generate=faulty(latency_s=0.02))

    async def too_slow() -> None:
        async with Run(recipe, output_dir="out", samples=100_000, settings=None) as run:
            async with asyncio.timeout(1.0):
                await run.finish()

    with pytest.raises(TimeoutError):
        asyncio.run(too_slow())
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    assert manifest["written"] == len(rows_of("out", "samples")) > 0


def test_a_folder_with_a_recipe_of_the_users_is_not_taken_for_a_run() -> None:
    Path("mine").mkdir()
    Path("mine/recipe.yaml").write_text("# my comments\n")
    with pytest.raises(RunFolderError, match="holds no run"):
        make(recipe_of(), "mine", samples=2)
    assert Path("mine/recipe.yaml").read_text() == "# my comments\n"


def test_nothing_is_made_on_disk_when_the_input_is_bad() -> None:
    recipe = recipe_of()
    Path("seeds.jsonl").write_text("{broken\n")
    with pytest.raises(Exception, match="not JSON"):
        make(recipe)
    assert not Path("out").exists()
    assert CountingProvider.asked == []


def test_no_part_file_is_left_behind() -> None:
    make(recipe_of(), samples=10)
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "failed.jsonl",
        "journal",
        "lock",
        "manifest.json",
        "metrics.json",
        "recipe.yaml",
        "rejected.jsonl",
        "samples.jsonl",
    ]
    assert Recipe.load("out/recipe.yaml").seed == 7


def test_metrics_manifest_summary_and_files_agree() -> None:
    recipe = recipe_of(60, generate=faulty(empty_rate=0.2, error_rate=0.05))
    summary = make(recipe)
    metrics = json.loads(Path("out/metrics.json").read_text())
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert_counts_agree(summary)
    for name in ("asked", "written", "rejected", "failed", "pending"):
        assert metrics[name] == manifest[name] == getattr(summary, name)
    assert metrics["tokens"][COUNTING]["output"] == summary.output_tokens
    assert metrics["stages"]["selection:exact"]["samples"] == 60
    assert metrics["loop_lag_max_s"] >= 0


def test_a_changed_max_tokens_asks_again_only_for_what_was_cut_short() -> None:
    def bounded(max_tokens: int) -> Recipe:
        mix = [{"endpoint": COUNTING}]
        return recipe_of(generate={"mix": mix, "params": {"max_tokens": max_tokens}})

    first = make(bounded(40), samples=40)
    answers = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    rejected = rows_of("out", "rejected")
    cut = sum(row["lineage"]["finish_reason"] == "length" for row in answers + rejected)
    assert 0 < cut < 40
    with pytest.raises(RunFolderError) as refused:
        make(bounded(80), samples=40)
    assert f"{40 - cut} of the 40 samples would be recalled and {cut} asked for" in str(
        refused.value
    )
    assert f"at most {cut * 80:,} output tokens" in str(refused.value)
    asked_before = len(CountingProvider.asked)
    second = make(bounded(80), samples=40, accept_changes=True)
    assert (second.recalled, len(CountingProvider.asked) - asked_before) == (40 - cut, cut)
    assert first.asked == second.asked == 40


def test_a_budget_of_tokens_is_kept_over_several_runs_and_can_be_raised() -> None:
    def within(tokens: int | None) -> Recipe:
        return recipe_of(200, budget={"tokens": tokens})

    first = make(within(5_000))
    assert (first.status, first.exit_code) == ("stopped", 1)
    assert "tokens" in (first.error or "")
    assert 0 < first.input_tokens + first.output_tokens <= 5_000
    again = make(within(5_000))
    assert len(CountingProvider.asked) <= first.asked - first.pending + 8
    assert again.recalled == first.asked - first.pending
    assert make(within(None)).pending == 0
    assert len(CountingProvider.asked) == 200


def test_a_budget_in_money_needs_a_known_price() -> None:
    with pytest.raises(RecipeError, match="price"):
        make(recipe_of(budget={"usd": 1}))
    assert CountingProvider.asked == []


def test_a_budget_in_money_counts_each_earlier_answer_at_its_own_price() -> None:
    def priced(model: str, usd: float) -> Recipe:
        mix = [{"endpoint": "doubles:PricedProvider", "model": model}]
        generate = {"mix": mix, "params": {"max_tokens": 100}}
        return recipe_of(200, generate=generate, budget={"usd": usd})

    dear = make(priced("gpt-4", 0.5))
    assert dear.status == "stopped"
    assert 0.3 < (dear.cost_usd or 0) <= 0.5
    cheap = make(priced("gpt-4o-mini", 0.5), accept_changes=True)
    assert (dear.cost_usd or 0) + (cheap.cost_usd or 0) <= 0.5
    assert make(priced("gpt-4o-mini", 5), accept_changes=True).status == "complete"


def test_what_a_run_costs_is_known_while_it_goes_on() -> None:
    mix = [{"endpoint": "doubles:PricedProvider", "model": "gpt-4"}]
    recipe = recipe_of(20, generate={"mix": mix, "params": {"max_tokens": 100}}, budget={"usd": 9})

    async def looks() -> tuple[list[float], RunSummary, Budget]:
        run = Run(recipe, output_dir="out")
        assert run.cost_usd == 0
        assert run.budget is None
        assert not run.dispatchers
        costs = []
        async with run:
            async for _ in run:
                assert not run.is_stopping
                costs.append(run.cost_usd or 0.0)
            assert run.budget is not None
            assert list(run.dispatchers) == [endpoint.name for endpoint in run.endpoints]
            return costs, run.summary, run.budget

    costs, summary, budget = asyncio.run(looks())
    assert costs == sorted(costs)
    assert 0 < costs[0] <= costs[-1] == summary.cost_usd
    assert budget.spent.usd == pytest.approx(summary.cost_usd)


def test_an_endpoint_that_has_moved_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    def at(port: int) -> RunSummary:
        settings = Settings.from_environment({}, None).with_flags(
            base_url=f"http://127.0.0.1:{port}/v1"
        )

        async def run_it() -> RunSummary:
            async with Run(recipe_of(), output_dir="out", settings=settings) as run:
                return await run.finish()

        return asyncio.run(run_it())

    at(1)
    assert "has moved" not in caplog.text
    assert at(2).recalled == 40
    assert "has moved: earlier answers came from http://127.0.0.1:1/v1" in caplog.text
    assert b"127.0.0.1:1" in Path("out/journal/000001.log").read_bytes()
