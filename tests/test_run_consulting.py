"""Whole runs whose stages ask models: what is bought, kept, told, and never bought again."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consultation_bench import recipe_of, settings_of, with_models
from weave_async.audit import audit
from weave_async.errors import RecipeError
from weave_async.recipe import Recipe
from weave_async.revalidation import revalidate
from weave_async.run import Run
from weave_async.summary import RunSummary
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_reply,
    error_reply,
)

NUM_ROWS = 12
RUBRIC = "An answer is good when it is about tea."
JUDGE = {"judge": {"rubric": "rubric.md", "min": 3}}


def asked_by_judge(request: RecordedRequest) -> bool:
    return RUBRIC in json.dumps(request.body["messages"])


def is_repair(request: RecordedRequest) -> bool:
    return "was rejected" in request.body["messages"][-1]["content"]


def number_in(request: RecordedRequest) -> int:
    found = re.search(r"tea number (\d+)", json.dumps(request.body["messages"]))
    assert found is not None, request.body
    return int(found[1])


def script(request: RecordedRequest) -> Reply:
    """Answers; a judge gives each third row's first answer 1 of 5, and whatever is repaired 5."""
    number = number_in(request)
    if asked_by_judge(request):
        bad = number % 3 == 0 and "Better" not in json.dumps(request.body["messages"])
        return chat_reply(json.dumps({"reason": "So it is.", "score": 1 if bad else 5}))
    word = "Better" if is_repair(request) else "Plain"
    return chat_reply(f"{word} words about tea number {number}, and some more.")


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint(with_models(script)) as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def inputs() -> None:
    Path("rubric.md").write_text(RUBRIC)
    rows = [json.dumps({"text": f"Tell me of tea number {n}."}) for n in range(1, NUM_ROWS + 1)]
    Path("seeds.jsonl").write_text("\n".join(rows) + "\n")


def finished(recipe: Recipe, endpoint: ScriptedEndpoint, **more: str) -> RunSummary:
    async def scenario() -> RunSummary:
        async with Run(recipe, output_dir="out", settings=settings_of(endpoint, **more)) as run:
            return await run.finish()

    return asyncio.run(asyncio.wait_for(scenario(), 60))


def num_of(endpoint: ScriptedEndpoint, kind: Callable[[RecordedRequest], bool]) -> int:
    return sum(kind(request) for request in completions(endpoint))


def completions(endpoint: ScriptedEndpoint) -> list[RecordedRequest]:
    return [request for request in endpoint.requests if request.method == "POST"]


def rows(stem: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"out/{stem}.jsonl").read_text().splitlines()]


def require_sound() -> None:
    found = audit(Path("out"))
    assert [check.name for check in found.checks if not check.passed] == []


def test_what_a_judge_rejects_is_rejected_with_its_score_and_nothing_is_bought_twice(
    endpoint: ScriptedEndpoint,
) -> None:
    recipe = recipe_of(validation=[JUDGE])
    first = finished(recipe, endpoint)
    assert (first.written, first.rejected) == (8, 4)
    assert first.rejected_by_reason == {"judge: low_score": 4}
    assert all(row["evidence"]["score"] == 1 for row in rows("rejected"))
    told = rows("samples")[0]["lineage"]["verdicts"]
    assert json.loads(told[0]["evidence"])["score"] == 5
    assert num_of(endpoint, asked_by_judge) == NUM_ROWS
    before, bytes_before = len(completions(endpoint)), Path("out/samples.jsonl").read_bytes()
    again = finished(recipe, endpoint)
    assert len(completions(endpoint)) == before
    assert (again.written, again.rejected) == (8, 4)
    assert Path("out/samples.jsonl").read_bytes() == bytes_before
    require_sound()


def test_copies_share_the_judge_and_the_repair_of_their_answer(
    endpoint: ScriptedEndpoint,
) -> None:
    noise = [{"typos": {"rate": 0.1, "copies": 3, "keep_clean": True}}]
    recipe = recipe_of(validation=[JUDGE], noise=noise, repairs=1)
    summary = finished(recipe, endpoint)
    assert num_of(endpoint, is_repair) == 4
    assert num_of(endpoint, asked_by_judge) == NUM_ROWS + 4
    assert summary.rejected == 0
    assert summary.written == NUM_ROWS + summary.copies
    assert summary.copies > NUM_ROWS
    for row in rows("samples"):
        number = int(re.search(r"number (\d+)", row["messages"][-1]["content"])[1])  # type: ignore[index]
        repaired = number % 3 == 0
        assert row["lineage"]["repairs"] == repaired
        assert row["messages"][-1]["content"].startswith("Better" if repaired else "Plain")
    before = len(completions(endpoint))
    finished(recipe, endpoint)
    assert len(completions(endpoint)) == before
    require_sound()


