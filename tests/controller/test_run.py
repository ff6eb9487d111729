"""The loop in a run: what it changes, and that nothing about it depends on timing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from uneven_arms import UnevenProvider
from weave_async import Recipe, Run, Settings
from weave_async.audit import audit
from weave_async.errors import RecipeError, RequestRefusedError, RunFolderError
from weave_async.export.requests import openai_batch
from weave_async.records import Request, Response, Sample, Verdict
from weave_async.revalidation import revalidate

from .running import ROUND, UNEVEN, decisions_in, files_in, finished, recipe_of, run_of


class RefusingProvider(UnevenProvider):
    """Of the model ``dull``, no request is ever answered."""

    async def complete(self, request: Request) -> Response:
        if request.model == "dull":
            raise RequestRefusedError("this model takes no such prompts", status_code=400)
        return await super().complete(request)


class EveryOther:
    """Decides at the end, and keeps every other sample."""

    def __init__(self) -> None:
        self._num = 0

    def features_of(self, samples: Sequence[Sample]) -> Sequence[None]:
        return [None] * len(samples)

    def offer(self, sample: Sample, features: None) -> None:
        self._num += 1

    def verdicts(self) -> list[Verdict]:
        return [Verdict(number % 2 == 0, "odd") for number in range(self._num)]


def rows_in(folder: str, name: str = "samples") -> list[dict]:
    return [json.loads(line) for line in Path(folder, f"{name}.jsonl").read_text().splitlines()]


def share_of_dull(folder: str, last: int) -> float:
    rows = rows_in(folder) + rows_in(folder, "rejected")
    rows.sort(key=lambda row: int(row["lineage"]["source"].partition(":")[2]))
    models = [row["lineage"]["model"] for row in rows[-last:]]
    return models.count("dull") / len(models)


def test_what_repeats_itself_or_is_rejected_is_asked_less_often() -> None:
    asyncio.run(finished(run_of(recipe_of(360, {"round": 40}), "on")))
    asyncio.run(finished(run_of(recipe_of(360, "off"), "off")))
    assert share_of_dull("off", 120) > 0.4
    assert share_of_dull("on", 120) < 0.25
    last = decisions_in("on")[-1]["weights"]
    assert last["mix"][1] < 0.25  # dull
    assert last["attribute:tone"][1] < 0.25  # gruff
    assert max(last["params:temperature"]) < 0.4  # which makes no difference here
    assert len(rows_in("on")) > 1.2 * len(rows_in("off"))


def test_the_dataset_does_not_depend_on_concurrency() -> None:
    for concurrency in (1, 5, 64):
        recipe = recipe_of(160)
        asyncio.run(finished(run_of(recipe, f"at{concurrency}", concurrency=concurrency)))
    assert len(decisions_in("at1")) == 160 // ROUND - 2
    assert files_in("at1") == files_in("at5") == files_in("at64")


def test_a_run_to_so_many_accepted_rows_does_not_depend_on_concurrency_either() -> None:
    for concurrency in (1, 64):
        recipe = recipe_of(200, accept=50)
        asyncio.run(finished(run_of(recipe, f"at{concurrency}", concurrency=concurrency)))
    assert len(rows_in("at1")) == 50
    one, other = files_in("at1"), files_in("at64")
    assert one["samples.jsonl"] == other["samples.jsonl"]
    assert one["rejected.jsonl"] == other["rejected.jsonl"]


def test_what_a_final_selector_still_holds_back_counts_as_accepted() -> None:
    selection = [{"controller.test_run:EveryOther": {}}]
    for concurrency in (1, 64):
        recipe = recipe_of(160, selection=selection)
        asyncio.run(finished(run_of(recipe, f"at{concurrency}", concurrency=concurrency)))
    assert files_in("at1") == files_in("at64")
    tones = decisions_in("at1")[-1]["evidence"]["attribute:tone"]
    assert [tone["accepted"] > 0 for tone in tones] == [True, False]  # gruff is rejected at once


def test_several_completions_of_a_prompt_are_drawn_and_decided_together() -> None:
    more = {"generate": {"n": 3}}
    for concurrency in (1, 16):
        recipe = recipe_of(60, **more)
        asyncio.run(finished(run_of(recipe, f"at{concurrency}", concurrency=concurrency)))
    assert files_in("at1") == files_in("at16")
    firsts = [decision["first_ordinal"] for decision in decisions_in("at1")]
    assert firsts == [42, 63, 84, 105, 126, 147, 168]  # rounds of 21, whole groups
    by_prompt: dict[str, set[str]] = {}
    for row in rows_in("at1") + rows_in("at1", "rejected"):
        prompt_id = row["sample_id"].partition("-")[0]
        by_prompt.setdefault(prompt_id, set()).add(row["lineage"]["model"])
    assert all(len(models) == 1 for models in by_prompt.values())


@pytest.mark.parametrize("num_answers", [3, 30, 75, 110])
def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not_been(num_answers: int) -> None:
    asyncio.run(finished(run_of(recipe_of(160), "whole")))

    async def interrupted() -> None:
        async with run_of(recipe_of(160), "broken") as run:
            seen = 0

            def count(_: object) -> None:
                nonlocal seen
                seen += 1
                if seen == num_answers:
                    run.interrupt(drop_in_flight=True)

            run._on_sample = count
            await run.finish()

    asyncio.run(interrupted())
    assert len(rows_in("broken")) + len(rows_in("broken", "rejected")) < 160
    asyncio.run(finished(run_of(recipe_of(160), "broken", concurrency=3)))
    assert files_in("broken") == files_in("whole")


def test_a_replay_asks_nothing_and_decides_nothing() -> None:
    asyncio.run(finished(run_of(recipe_of(100))))
    before = files_in("out")
    summary = asyncio.run(finished(run_of(recipe_of(100))))
    assert (summary.asked_now, summary.recalled) == (0, 100)
    assert files_in("out") == before


def test_later_samples_are_decided_by_what_an_earlier_run_has_found() -> None:
    asyncio.run(finished(run_of(recipe_of(200), samples=90)))
    summary = asyncio.run(finished(run_of(recipe_of(200))))
    assert (summary.recalled, summary.asked_now) == (90, 110)
    asyncio.run(finished(run_of(recipe_of(200), "at once")))
    assert files_in("out") == files_in("at once")


def test_decisions_stand_though_rules_have_changed_since() -> None:
    asyncio.run(finished(run_of(recipe_of(200), samples=100)))
    before = decisions_in("out")
    summary = asyncio.run(finished(run_of(recipe_of(200, validation=[]))))
    assert (summary.recalled, summary.asked_now) == (100, 100)
    assert decisions_in("out")[: len(before)] == before


def test_without_a_controller_nothing_is_decided_and_the_journal_says_nothing_of_it() -> None:
    run = run_of(recipe_of(60, "off"))
    asyncio.run(finished(run))
    assert "controller" not in run.plan.asks()
    assert not Path("out/decisions.jsonl").exists()
    assert "controller" not in json.loads(Path("out/metrics.json").read_text())


def test_the_first_rounds_are_drawn_as_without_a_controller() -> None:
    def asked(controller: object) -> list[str]:
        folder = f"with {controller}"
        asyncio.run(finished(run_of(recipe_of(2 * ROUND, controller), folder)))
        return [row["lineage"]["request_id"] for row in rows_in(folder)]

    assert asked({"round": ROUND}) == asked("off")


def test_metrics_tell_the_weights_that_it_has_come_to() -> None:
    asyncio.run(finished(run_of(recipe_of(160))))
    told = json.loads(Path("out/metrics.json").read_text())["controller"]
    assert told["rounds_decided"] == len(decisions_in("out"))
    assert set(told["weights"]["attribute:tone"]) == {"kind", "gruff"}
    assert set(told["weights"]["params:temperature"]) == {
        "0.2-0.45",
        "0.45-0.7",
        "0.7-0.95",
        "0.95-1.2",
    }


def test_what_is_to_be_left_keeps_its_shares() -> None:
    asyncio.run(finished(run_of(recipe_of(100, {"round": ROUND, "leave": ["tone", "mix"]}))))
    assert set(decisions_in("out")[-1]["weights"]) == {"params:temperature"}


def test_a_parameter_and_an_attribute_of_one_name_are_steered_both() -> None:
    prompts = {
        "source": "seeds.jsonl",
        "template": "{{ text }} at {{ temperature }}",
        "attributes": {"temperature": {"choice": ["hot", "cold"]}},
    }
    asyncio.run(finished(run_of(recipe_of(60, prompts=prompts))))
    steered = set(decisions_in("out")[-1]["weights"])
    assert steered == {"mix", "params:temperature", "attribute:temperature"}


def test_a_name_to_leave_that_is_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"controller.leave: unknown choice 'tune'"):
        asyncio.run(finished(run_of(recipe_of(10, {"leave": ["tune"]}))))


def test_with_nothing_to_choose_between_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    Path("seeds.jsonl").write_text('{"text": "a"}\n')
    generate = {"mix": [{"endpoint": UNEVEN}]}
    recipe = Recipe.model_validate(
        {"prompts": {"source": "seeds.jsonl"}, "generate": generate, "controller": "on"}
    )
    run = run_of(recipe)
    asyncio.run(finished(run))
    assert "controller" not in run.plan.asks()
    assert "nothing to steer" in caplog.text


def test_rounds_that_hold_requests_up_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(finished(run_of(recipe_of(100), concurrency=64)))
    assert "some will wait" in caplog.text


def test_lost_decisions_are_no_reason_to_buy_again() -> None:
    asyncio.run(finished(run_of(recipe_of(100))))
    log = Path("out/decisions.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]))
    with pytest.raises(RunFolderError, match="restore it from a copy"):
        asyncio.run(finished(run_of(recipe_of(100))))
    log.write_bytes(b"".join(lines))
    assert asyncio.run(finished(run_of(recipe_of(100)))).asked_now == 0


def test_lost_decisions_leave_no_answers_out_of_a_replay_in_silence() -> None:
    asyncio.run(finished(run_of(recipe_of(100))))
    Path("out/decisions.jsonl").unlink()
    with pytest.raises(RunFolderError, match="restore it from a copy"):
        asyncio.run(revalidate(Path("out")))


def test_what_was_decided_anew_can_be_interrupted_and_continued() -> None:
    asyncio.run(finished(run_of(recipe_of(100))))
    Path("out/decisions.jsonl").unlink()
    anew = recipe_of(100, validation=[])

    async def interrupted() -> None:
        async with run_of(anew, concurrency=2, accept_changes=True) as run:
            run._on_sample = lambda _: run.interrupt() if run.metrics.ended > 40 else None
            await run.finish()

    asyncio.run(interrupted())
    summary = asyncio.run(finished(run_of(anew, accept_changes=True)))
    assert (summary.written + summary.rejected, summary.pending) == (100, 0)
    assert asyncio.run(finished(run_of(anew))).asked_now == 0


def test_decisions_that_were_edited_are_told_of_and_there_is_a_way_on() -> None:
    asyncio.run(finished(run_of(recipe_of(100))))
    log = Path("out/decisions.jsonl")
    opening, first, *others = log.read_text().splitlines(keepends=True)
    edited = {**json.loads(first), "weights": {**json.loads(first)["weights"], "mix": [0, 1]}}
    log.write_text("".join([opening, json.dumps(edited) + "\n", *others]))
    with pytest.raises(RunFolderError, match=r"another request than decisions\.jsonl leads to"):
        asyncio.run(finished(run_of(recipe_of(100))))
    summary = asyncio.run(finished(run_of(recipe_of(100), accept_changes=True)))
    assert summary.asked_now > 0
    assert (summary.written + summary.rejected, summary.pending) == (100, 0)


def test_another_controller_is_another_question() -> None:
    asyncio.run(finished(run_of(recipe_of(100), samples=60)))
    with pytest.raises(RunFolderError, match=r"changed since: controller\.floor"):
        asyncio.run(finished(run_of(recipe_of(100, {"round": ROUND, "floor": 0.5}))))
    with pytest.raises(RunFolderError, match="changed since: controller"):
        asyncio.run(finished(run_of(recipe_of(100, "off"))))
    changed = recipe_of(100, {"round": 10})
    summary = asyncio.run(finished(run_of(changed, accept_changes=True)))
    assert summary.written + summary.rejected == 100
    assert [decision["round"] for decision in decisions_in("out")] == list(range(2, 10))


def test_rows_in_another_order_are_drawn_otherwise_and_told_of() -> None:
    asyncio.run(finished(run_of(recipe_of(100), samples=60)))
    recipe = recipe_of(100)
    lines = Path("seeds.jsonl").read_text().splitlines()
    Path("seeds.jsonl").write_text("\n".join(reversed(lines)) + "\n")
    with pytest.raises(RunFolderError, match=r"changed since: controller\.rows"):
        asyncio.run(finished(run_of(recipe)))


def test_a_batch_endpoint_cannot_be_steered() -> None:
    mix = [{"endpoint": "openai_compatible", "model": "m", "mode": "batch"}]
    settings = Settings.from_environment({"WEAVE_ASYNC_BASE_URL": "http://127.0.0.1:1/v1"}, None)
    with pytest.raises(RecipeError, match="set controller: off"):
        recipe = recipe_of(100, generate={"mix": mix})
        asyncio.run(finished(Run(recipe, output_dir="out", settings=settings)))


def test_failures_teach_what_rejections_teach() -> None:
    endpoint = "controller.test_run:RefusingProvider"
    mix = [{"endpoint": endpoint, "model": model} for model in ("lively", "dull")]
    summary = asyncio.run(finished(run_of(recipe_of(160, generate={"mix": mix}))))
    assert summary.failed
    assert decisions_in("out")[-1]["weights"]["mix"][1] < 0.25


def test_what_a_run_has_asked_is_revalidated_and_exported_as_it_was_drawn() -> None:
    asyncio.run(finished(run_of(recipe_of(120))))
    found = asyncio.run(revalidate(Path("out")))
    assert found.num_answers == 120
    assert not found.changes
    lines = [json.loads(line) for line in openai_batch(Path("out"), "all")]
    models = [line["body"]["model"] for line in lines]
    rows = rows_in("out") + rows_in("out", "rejected")
    assert len(lines) == 120
    assert models.count("dull") == [row["lineage"]["model"] for row in rows].count("dull")


def test_examples_that_lead_to_what_is_rejected_are_shown_less_often() -> None:
    bad = [{"q": f"gruff grumble grunt number {i}", "a": "gruff"} for i in range(40)]
    good = [{"q": f"please tell me about matter {i}", "a": "gladly"} for i in range(40)]
    Path("shots.jsonl").write_text("\n".join(map(json.dumps, bad + good)))
    shots = {"source": "shots.jsonl", "num": 2, "user": "{{ q }}", "assistant": "{{ a }}"}
    prompts = {"source": "seeds.jsonl", "template": "{{ text }}", "examples": shots}
    for concurrency in (1, 16):
        recipe = recipe_of(400, {"round": 40}, prompts=prompts)
        asyncio.run(finished(run_of(recipe, f"at{concurrency}", concurrency=concurrency)))
    assert files_in("at1") == files_in("at16")
    assert 0 < len(rows_in("at1", "rejected")) < 0.35 * 400
    weights = decisions_in("at1")[-1]["weights"]["examples"]
    assert len(weights) == 8
    assert min(sum(weights[:4]), sum(weights[4:])) < 0.2  # each half looks alike


def test_a_mix_of_one_model_twice_is_drawn_again_as_it_was() -> None:
    mix = [{"endpoint": UNEVEN, "model": "lively"}] * 2
    asyncio.run(finished(run_of(recipe_of(100, generate={"mix": mix}))))
    assert asyncio.run(revalidate(Path("out"))).num_answers == 100


def test_another_model_in_the_mix_costs_only_its_own_answers() -> None:
    asyncio.run(finished(run_of(recipe_of(100))))
    mix = [{"endpoint": UNEVEN, "model": model} for model in ("lively", "other")]
    asked = len(
        [
            row
            for name in ("samples", "rejected")
            for row in rows_in("out", name)
            if row["lineage"]["model"] == "dull"
        ]
    )
    changed = run_of(recipe_of(100, generate={"mix": mix}), accept_changes=True)
    summary = asyncio.run(finished(changed))
    assert (summary.recalled, summary.asked_now) == (100 - asked, asked)


def test_the_audit_tells_whether_the_decisions_are_whole() -> None:
    asyncio.run(finished(run_of(recipe_of(100))))
    assert audit(Path("out")).passed
    log = Path("out/decisions.jsonl")
    log.write_bytes(log.read_bytes().replace(b'"round":3', b'"round":4'))
    [broken] = [check for check in audit(Path("out")).checks if not check.passed]
    assert broken.name == "every decision of the controller is whole"
    assert "decisions.jsonl:3 is damaged" in broken.problems[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[:-1],
        lambda lines: [],
        lambda lines: [*lines[:-1], lines[-1].replace('"evidence":{', '"evidence":{"more":1,', 1)],
    ],
)
def test_verify_sees_that_decisions_are_not_those_of_the_run(
    damage: Callable[[list[str]], list[str]],
) -> None:
    asyncio.run(finished(run_of(recipe_of(160))))
    assert audit(Path("out")).passed
    path = Path("out/decisions.jsonl")
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    assert not audit(Path("out")).passed
    path.unlink()
    assert not audit(Path("out")).passed
