"""Several completions of a prompt: one request where the endpoint takes ``n``, else several."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async import Recipe, Run, RunSummary, Settings
from weave_async.asking.asker import Answered
from weave_async.asking.choices import Choices, divided
from weave_async.audit import audit
from weave_async.blame import failure_of
from weave_async.errors import RequestTooLargeError
from weave_async.explanation import explain
from weave_async.journal.journal import Journal
from weave_async.plan import Plan
from weave_async.records import Endpoint, Response, Sample, Usage
from weave_async.sources.jsonl import JsonlSource
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_completion,
    error_reply,
    json_reply,
)

Answer = Callable[[RecordedRequest], Reply]


def recipe_of(num_rows: int, n: int, **more: Any) -> Recipe:
    rows = [{"text": f"Question {i}"} for i in range(num_rows)]
    Path("seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    generate = {"n": n, "params": {"max_tokens": 50}, **more.pop("generate", {})}
    prompts = {"source": "seeds.jsonl", **more.pop("prompts", {})}
    return Recipe.model_validate({"prompts": prompts, "generate": generate, **more})


def run(
    recipe: Recipe, endpoint: ScriptedEndpoint, *, concurrency: int = 8, **flags: Any
) -> RunSummary:
    environment = {
        "WEAVE_ASYNC_PROVIDER": "openai_compatible",
        "WEAVE_ASYNC_BASE_URL": endpoint.base_url,
        "WEAVE_ASYNC_MODEL": "scripted-model",
    }
    settings = Settings.from_environment(environment, None)
    settings = settings.with_flags(max_concurrency=concurrency, **flags)

    async def finished() -> RunSummary:
        async with Run(recipe, output_dir="out", settings=settings) as run:
            return await run.finish()

    return asyncio.run(asyncio.wait_for(finished(), 60))


def giving(most: int) -> Answer:
    """An endpoint that gives so many choices at most. Each counts its tokens and 10 of input."""

    def answer(request: RecordedRequest) -> Reply:
        if (body := request.body) is None:
            return json_reply({"data": []})
        num = min(body.get("n", 1), most)
        whole = chat_completion("")
        texts = [f"Answer {body['seed']} number {i} to {prompt_of(request)}" for i in range(num)]
        whole["choices"] = [
            {"index": i, "message": {"role": "assistant", "content": t}, "finish_reason": "stop"}
            for i, t in enumerate(texts)
        ]
        num_out = sum(len(text.split()) for text in texts)
        whole["usage"] = {"prompt_tokens": 10, "completion_tokens": num_out}
        return json_reply(whole)

    return answer


def prompt_of(request: RecordedRequest) -> str:
    return str(request.body["messages"][-1]["content"])


def asked(endpoint: ScriptedEndpoint) -> list[tuple[str, int]]:
    """Prompt and ``n`` of each completion that was asked for."""
    requests = [r for r in endpoint.requests if r.path.endswith("/completions")]
    return [(prompt_of(r), r.body.get("n", 1)) for r in requests]


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]


def require_sound() -> None:
    found = audit(Path("out"))
    assert found.passed, found.as_dict()


def test_one_request_brings_the_completions_of_a_prompt() -> None:
    with ScriptedEndpoint(giving(9)) as endpoint:
        summary = run(recipe_of(3, n=4), endpoint)
        assert sorted(asked(endpoint)) == [(f"Question {i}", 4) for i in range(3)]
    assert (summary.status, summary.written) == ("complete", 12)
    written = rows()
    questions = [row["messages"][0]["content"] for row in written]
    assert questions == [f"Question {i}" for i in range(3) for _ in range(4)]
    assert [row["lineage"]["sample_index"] for row in written] == [0, 1, 2, 3] * 3
    assert len({row["messages"][1]["content"] for row in written}) == 12
    require_sound()


def test_tokens_of_a_shared_request_are_counted_once() -> None:
    with ScriptedEndpoint(giving(9)) as endpoint:
        summary = run(recipe_of(3, n=4), endpoint)
    lineages = [row["lineage"] for row in rows()]
    said = sum(len(row["messages"][1]["content"].split()) for row in rows())
    assert (summary.input_tokens, summary.output_tokens) == (30, said)
    assert sum(lineage["input_tokens"] for lineage in lineages) == 30
    assert sum(lineage["output_tokens"] for lineage in lineages) == said
    journal = Journal(Path("out/journal"), asks={})
    assert journal.spent_tokens == 30 + said
    journal.close()


def test_an_endpoint_that_ignores_n_is_asked_one_by_one() -> None:
    with ScriptedEndpoint(giving(1)) as endpoint:
        summary = run(recipe_of(6, n=4), endpoint, concurrency=2)
        calls = asked(endpoint)
    assert (summary.status, summary.written) == ("complete", 24)
    assert len(calls) == 24
    assert sum(n > 1 for _, n in calls) <= 2, "it was known after the first answer"
    assert len({row["messages"][1]["content"] for row in rows()}) == 24
    require_sound()


@pytest.mark.parametrize("most", [2, 3])
def test_what_an_endpoint_leaves_out_is_asked_again(most: int) -> None:
    with ScriptedEndpoint(giving(most)) as endpoint:
        summary = run(recipe_of(3, n=4), endpoint)
        calls = asked(endpoint)
    assert (summary.status, summary.written) == ("complete", 12)
    assert sorted(n for _, n in calls) == sorted([4, 4 - most] * 3)
    require_sound()


@pytest.mark.parametrize("more", [{}, {"accept": 40}], ids=["all", "accept"])
def test_what_is_left_of_a_group_keeps_all_workers_busy(more: dict[str, Any]) -> None:
    give = giving(1)
    with ScriptedEndpoint(lambda request: replace(give(request), head_delay_s=0.1)) as endpoint:
        summary = run(recipe_of(2, n=40, **more), endpoint, concurrency=20)
    assert summary.written == (40 if more else 80)
    assert summary.elapsed_s < 2, "one after the other, forty take four seconds"


def test_a_group_that_no_minute_has_the_tokens_for_is_asked_in_parts() -> None:
    recipe = recipe_of(1, n=128)
    num_fitting = 40

    class Limited:
        async def ask(self, samples: Sequence[Sample]) -> Answered:
            [sample] = samples
            num = sample.request.num_choices
            if num > num_fitting:
                return Answered([sample.answered(failure_of(RequestTooLargeError("no"), 1))])
            return Answered(
                [
                    sample.answered(
                        Response("a", "stop", others=(Response("b", "stop"),) * (num - 1))
                    )
                ]
            )

    async def all_asked() -> list[int]:
        choices, sizes = Choices(Limited()), []
        plan = Plan(recipe, JsonlSource(path=Path("seeds.jsonl")), [Endpoint("e", "p", "m")])
        waiting: list[Sequence[Sample]] = [list(plan.samples())]
        while waiting:
            samples, left = await choices.ask(waiting.pop())
            assert all(sample.failure is None for sample in samples)
            sizes.append(len(samples))
            waiting += left
        return [size for size in sizes if size]

    assert asyncio.run(all_asked()) == [32] * 4


def test_an_endpoint_that_refuses_n_is_asked_without_it() -> None:
    give = giving(1)

    def answer(request: RecordedRequest) -> Reply:
        if (request.body or {}).get("n"):
            return error_reply(400, "Unrecognized request argument supplied: n")
        return give(request)

    with ScriptedEndpoint(answer) as endpoint:
        summary = run(recipe_of(3, n=3), endpoint, concurrency=1)
    assert (summary.status, summary.written) == ("complete", 9)
    require_sound()


def test_a_group_is_tried_again_as_one() -> None:
    give, failed = giving(9), []

    def answer(request: RecordedRequest) -> Reply:
        if request.body and not failed:
            failed.append("once")
            return error_reply(500)
        return give(request)

    with ScriptedEndpoint(answer) as endpoint:
        summary = run(recipe_of(1, n=3), endpoint)
        assert asked(endpoint) == [("Question 0", 3)] * 2
    assert (summary.status, summary.written) == ("complete", 3)
    require_sound()


def test_a_refused_prompt_fails_all_its_samples_with_one_request() -> None:
    give = giving(9)

    def answer(request: RecordedRequest) -> Reply:
        if request.body and prompt_of(request) == "Question 1":
            return error_reply(400, "context too long", "context_length_exceeded")
        return give(request)

    with ScriptedEndpoint(answer) as endpoint:
        summary = run(recipe_of(3, n=4), endpoint, concurrency=1)
        assert len(asked(endpoint)) == 3
    assert (summary.written, summary.failed) == (8, 4)
    require_sound()


def test_half_a_group_is_kept_and_the_other_half_is_asked_later() -> None:
    give, has_answered = giving(2), []

    def answer(request: RecordedRequest) -> Reply:
        if request.body and has_answered:
            return error_reply(401, "the key has expired")
        if request.body:
            has_answered.append("once")
        return give(request)

    recipe = recipe_of(1, n=4)
    with ScriptedEndpoint(answer) as endpoint:
        summary = run(recipe, endpoint)
    assert (summary.status, summary.written, summary.pending) == ("stopped", 2, 2)
    require_sound()
    first = rows()
    with ScriptedEndpoint(giving(9)) as endpoint:
        summary = run(recipe, endpoint)
        assert asked(endpoint) == [("Question 0", 2)]
    assert (summary.status, summary.written, summary.recalled) == ("complete", 4, 2)
    assert rows()[:2] == first
    require_sound()


def test_a_crash_between_the_answers_of_a_group_loses_only_those_not_written() -> None:
    recipe = recipe_of(2, n=3)
    with ScriptedEndpoint(giving(9)) as endpoint:
        run(recipe, endpoint, concurrency=1)
    before = rows()
    [segment] = Path("out/journal").glob("*.log")
    blob = segment.read_bytes()
    last_answer = blob.rindex(b'{"kind":"answer"')
    # What a power cut leaves: nobody had said yet that the rest is on the disk.
    segment.write_bytes(blob[: last_answer + 20])
    for name in ("samples.jsonl", "manifest.json"):
        Path("out", name).unlink()
    with ScriptedEndpoint(giving(9)) as endpoint:
        summary = run(recipe, endpoint)
        assert asked(endpoint) == [("Question 1", 1)]
    assert (summary.written, summary.recalled) == (6, 5)
    assert rows()[:5] == before[:5]
    require_sound()


def test_enough_accepted_rows_stop_the_asking_at_the_next_group() -> None:
    with ScriptedEndpoint(giving(9)) as endpoint:
        summary = run(recipe_of(50, n=4, accept=6), endpoint)
        assert len(asked(endpoint)) == 2
    assert (summary.written, summary.exit_code) == (6, 0)


def test_a_budget_counts_every_choice_that_may_come() -> None:
    # One request of 4 × 50 tokens and its question fits, and leaves too little for another.
    recipe = recipe_of(9, n=4, budget={"tokens": 300})
    with ScriptedEndpoint(giving(9)) as endpoint:
        summary = run(recipe, endpoint, concurrency=2)
        num_first = len(asked(endpoint))
    assert summary.status == "stopped"
    assert summary.input_tokens + summary.output_tokens <= 300
    assert num_first >= 1


def test_a_row_that_came_with_another_is_explained_by_the_call_that_brought_it() -> None:
    with ScriptedEndpoint(giving(9)) as endpoint:
        run(recipe_of(1, n=3), endpoint)
    told = explain(Path("out"), "samples:3")
    [call] = told.attempts
    assert call.outcome == "answered"
    assert told.answer is not None
    assert told.answer["text"] == rows()[2]["messages"][1]["content"]


def test_the_same_dataset_comes_out_at_any_concurrency() -> None:
    with ScriptedEndpoint(giving(2)) as endpoint:
        run(recipe_of(8, n=4), endpoint, concurrency=1)
        alone = Path("out/samples.jsonl").read_bytes()
    Path("out").rename("before")
    with ScriptedEndpoint(giving(2)) as endpoint:
        run(recipe_of(8, n=4), endpoint, concurrency=8)
    assert Path("out/samples.jsonl").read_bytes() == alone


def test_groups_larger_than_what_is_left_of_the_window_wait_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Room for one group and a bit: workers that each held a part would wait for ever.
    monkeypatch.setattr("weave_async.run.SMALLEST_WINDOW", 40)
    monkeypatch.setattr("weave_async.run.WINDOW_PER_REQUEST", 1)
    with ScriptedEndpoint(giving(20)) as endpoint:
        summary = run(recipe_of(12, n=32), endpoint, concurrency=8)
    assert (summary.status, summary.written) == ("complete", 12 * 32)
    require_sound()


def test_groups_of_an_endpoint_that_is_left_go_whole_to_another() -> None:
    def refuse(request: RecordedRequest) -> Reply:
        return error_reply(401, "no such key")

    recipe = recipe_of(6, n=3, generate={"mix": [{"endpoint": "a"}, {"endpoint": "b"}]})
    with ScriptedEndpoint(giving(9)) as good, ScriptedEndpoint(refuse) as bad:
        environment = {}
        for name, endpoint in (("A", good), ("B", bad)):
            prefix = f"WEAVE_ASYNC_ENDPOINTS__{name}__"
            environment[prefix + "PROVIDER"] = "openai_compatible"
            environment[prefix + "BASE_URL"] = endpoint.base_url
            environment[prefix + "MODEL"] = f"model-{name}"

        async def finished() -> RunSummary:
            settings = Settings.from_environment(environment, None)
            async with Run(recipe, output_dir="out", settings=settings) as run:
                return await run.finish()

        summary = asyncio.run(asyncio.wait_for(finished(), 60))
        assert sorted(asked(good)) == [(f"Question {i}", 3) for i in range(6)]
    assert (summary.status, summary.written) == ("complete", 18)
    assert {row["lineage"]["model"] for row in rows()} == {"model-A"}
    require_sound()


@given(
    st.lists(st.tuples(st.text(max_size=30), st.text(max_size=9)), min_size=1, max_size=9),
    st.integers(0, 100_000),
    st.integers(0, 100_000),
)
def test_usage_is_divided_with_an_exact_sum(
    texts: list[tuple[str, str]], num_in: int, num_out: int
) -> None:
    choices = [Response(text, "stop", reasoning=thought) for text, thought in texts]
    first = Response(*texts[0][:1], "stop", reasoning=texts[0][1], usage=Usage(num_in, num_out))
    whole = Response(
        first.text, "stop", reasoning=first.reasoning, usage=first.usage, others=tuple(choices[1:])
    )
    parts = divided(whole, len(choices))
    assert [part.text for part in parts] == [text for text, _ in texts]
    assert sum(part.usage.input_tokens or 0 for part in parts) == num_in
    assert sum(part.usage.output_tokens or 0 for part in parts) == num_out
    assert all(not part.others for part in parts)


def test_usage_that_nobody_counted_stays_unknown() -> None:
    whole = Response("a", "stop", others=(Response("b", "stop"),), usage=Usage(None, 4))
    assert [part.usage for part in divided(whole, 2)] == [Usage(None, 4), Usage()]


def test_more_choices_than_were_asked_for_are_left() -> None:
    whole = Response("a", "stop", others=(Response("b", "stop"), Response("c", "stop")))
    assert [part.text for part in divided(whole, 2)] == ["a", "b"]