@pytest.mark.parametrize(
    "changes",
    [
        {"validation": [{"judge": {"rubric": "rubric.md", "min": 1}}]},
        {"validation": [JUDGE, {"required": {"none": ["number 4"]}}]},
        {"noise": [{"typos": {"rate": 0.1, "keep_clean": True}}]},
        {"validation": []},
        {"validation": [JUDGE], "repairs": 0, "selection": ["exact"]},
    ],
    ids=["lower bar", "another rule", "noise", "no rules", "selection"],
)
def test_revalidate_foretells_what_a_run_makes_of_it(
    endpoint: ScriptedEndpoint, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_ASYNC_ENDPOINTS__MAIN__BASE_URL", endpoint.base_url)
    monkeypatch.setenv("WEAVE_ASYNC_ENDPOINTS__MAIN__MODEL", "small")
    finished(recipe_of(validation=[JUDGE]), endpoint)
    changed = recipe_of(**{"validation": [JUDGE], **changes})
    before = len(completions(endpoint))
    foretold = asyncio.run(revalidate(Path("out"), changed))
    assert len(completions(endpoint)) == before
    summary = finished(changed, endpoint)
    assert len(completions(endpoint)) == before
    assert (foretold.written, foretold.undecided) == (summary.written, 0)
    assert dict(foretold.rejected) == dict(summary.rejected_by_reason)


def test_what_a_judge_has_not_been_asked_is_not_decided(
    endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_ASYNC_ENDPOINTS__MAIN__BASE_URL", endpoint.base_url)
    monkeypatch.setenv("WEAVE_ASYNC_ENDPOINTS__MAIN__MODEL", "small")
    finished(recipe_of(validation=[JUDGE]), endpoint)
    Path("rubric.md").write_text("Another thing is asked for now.")
    found = asyncio.run(revalidate(Path("out"), recipe_of(validation=[JUDGE])))
    assert (found.undecided, found.written, found.gone) == (NUM_ROWS, 0, 0)


@pytest.mark.parametrize(("status", "exit_code"), [(401, 77), (402, 78), (404, 78)])
def test_a_judge_that_refuses_us_stops_the_run_and_the_rows_stay_pending(
    status: int, exit_code: int
) -> None:
    is_well = False

    def refusing(request: RecordedRequest) -> Reply:
        if asked_by_judge(request) and not is_well:
            return error_reply(status, "no")
        return script(request)

    recipe = recipe_of(validation=[JUDGE])
    with ScriptedEndpoint(with_models(refusing)) as endpoint:
        summary = finished(recipe, endpoint)
        assert (summary.status, summary.exit_code) == ("stopped", exit_code)
        assert (summary.written, summary.rejected, summary.failed) == (0, 0, 0)
        assert summary.pending == NUM_ROWS
        num_answered = num_of(endpoint, lambda request: not asked_by_judge(request))
        is_well = True
        again = finished(recipe, endpoint)
        assert (again.written, again.rejected) == (8, 4)
        assert again.recalled == num_answered
    require_sound()


def test_a_judge_that_says_nothing_of_use_rejects_and_the_run_goes_on() -> None:
    def babbling(request: RecordedRequest) -> Reply:
        if asked_by_judge(request) and number_in(request) == 5:
            return chat_reply("I like tea.")
        return script(request)

    with ScriptedEndpoint(with_models(babbling)) as endpoint:
        summary = finished(recipe_of(validation=[JUDGE]), endpoint)
    assert summary.rejected_by_reason == {"judge: low_score": 4, "judge: no_verdict": 1}
    require_sound()


def test_judges_stay_within_the_limits_of_the_endpoint_that_they_share(
    endpoint: ScriptedEndpoint,
) -> None:
    began = time.monotonic()
    finished(
        recipe_of(validation=[JUDGE]), endpoint, WEAVE_ASYNC_ENDPOINTS__MAIN__RPM="600"
    )  # 10 a second, 24 requests
    assert time.monotonic() - began > 1.2


def test_a_judge_at_an_endpoint_of_the_environment_is_asked_there(
    endpoint: ScriptedEndpoint,
) -> None:
    with ScriptedEndpoint(with_models(script)) as judge:
        rule = {"judge": {"rubric": "rubric.md", "min": 3, "endpoint": "jury"}}
        summary = finished(
            recipe_of(validation=[rule]),
            endpoint,
            WEAVE_ASYNC_ENDPOINTS__JURY__BASE_URL=judge.base_url,
            WEAVE_ASYNC_ENDPOINTS__JURY__API_KEY="sk-jury",
            WEAVE_ASYNC_ENDPOINTS__JURY__MODEL="large",
        )
        keys = {request.headers["authorization"] for request in completions(judge)}
        assert {request.body["model"] for request in completions(judge)} == {"large"}
    assert keys == {"Bearer sk-jury"}
    assert num_of(endpoint, asked_by_judge) == 0
    assert (summary.written, summary.rejected) == (8, 4)
    written = b"".join(path.read_bytes() for path in Path("out").rglob("*") if path.is_file())
    assert b"sk-jury" not in written


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"rubric": "rubric.md", "endpoint": "jurry"}, "jurry"),
        ({"rubric": "missing.md"}, "missing.md"),
        ({"rubric": "rubric.md", "min": 9}, "9"),
    ],
)
def test_a_judge_that_cannot_be_is_refused_before_anything_is_asked(
    endpoint: ScriptedEndpoint, judge: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        finished(recipe_of(validation=[{"judge": judge}]), endpoint)
    assert endpoint.requests == []


def test_a_budget_that_ends_while_judges_are_asked_is_kept_and_the_run_goes_on_later(
    endpoint: ScriptedEndpoint,
) -> None:
    generate = {"params": {"max_tokens": 60}}
    free = finished(recipe_of(validation=[JUDGE], generate=generate), endpoint)
    num_requests, num_tokens = len(completions(endpoint)), free.input_tokens + free.output_tokens
    shutil.rmtree("out")
    endpoint.requests.clear()
    short = recipe_of(validation=[JUDGE], budget={"tokens": 2 * num_tokens}, generate=generate)
    stopped = finished(short, endpoint)  # each request sets its worst case aside
    assert (stopped.status, stopped.exit_code) == ("stopped", 1)
    assert stopped.pending > 0
    assert stopped.input_tokens + stopped.output_tokens <= 2 * num_tokens
    enough = recipe_of(validation=[JUDGE], budget={"tokens": 10**6}, generate=generate)
    again = finished(enough, endpoint)
    assert (again.written, again.rejected, again.pending) == (8, 4, 0)
    assert len(completions(endpoint)) == num_requests
    require_sound()


@pytest.mark.parametrize("drop_in_flight", [False, True], ids=["once", "twice"])
def test_an_interrupt_while_judges_are_asked_loses_nothing(drop_in_flight: bool) -> None:
    def slow_judge(request: RecordedRequest) -> Reply:
        reply = script(request)
        if asked_by_judge(request):
            time.sleep(0.02)
        return reply

    recipe = recipe_of(validation=[JUDGE])
    with ScriptedEndpoint(with_models(slow_judge)) as endpoint:

        async def interrupted() -> RunSummary:
            async with Run(recipe, output_dir="out", settings=settings_of(endpoint)) as run:
                ending = asyncio.create_task(run.finish())
                while num_of(endpoint, asked_by_judge) < 3:
                    await asyncio.sleep(0.005)
                run.interrupt(drop_in_flight=drop_in_flight)
                return await ending

        summary = asyncio.run(asyncio.wait_for(interrupted(), 60))
        assert summary.pending > 0
        num_out_at_most = 2 if drop_in_flight else 0  # its max_concurrency
        again = finished(recipe, endpoint)
        assert (again.written, again.rejected, again.pending) == (8, 4, 0)
        assert len(completions(endpoint)) <= 2 * NUM_ROWS + num_out_at_most
    found = audit(Path("out"))
    assert [check.name for check in found.checks if not check.passed] == []
