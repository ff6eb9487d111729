"""Answers that must have a shape, through whole runs: asked again, counted, rejected, resumed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from weave_async import Recipe, Run, RunSummary, Settings
from weave_async.audit import audit
from weave_async.errors import RecipeError, RunFolderError
from weave_async.explanation import explain
from weave_async.journal import calls
from weave_async.journal.segments import list_segments
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_completion,
    chat_reply,
    error_reply,
    json_reply,
)

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
GOOD, BAD, WORSE = '{"city": "Oslo"}', '{"town": "Oslo"}', "Oslo, I think"


def recipe_of(num_rows: int = 1, **generate: Any) -> Recipe:
    rows = [{"text": f"Where is number {i}?"} for i in range(num_rows)]
    Path("seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    params = {"max_tokens": 100, "schema": SCHEMA, **generate.pop("params", {})}
    return Recipe.model_validate(
        {
            "seed": 7,
            "budget": generate.pop("budget", {}),
            "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
            "generate": {"params": params, **generate},
        }
    )


def env_of(endpoint: ScriptedEndpoint) -> dict[str, str]:
    return {
        "WEAVE_ASYNC_PROVIDER": "openai_compatible",
        "WEAVE_ASYNC_MODEL": "any",
        "WEAVE_ASYNC_BASE_URL": endpoint.base_url,
        "WEAVE_ASYNC_API_KEY": "sk-test",
        "WEAVE_ASYNC_MAX_CONCURRENCY": "4",
    }


def make(recipe: Recipe, endpoint: ScriptedEndpoint, **options: Any) -> RunSummary:
    async def run_it() -> RunSummary:
        settings = Settings.from_environment(env_of(endpoint), None)
        async with Run(recipe, output_dir="out", settings=settings, **options) as run:
            return await run.finish()

    return asyncio.run(run_it())


def in_turn(*texts: str | Reply) -> Callable[[RecordedRequest], Reply]:
    """For each row: the first text to its first question, the next ones to what follows."""
    numbers: dict[str, int] = {}

    def script(request: RecordedRequest) -> Reply:
        if request.method == "GET":
            return json_reply({"data": []})  # the list of models
        question = request.body["messages"][0]["content"]
        number = numbers[question] = numbers.get(question, -1) + 1
        answer = texts[min(number, len(texts) - 1)]
        return answer if isinstance(answer, Reply) else chat_reply(answer)

    return script


def giving_all(*texts: str) -> Callable[[RecordedRequest], Reply]:
    """To each request, all of these as choices."""
    document = chat_completion(texts[0])
    [choice] = document["choices"]
    document["choices"] = [
        {**choice, "index": index, "message": {"role": "assistant", "content": text}}
        for index, text in enumerate(texts)
    ]
    return lambda request: json_reply({"data": []} if request.method == "GET" else document)


def rows_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out", f"{name}.jsonl").read_text().splitlines()]


def asked(endpoint: ScriptedEndpoint) -> list[RecordedRequest]:
    return [request for request in endpoint.requests if request.method == "POST"]


def used(segments: Path) -> int:
    return sum(account.tokens for account in calls.spent(list_segments(segments)).values())


def assert_sound() -> None:
    for check in audit(Path("out")).checks:
        assert check.passed, check


def test_a_bad_answer_is_asked_for_again_with_what_is_wrong() -> None:
    with ScriptedEndpoint(in_turn(WORSE, BAD, GOOD)) as endpoint:
        summary = make(recipe_of(), endpoint)
        first, second, third = [request.body for request in asked(endpoint)]
        ids = [request.headers["x-client-request-id"] for request in asked(endpoint)]
    assert (summary.written, summary.retries) == (1, {"schema_mismatch": 2})
    assert second["messages"][:1] == third["messages"][:1] == first["messages"]
    assert second["messages"][1] == {"role": "assistant", "content": WORSE}
    assert "Expecting value" in second["messages"][2]["content"]
    assert [message["content"] for message in third["messages"][1:2]] == [BAD]
    assert "'city' is a required property" in third["messages"][2]["content"]
    assert len({body["seed"] for body in (first, second, third)}) == 3
    assert len(set(ids)) == 3
    assert len({name.rpartition("-")[0] for name in ids}) == 1, "they are one request"
    assert_sound()


def test_the_row_is_the_planned_question_with_the_last_answer() -> None:
    with ScriptedEndpoint(in_turn(BAD, f"```json\n{GOOD}\n```")) as endpoint:
        make(recipe_of(), endpoint)
        seed = asked(endpoint)[0].body["seed"]
    [row] = rows_of("samples")
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert row["messages"][1]["content"] == GOOD, "the fence is the model's habit, not the lesson"
    assert row["lineage"]["regenerations"] == 1
    assert row["lineage"]["params"]["seed"] == seed


@pytest.mark.parametrize(("text", "reason"), [(BAD, "schema_mismatch"), (WORSE, "not_json")])
def test_an_answer_that_never_fits_is_rejected_with_its_reason(text: str, reason: str) -> None:
    with ScriptedEndpoint(in_turn(text)) as endpoint:
        summary = make(recipe_of(num_rows=3), endpoint)
        assert len(asked(endpoint)) == 3 * 3
    assert summary.rejected_by_reason == {f"schema: {reason}": 3}
    row = rows_of("rejected")[0]
    assert (row["stage"], row["rule"], row["reason"]) == ("validation", "schema", reason)
    assert row["evidence"]["path"] == "$"
    assert row["evidence"]["message"]
    assert row["lineage"]["regenerations"] == 2
    assert_sound()


def test_what_is_not_kept_is_counted_as_it_was_used() -> None:
    with ScriptedEndpoint(in_turn(WORSE, BAD, GOOD)) as endpoint:
        summary = make(recipe_of(num_rows=2), endpoint)
    output_tokens = 2 * sum(len(text.split()) for text in (WORSE, BAD, GOOD))
    assert (summary.input_tokens, summary.output_tokens) == (2 * 3 * 19, output_tokens)
    assert used(Path("out/journal")) == 2 * 3 * 19 + output_tokens


def test_a_resumed_run_asks_nothing_and_writes_the_same() -> None:
    recipe = recipe_of(num_rows=5)
    with ScriptedEndpoint(in_turn(BAD, GOOD)) as endpoint:
        make(recipe, endpoint)
        before = Path("out/samples.jsonl").read_bytes()
        num_requests = len(asked(endpoint))
        summary = make(recipe, endpoint)
        assert len(asked(endpoint)) == num_requests == 10
    assert summary.recalled == 5
    assert Path("out/samples.jsonl").read_bytes() == before


def test_a_run_that_ends_between_two_answers_begins_that_row_anew() -> None:
    recipe = recipe_of()
    replies: Sequence[str | Reply] = (BAD, error_reply(401, "no such key"), BAD, GOOD)
    with ScriptedEndpoint(in_turn(*replies)) as endpoint:
        stopped = make(recipe, endpoint)
        assert (stopped.status, stopped.pending) == ("stopped", 1)
        assert_sound()
        summary = make(recipe, endpoint)
        ids = [request.headers["x-client-request-id"] for request in asked(endpoint)]
    assert (summary.written, len(set(ids))) == (1, 4)
    num_output = sum(len(text.split()) for text in (BAD, BAD, GOOD))
    assert used(Path("out/journal")) == 3 * 19 + num_output
    assert_sound()


def test_a_run_killed_while_it_asks_again_loses_no_count_of_what_it_has_bought() -> None:
    recipe_of()  # the rows
    schema = json.dumps(SCHEMA)
    Path("recipe.yaml").write_text(
        "prompts: {source: seeds.jsonl, template: '{{ text }}'}\n"
        f"generate: {{params: {{max_tokens: 100, schema: {schema}}}}}\n"
    )
    script = in_turn(BAD, Reply(head_delay_s=60.0), BAD, GOOD)
    with ScriptedEndpoint(script) as endpoint:
        env = {
            **os.environ,
            **env_of(endpoint),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        command = [sys.executable, "-m", "weave_async.cli", "run", "recipe.yaml", "-o", "out"]
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        try:
            while len(asked(endpoint)) < 2:
                assert process.poll() is None
                time.sleep(0.01)
        finally:
            process.kill()
            process.wait()
        summary = make(Recipe.load("recipe.yaml"), endpoint)
        assert len(asked(endpoint)) == 4
    assert summary.written == 1
    known = 3 * 19 + sum(len(text.split()) for text in (BAD, BAD, GOOD))
    assert used(Path("out/journal")) > known + 100, "the call that was out counts at its worst"
    assert_sound()


def test_a_call_of_which_nobody_has_said_what_it_used_is_counted_at_its_worst() -> None:
    document = chat_completion(BAD)
    del document["usage"]
    with ScriptedEndpoint(in_turn(json_reply(document), GOOD)) as endpoint:
        make(recipe_of(), endpoint)
    assert used(Path("out/journal")) > 100 + 19 + len(GOOD.split())


def test_asking_again_stays_within_the_budget() -> None:
    recipe = recipe_of(budget={"tokens": 400})
    with ScriptedEndpoint(in_turn(BAD, GOOD)) as endpoint:
        summary = make(recipe, endpoint)
        assert (summary.status, summary.pending, len(asked(endpoint))) == ("stopped", 1, 1)
        summary = make(recipe.with_changes(budget={"tokens": 2_000}), endpoint)
    assert summary.written == 1


@pytest.mark.parametrize("finish_reason", ["length", "content_filter", "tool_calls"])
def test_what_another_try_would_not_mend_is_not_asked_for_again(finish_reason: str) -> None:
    document = chat_completion(BAD)
    document["choices"][0]["finish_reason"] = finish_reason
    with ScriptedEndpoint(in_turn(json_reply(document))) as endpoint:
        summary = make(recipe_of(), endpoint)
        assert len(asked(endpoint)) == 1
    assert summary.rejected == 1


def test_with_no_regenerations_an_answer_is_only_judged() -> None:
    with ScriptedEndpoint(in_turn(BAD)) as endpoint:
        summary = make(recipe_of(max_regenerations=0), endpoint)
        assert len(asked(endpoint)) == 1
    assert summary.rejected_by_reason == {"schema: schema_mismatch": 1}


def test_an_error_in_asking_again_is_retried_like_any_other() -> None:
    with ScriptedEndpoint(in_turn(BAD, error_reply(500, "oops"), GOOD)) as endpoint:
        summary = make(recipe_of(), endpoint)
    assert summary.written == 1
    assert rows_of("samples")[0]["lineage"]["regenerations"] == 1
    assert_sound()


@pytest.mark.parametrize("texts", [(BAD, GOOD, BAD), (GOOD, BAD, BAD)])
def test_of_several_completions_of_a_prompt_each_bad_one_is_asked_for_again(
    texts: Sequence[str],
) -> None:
    document = chat_completion(GOOD)
    [choice] = document["choices"]
    document["choices"] = [
        {**choice, "index": index, "message": {"role": "assistant", "content": text}}
        for index, text in enumerate(texts)
    ]
    document["usage"]["completion_tokens"] = 40
    with ScriptedEndpoint(in_turn(json_reply(document), GOOD)) as endpoint:
        summary = make(recipe_of(n=3), endpoint)
        ids = [request.headers["x-client-request-id"] for request in asked(endpoint)]
        assert [request.body.get("n", 1) for request in asked(endpoint)] == [3, 1, 1]
    assert (summary.written, len(set(ids))) == (3, 3)
    assert sorted(row["lineage"]["regenerations"] for row in rows_of("samples")) == [0, 1, 1]
    assert used(Path("out/journal")) == 3 * 19 + 40 + 2 * len(GOOD.split())
    assert_sound()


def test_answers_that_came_with_a_bad_one_are_kept_when_the_asking_ends() -> None:
    document = chat_completion(GOOD)
    [choice] = document["choices"]
    document["choices"] = [
        {**choice, "index": index, "message": {"role": "assistant", "content": text}}
        for index, text in enumerate((GOOD, BAD))
    ]
    refused = error_reply(401, "no such key")
    script = in_turn(json_reply(document), refused, GOOD)
    with ScriptedEndpoint(script) as endpoint:
        summary = make(recipe_of(n=2), endpoint)
        assert (summary.status, summary.written, summary.pending) == ("stopped", 1, 1)
        assert_sound()
        summary = make(recipe_of(n=2), endpoint)
    assert (summary.written, summary.recalled) == (2, 1)
    assert_sound()


def test_answers_that_came_with_a_bad_one_are_kept_while_that_is_asked_for_again() -> None:
    recipe = recipe_of(n=4)
    delay_s = 60.0

    def script(request: RecordedRequest) -> Reply:
        if request.method == "GET" or len(request.body["messages"]) == 1:
            return giving_all(GOOD, BAD, GOOD, GOOD)(request)
        return chat_reply(GOOD, head_delay_s=delay_s)

    async def dropped(endpoint: ScriptedEndpoint) -> RunSummary:
        settings = Settings.from_environment(env_of(endpoint), None)
        async with Run(recipe, output_dir="out", settings=settings) as run:
            finishing = asyncio.create_task(run.finish())
            while len(asked(endpoint)) < 2:
                await asyncio.sleep(0.01)
            run.interrupt(drop_in_flight=True)
            return await finishing

    with ScriptedEndpoint(script) as endpoint:
        summary = asyncio.run(asyncio.wait_for(dropped(endpoint), 30))
        # What was on its way through the stages may have been dropped, too: the journal has it.
        assert summary.status == "interrupted"
        assert summary.written <= 3
        assert summary.written + summary.pending == 4
        delay_s = 0.0
        summary = make(recipe, endpoint)
        assert (summary.written, summary.recalled) == (4, 3)
    assert_sound()


def test_bad_answers_that_came_together_are_mended_at_the_same_time() -> None:
    def script(request: RecordedRequest) -> Reply:
        if request.method == "GET" or len(request.body["messages"]) == 1:
            return giving_all(*[BAD] * 4)(request)
        return chat_reply(GOOD, head_delay_s=0.5)

    with ScriptedEndpoint(script) as endpoint:
        summary = make(recipe_of(n=4), endpoint)
        others = [request.arrived_s for request in asked(endpoint)[1:]]
    assert (summary.written, len(others)) == (4, 4)
    assert max(others) - min(others) < 0.4
    assert_sound()


def test_explain_shows_each_answer_that_was_not_kept_and_why() -> None:
    with ScriptedEndpoint(in_turn(BAD, GOOD)) as endpoint:
        make(recipe_of(), endpoint)
    found = explain(Path("out"), "samples:1")
    assert [attempt.outcome for attempt in found.attempts] == ["missed", "answered"]
    assert "'city' is a required property" in found.attempts[0].reason
    assert ("validation", "schema", "passed") in [
        (s.stage, s.name, s.verdict) for s in found.stages
    ]


# --- the recipe ----------------------------------------------------------------------------------


def load(schema: str) -> Recipe:
    Path("seeds.jsonl").write_text('{"text": "Where?"}\n')
    Path("recipe.yaml").write_text(
        f"prompts: {{source: seeds.jsonl}}\ngenerate: {{params: {{schema: {schema}}}}}\n"
    )
    return Recipe.load("recipe.yaml")


def test_a_schema_stands_in_a_file_beside_the_recipe_or_in_it() -> None:
    Path("answer.schema.json").write_text(json.dumps(SCHEMA))
    assert load("answer.schema.json").answer_schema == SCHEMA
    assert load(json.dumps(SCHEMA)).answer_schema == SCHEMA
    assert load("null").answer_schema is None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("missing.json", r"generate\.params\.schema: cannot read missing\.json: No such file"),
        ("{type: strin}", r"generate\.params\.schema: \$\.type"),
        ("3", "schema"),
    ],
)
def test_a_bad_schema_is_told_of_when_the_recipe_is_read(schema: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load(schema)


def test_a_misspelt_parameter_is_told_the_names_a_recipe_uses() -> None:
    with pytest.raises(RecipeError, match=r"did you mean 'schema'\?|schema\b") as caught:
        Recipe.parse("prompts: {source: a}\ngenerate: {params: {shema: x}}")
    assert "schema_" not in str(caught.value)


def test_the_recipe_in_the_run_folder_holds_the_schema_itself() -> None:
    Path("answer.schema.json").write_text(json.dumps(SCHEMA))
    recipe = load("answer.schema.json")
    with ScriptedEndpoint(in_turn(GOOD)) as endpoint:
        make(recipe, endpoint)
        Path("answer.schema.json").unlink()
        kept = Recipe.load("out/recipe.yaml")
        assert kept.answer_schema == SCHEMA
        assert make(kept, endpoint).recalled == 1


def test_answers_to_another_schema_are_not_mixed_in_unasked() -> None:
    with ScriptedEndpoint(in_turn(GOOD)) as endpoint:
        make(recipe_of(), endpoint)
        reordered = dict(reversed(SCHEMA.items()))
        assert make(recipe_of(params={"schema": reordered}), endpoint).recalled == 1
        other = recipe_of(params={"schema": {**SCHEMA, "title": "Places"}})
        with pytest.raises(RunFolderError, match=r"generate\.params\.schema"):
            make(other, endpoint)
        assert make(other, endpoint, accept_changes=True).recalled == 0


def test_a_validator_or_the_number_of_regenerations_changes_no_question() -> None:
    with ScriptedEndpoint(in_turn(BAD)) as endpoint:
        make(recipe_of(), endpoint)
        num_requests = len(asked(endpoint))
        summary = make(recipe_of(max_regenerations=5), endpoint)
        assert len(asked(endpoint)) == num_requests
    assert summary.recalled == 1
