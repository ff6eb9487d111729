"""The engine's bounds: what waits, where it waits, and who slows whom down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doubles import CountingProvider, StragglerProvider, SuspiciousProvider
from weave_async import Recipe, Run, RunSummary, Settings
from weave_async.engine import RECALLED, Reordering
from weave_async.records import Message, Prompt, Request, Sample, SamplingParams


@pytest.fixture(autouse=True)
def _fresh_counts() -> None:
    CountingProvider.reset()
    StragglerProvider.reset()


def recipe_of(num_rows: int, provider: str = "doubles:CountingProvider", **more: object) -> Recipe:
    rows = (json.dumps({"text": f"Question {i} about my account"}) for i in range(num_rows))
    Path("seeds.jsonl").write_text("\n".join(rows) + "\n")
    generate = {"mix": [{"endpoint": provider}], "params": {"max_tokens": 60}}
    return Recipe.model_validate(
        {"prompts": {"source": "seeds.jsonl"}, "generate": generate, **more}
    )


def run_of(recipe: Recipe, folder: str = "out", concurrency: int = 16) -> Run:
    environment = Settings.from_environment({}, None).with_flags(max_concurrency=concurrency)
    return Run(recipe, output_dir=folder, settings=environment)


async def finished(run: Run) -> RunSummary:
    async with run:
        return await run.finish()


def test_calls_and_answers_are_in_the_journal_before_the_next_request_goes_out() -> None:
    SuspiciousProvider.reset()
    run = run_of(recipe_of(20, "doubles:SuspiciousProvider"), concurrency=1)
    assert asyncio.run(finished(run)).written == 20
    assert SuspiciousProvider.missing == []


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many samples may be on their way: far fewer than usual, so that a run is short."""
    monkeypatch.setattr("weave_async.run.SMALLEST_WINDOW", 1000)
    return 1000


def test_one_slow_answer_holds_up_no_other_and_memory_stays_bounded(window: int) -> None:
    num_rows = 2 * window
    StragglerProvider.others = num_rows - 100
    run = run_of(recipe_of(num_rows, "doubles:StragglerProvider"))
    most_waiting = 0

    async def watched() -> RunSummary:
        nonlocal most_waiting
        async with run:
            ending = asyncio.create_task(run.finish())
            while not ending.done():
                most_waiting = max(most_waiting, run._engine._ordered.num_waiting)
                await asyncio.sleep(0.001)
            return await ending

    # Were others held up behind the first one, it would never be answered.
    slow = asyncio.run(asyncio.wait_for(watched(), 60))
    StragglerProvider.reset()
    StragglerProvider.others = 1
    even = asyncio.run(finished(run_of(recipe_of(num_rows, "doubles:StragglerProvider"), "even")))
    assert slow.written == even.written == num_rows
    assert most_waiting <= window
    slow_rows, even_rows = (
        [json.loads(line)["messages"] for line in Path(f, "samples.jsonl").read_text().splitlines()]
        for f in ("out", "even")
    )
    assert slow_rows == even_rows


def test_a_slow_reader_slows_the_asking_and_loses_nothing(window: int) -> None:
    num_rows = 2 * window
    run = run_of(recipe_of(num_rows))

    async def read_slowly() -> tuple[int, int]:
        async with run:
            seen = 0
            async for _ in run:
                seen += 1
                if seen == 1:
                    await asyncio.sleep(1.0)
                    asked_meanwhile = len(CountingProvider.asked)
            return asked_meanwhile, seen

    asked_meanwhile, seen = asyncio.run(read_slowly())
    assert asked_meanwhile <= window + 16 + 128
    assert seen == num_rows


def test_a_budget_of_time_ends_the_asking_and_the_run_goes_on_later() -> None:
    slow = {"mix": [{"endpoint": "simulated", "options": {"latency_s": 0.05}}]}
    recipe = recipe_of(200, generate=slow, budget={"wall": "0.3s"})
    summary = asyncio.run(finished(run_of(recipe, concurrency=8)))
    assert (summary.status, summary.exit_code) == ("stopped", 1)
    assert "the budget's time, 0.3 s, is over" in (summary.error or "")
    assert 0 < summary.written < 200
    later = recipe.with_changes(budget={"wall": None})
    again = asyncio.run(finished(run_of(later, concurrency=64)))
    assert (again.written, again.recalled) == (200, summary.written)


def test_each_stage_keeps_its_time() -> None:
    recipe = recipe_of(50, validation=[{"length": {"min_words": 1}}], selection=["exact"])
    run = run_of(recipe)
    asyncio.run(finished(run))
    times = run.metrics.stage_times
    stages = ["validation:completion", "validation:length", "selection:exact", "output"]
    assert sorted(times) == sorted([*stages, "measure:diversity", "measure:bias"])
    for name in stages:
        assert times[name].num_samples == 50
        assert 0 < times[name].cpu_s <= times[name].wall_s * 1.5 + 0.01


# --- back in order ---------------------------------------------------------------------------


def sample_of(ordinal: int) -> Sample:
    request = Request(f"r{ordinal}", "m", (Message("user", "?"),), SamplingParams())
    prompt = Prompt(f"{ordinal}", 0, request.messages, {}, "rows:1")
    return Sample(ordinal, prompt, request, "here", 0)


def planned(num_samples: int) -> Callable[[Callable[[int], object]], Iterator[Sample]]:
    return lambda is_wanted: (sample_of(i) for i in range(num_samples) if is_wanted(i))


def recalled(sample: Sample) -> Sample:
    return replace(sample, endpoint="recalled")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_samples_come_out_in_order_wherever_they_waited(data: st.DataObject) -> None:
    num_samples = data.draw(st.integers(1, 30))
    places = bytearray(data.draw(st.lists(st.sampled_from([0, RECALLED]), min_size=num_samples)))
    places = places[:num_samples]
    lost = {i for i in range(num_samples) if not places[i] and data.draw(st.booleans())}
    arriving = [i for i in range(num_samples) if not places[i] and i not in lost]
    arriving = data.draw(st.permutations(arriving))
    from_journal = {i for i in range(num_samples) if places[i]}
    ordered = Reordering(places, planned(num_samples), recalled)
    out: list[Sample] = []
    for ordinal in arriving:
        ordered.push([sample_of(ordinal)])
        if data.draw(st.booleans()):
            out += ordered.pop(data.draw(st.integers(1, 5)), over_gaps=False).samples
        if data.draw(st.booleans()):
            from_journal |= {sample.ordinal for sample in ordered.shelve()}
    while batch := ordered.pop(4, over_gaps=True).samples:
        out += batch
    assert [sample.ordinal for sample in out] == sorted(set(range(num_samples)) - lost)
    assert {sample.ordinal for sample in out if sample.endpoint == "recalled"} == from_journal


def test_what_can_go_on_at_once_is_not_shelved() -> None:
    ordered = Reordering(bytearray(100), planned(100), recalled)
    assert ordered.pop(10, over_gaps=False).samples == []
    ordered.push([sample_of(i) for i in range(50)])
    assert ordered.shelve() == []
    assert ordered.num_waiting == 50


def test_behind_a_gap_any_number_is_shelved_and_afterwards_no_more_than_that() -> None:
    ordered = Reordering(bytearray(100), planned(100), recalled)
    ordered.push([sample_of(i) for i in range(1, 20)])
    assert ordered.pop(10, over_gaps=False).samples == []
    assert len(ordered.shelve()) == 19
    ordered.push([sample_of(0)])
    assert len(ordered.pop(10, over_gaps=False).samples) == 10  # 10 of 19 are left, on disk
    ordered.push([sample_of(i) for i in range(20, 50)])
    assert len(ordered.shelve()) == 30  # fewer than 19 were left
    ordered.push([sample_of(i) for i in range(50, 60)])
    assert ordered.shelve() == []  # the reader is slow, not the answers


def test_no_more_is_asked_for_than_may_still_be_needed() -> None:
    recipe = recipe_of(500, accept=40)
    first = asyncio.run(finished(run_of(recipe, concurrency=64)))
    assert (first.written, first.status) == (40, "complete")
    assert len(CountingProvider.asked) == 40
    again = asyncio.run(finished(run_of(recipe, concurrency=64)))
    assert (again.recalled, again.asked_now, len(CountingProvider.asked)) == (40, 0, 40)
    assert "nothing was asked" in str(again)


def test_no_more_is_asked_for_than_copies_leave_to_be_needed() -> None:
    noise = [{"typos": {"copies": 3, "keep_clean": True}}, {"casing": {"copies": 2}}]
    recipe = recipe_of(500, accept=40, noise=noise)
    summary = asyncio.run(finished(run_of(recipe, concurrency=64)))
    assert (summary.written, summary.status) == (40, "complete")
    assert 40 / 8 <= len(CountingProvider.asked) <= 10  # few copies are left out as equal


def test_of_answers_that_are_there_no_more_are_judged_than_may_be_needed() -> None:
    asyncio.run(finished(run_of(recipe_of(500))))
    Path("rubric.md").write_text("5 is good, 1 is bad.")
    judge = {"rubric": str(Path("rubric.md").resolve()), "scale": [1, 5], "min": 1}
    again = run_of(recipe_of(500, accept=40, validation=[{"judge": judge}]))
    summary = asyncio.run(finished(again))
    assert (summary.written, summary.asked_now) == (40, 0)
    assert again.metrics.consultations.asked == 40


def test_what_a_rule_rejects_of_noisy_samples_counts_as_rejected_by_it() -> None:
    Path("mine.py").write_text("def clean(sample):\n    return not sample.edits\n")
    noise = [{"typos": {"keep_clean": True}}]
    python = {"python": f"{Path('mine.py').resolve()}:clean"}
    run = run_of(recipe_of(150, noise=noise, validation=[python]))
    summary = asyncio.run(finished(run))
    assert (summary.written, summary.rejected, summary.idle_rules) == (150, 150, [])
    assert run.metrics.rule_watch.as_dict()["python"] == {"judged": 300, "rejected": 150}


def test_what_was_published_is_not_replaced_by_less() -> None:
    recipe = recipe_of(2000)
    asyncio.run(finished(run_of(recipe)))
    published = {path.name: path.read_bytes() for path in Path("out").glob("*.json*")}

    async def dropped() -> RunSummary:
        async with run_of(recipe) as run:
            ending = asyncio.create_task(run.finish())
            await asyncio.sleep(0.001)
            run.interrupt(drop_in_flight=True)
            return await ending

    summary = asyncio.run(dropped())
    assert summary.pending > 0
    assert {path.name: path.read_bytes() for path in Path("out").glob("*.json*")} == published
    assert not list(Path("out").glob("*.part"))
    assert len(CountingProvider.asked) == 2000


def test_what_breaks_in_delivering_lets_in_what_is_on_its_way() -> None:
    recipe = recipe_of(400)

    def broken(sample: Sample) -> None:
        if sample.ordinal == 50:
            raise ZeroDivisionError

    environment = Settings.from_environment({}, None).with_flags(max_concurrency=64)
    run = Run(recipe, output_dir="out", settings=environment, on_sample=broken)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(finished(run))
    num_sent = len(CountingProvider.asked)
    again = asyncio.run(finished(run_of(recipe)))
    assert again.recalled == num_sent
    assert len(CountingProvider.asked) == 400


def test_a_gap_before_what_was_recalled_is_asked_for_however_much_was_recalled() -> None:
    failing = {"mix": [{"endpoint": "simulated", "options": {"error_rate": 0.04}}], "attempts": 1}
    recipe = recipe_of(400, generate=failing, accept=100)
    first = asyncio.run(asyncio.wait_for(finished(run_of(recipe)), 60))
    assert (first.written, first.failed > 0) == (100, True)
    well = recipe.with_changes(generate={"attempts": 3})
    again = asyncio.run(asyncio.wait_for(finished(run_of(well)), 60))
    assert (again.written, again.failed) == (100, 0)
    assert again.asked_now <= first.failed


def test_a_cancellation_out_of_on_sample_is_an_error_and_no_hang() -> None:
    recipe = recipe_of(400)

    def cancelled(sample: Sample) -> None:
        if sample.ordinal == 50:
            raise asyncio.CancelledError

    environment = Settings.from_environment({}, None).with_flags(max_concurrency=16)
    run = Run(recipe, output_dir="out", settings=environment, on_sample=cancelled)
    with pytest.raises(RuntimeError, match="cancelled from inside"):
        asyncio.run(asyncio.wait_for(finished(run), 30))
