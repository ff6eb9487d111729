"""What stages ask models: once, within limits and budget, durable before anybody sees it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consultation_bench import FIRST, Bench, opened, recipe_of, says, settings_of, with_models
from invariants import completions
from weave_async.audit import audit
from weave_async.errors import (
    AuthenticationError,
    BudgetError,
    ConsultationError,
    ConsultationNeeded,
    QuotaError,
    RecipeError,
    RunFolderError,
    Unsent,
)
from weave_async.explanation import explain
from weave_async.journal import calls
from weave_async.journal.segments import list_segments
from weave_async.metrics.ledger import RunMetrics
from weave_async.records import Consulted, Message, Response, Sample, SamplingParams
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_reply,
    error_reply,
)

MakeSample = Callable[..., Sample]
QUESTION = [Message("user", "Is it good?")]
SHORT = SamplingParams(max_tokens=20)


def sent_frames() -> int:
    found = audit(Path("out"))
    check = next(c for c in found.checks if c.name.startswith("sent =") and "consult" in c.name)
    assert check.passed
    return int(check.counted.split()[0])


async def asked(bench: Bench, sample: Sample, **options: Any) -> Response:
    return await bench.consult(sample)(FIRST, QUESTION, params=SHORT, **options)


def test_a_question_is_bought_once_in_a_run_and_never_again_by_a_later_one(
    make_sample: MakeSample,
) -> None:
    sample = make_sample()

    async def scenario(endpoint: ScriptedEndpoint) -> tuple[list[str], RunMetrics]:
        async with opened(endpoint) as bench:
            together = await asyncio.gather(*(asked(bench, sample) for _ in range(5)))
            later = await asked(bench, sample)
            return [each.text for each in (*together, later)], bench.metrics

    with ScriptedEndpoint(says("yes")) as endpoint:
        texts, metrics = asyncio.run(scenario(endpoint))
        assert texts == ["yes"] * 6
        assert (metrics.consultations.asked, metrics.consultations.recalled) == (1, 1)
        assert metrics.tokens == {"main": [19, 1]}
        texts, metrics = asyncio.run(scenario(endpoint))
        assert texts == ["yes"] * 6
        assert (metrics.consultations.asked, metrics.consultations.recalled) == (0, 6)
        assert metrics.tokens == {}
        assert len(completions(endpoint.requests)) == 1 == sent_frames()


def test_draws_samples_copies_questions_and_parameters_are_questions_of_their_own(
    make_sample: MakeSample,
) -> None:
    sample = make_sample()

    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            await asked(bench, sample)
            await asked(bench, sample, draw=1)
            await asked(bench, sample, schema={"type": "string"})
            await asked(bench, replace(sample, copy=1))
            await asked(bench, make_sample(ordinal=1))
            consult = bench.consult(sample)
            await consult(FIRST, [Message("user", "Is it bad?")], params=SHORT)
            await consult(FIRST, QUESTION, params=replace(SHORT, temperature=0.5))
            await consult(FIRST, QUESTION, params=replace(SHORT, max_tokens=21))

    with ScriptedEndpoint(says("yes")) as endpoint:
        asyncio.run(scenario(endpoint))
        bodies = [request.body for request in completions(endpoint.requests)]
    assert len(bodies) == 7, "an answer within its bound stands under a larger one, too"
    assert len({body["seed"] for body in bodies[:2]}) == 2, "draws differ in their seed"


def test_an_answer_is_durable_before_the_stage_sees_it(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            response = await asked(bench, make_sample())
            written = b"".join(path.read_bytes() for path in Path("out/consultations").iterdir())
            assert response.text.encode() in written
            assert b'"stage":"judge"' in written

    with ScriptedEndpoint(says("a very telling verdict")) as endpoint:
        asyncio.run(scenario(endpoint))


def test_a_paid_answer_is_kept_though_whoever_asked_was_cancelled(make_sample: MakeSample) -> None:
    sample = make_sample()

    async def cancelled(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            asking = asyncio.create_task(asked(bench, sample))
            while not completions(endpoint.requests):
                await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert len(asyncio.all_tasks()) == 1, "no task is left behind"

    async def again(endpoint: ScriptedEndpoint) -> str:
        async with opened(endpoint) as bench:
            return (await asked(bench, sample)).text

    slow = with_models(lambda request: chat_reply("paid for", head_delay_s=0.2))
    with ScriptedEndpoint(slow) as endpoint:
        asyncio.run(cancelled(endpoint))
        assert asyncio.run(again(endpoint)) == "paid for"
        assert len(completions(endpoint.requests)) == 1 == sent_frames()


def test_at_the_end_nothing_that_nobody_waits_for_is_tried_again(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            asking = asyncio.create_task(asked(bench, make_sample()))
            while not completions(endpoint.requests):
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.wait([asking])
        assert len(asyncio.all_tasks()) == 1

    failing = with_models(lambda request: error_reply(500, head_delay_s=0.2))
    with ScriptedEndpoint(failing) as endpoint:
        asyncio.run(scenario(endpoint))
        assert len(completions(endpoint.requests)) == 1 == sent_frames()


def test_a_question_without_an_answer_is_asked_again_by_a_later_run_only(
    make_sample: MakeSample,
) -> None:
    sample = make_sample()

    async def scenario(endpoint: ScriptedEndpoint) -> RunMetrics:
        async with opened(endpoint) as bench:
            for _ in range(2):
                with pytest.raises(ConsultationError, match=r"content_filter: .*too rude"):
                    await asked(bench, sample)
            return bench.metrics

    refuse = with_models(lambda request: error_reply(400, "too rude", "content_filter"))
    with ScriptedEndpoint(refuse) as endpoint:
        metrics = asyncio.run(scenario(endpoint))
        assert (metrics.consultations.asked, metrics.consultations.failed) == (1, 1)
        asyncio.run(scenario(endpoint))
        assert len(completions(endpoint.requests)) == 2 == sent_frames()


def test_what_stops_an_endpoint_reaches_the_stage_as_it_is(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            with pytest.raises(AuthenticationError):
                await asked(bench, make_sample())

    with ScriptedEndpoint(with_models(lambda request: error_reply(401, "no"))) as endpoint:
        asyncio.run(scenario(endpoint))


def test_an_endpoint_of_the_mix_is_the_same_gate_and_another_model_is_another(
    make_sample: MakeSample,
) -> None:
    by_name, by_model = Consulted("main"), Consulted("main", "small")
    other, twin = Consulted(model="large"), Consulted("twin")
    consulted = (FIRST, by_name, by_model, other, twin)

    async def scenario(endpoint: ScriptedEndpoint) -> list[str]:
        settings = settings_of(
            endpoint,
            WEAVE_ASYNC_ENDPOINTS__TWIN__BASE_URL=endpoint.base_url,
            WEAVE_ASYNC_ENDPOINTS__TWIN__API_KEY="sk-test",
            WEAVE_ASYNC_ENDPOINTS__TWIN__MODEL="small",
            WEAVE_ASYNC_ENDPOINTS__TWIN__MAX_CONCURRENCY="2",
            WEAVE_ASYNC_ENDPOINTS__MAIN__MODEL="",
        )
        recipe = recipe_of(generate={"mix": [{"endpoint": "main", "model": "small"}]})
        async with opened(endpoint, recipe, consulted=consulted, settings=settings) as bench:
            assert set(bench.dispatchers) == {"main", "main#2"}
            for number, whom in enumerate(consulted):
                consult = bench.consult(make_sample(ordinal=number))
                await consult(whom, QUESTION, params=SHORT)
            return [bench.advisors[whom].endpoint.name for whom in consulted]

    with ScriptedEndpoint(says("yes")) as endpoint:
        names = asyncio.run(scenario(endpoint))
        models = [request.body["model"] for request in completions(endpoint.requests)]
    assert names == ["main", "main", "main", "main#2", "main"]
    assert models == ["small", "small", "small", "large", "small"]


def test_no_more_than_the_endpoint_takes_are_in_flight(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> int:
        async with opened(endpoint) as bench:
            dispatcher, most = bench.dispatchers["main"], 0
            samples = [make_sample(ordinal=number) for number in range(12)]
            asking = [asyncio.create_task(asked(bench, each)) for each in samples]
            while not all(task.done() for task in asking):
                most = max(most, dispatcher.admission.in_flight)
                await asyncio.sleep(0.005)
            return most

    slow = with_models(lambda request: chat_reply("yes", head_delay_s=0.03))
    with ScriptedEndpoint(slow) as endpoint:
        assert asyncio.run(scenario(endpoint)) == 2


def test_what_consultations_cost_counts_in_the_budget_of_this_run_and_of_the_next(
    make_sample: MakeSample,
) -> None:
    recipe = recipe_of(budget={"tokens": 400})

    async def scenario(endpoint: ScriptedEndpoint, first: int) -> int:
        async with opened(endpoint, recipe) as bench:
            budget = bench.dispatchers["main"].budget
            assert budget is not None
            spent_before = budget.spent.tokens
            with pytest.raises(BudgetError):
                for number in range(first, first + 100):
                    await asked(bench, make_sample(ordinal=number))
            assert budget.spent.tokens + budget.reserved.tokens <= 400
            return spent_before

    with ScriptedEndpoint(says("yes")) as endpoint:
        assert asyncio.run(scenario(endpoint, first=0)) == 0
        num_bought = len(completions(endpoint.requests))
        assert 0 < num_bought <= 20
        assert asyncio.run(scenario(endpoint, first=1000)) == 20 * num_bought
        assert len(completions(endpoint.requests)) == num_bought
    [account] = [
        each
        for each in calls.spent(list_segments(Path("out/consultations"))).values()
        if each.tokens
    ]
    assert account.tokens == 20 * num_bought


def test_a_replay_answers_from_the_journal_and_counts_what_it_would_have_to_ask(
    make_sample: MakeSample,
) -> None:
    known, unknown = make_sample(ordinal=0), make_sample(ordinal=1)

    async def ask_one(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            await asked(bench, known)

    async def replay(endpoint: ScriptedEndpoint) -> RunMetrics:
        async with opened(endpoint, is_replay=True) as bench:
            assert (await asked(bench, known)).text == "yes"
            with pytest.raises(ConsultationNeeded, match="would have to ask main"):
                await asked(bench, unknown)
            return bench.metrics

    with ScriptedEndpoint(says("yes")) as endpoint:
        asyncio.run(ask_one(endpoint))
        before = sorted(path.name for path in Path("out/consultations").iterdir())
        counts = asyncio.run(replay(endpoint)).consultations
        assert (counts.asked, counts.recalled, counts.needed) == (0, 1, 1)
        assert sorted(path.name for path in Path("out/consultations").iterdir()) == before
        assert len(completions(endpoint.requests)) == 1


def test_a_stop_lets_in_what_is_out_and_lets_go_of_what_waits(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> tuple[int, int]:
        async with opened(endpoint) as bench:
            samples = [make_sample(ordinal=number) for number in range(6)]
            asking = [asyncio.create_task(asked(bench, each)) for each in samples]
            while len(completions(endpoint.requests)) < 2:
                await asyncio.sleep(0.01)
            for dispatcher in bench.dispatchers.values():
                dispatcher.stop()
            bench.consultations.stop()
            ended = await asyncio.gather(*asking, return_exceptions=True)
            with pytest.raises(Unsent):
                await asked(bench, make_sample(ordinal=7))
        return (
            sum(isinstance(each, Response) for each in ended),
            sum(isinstance(each, Unsent) for each in ended),
        )

    slow = with_models(lambda request: chat_reply("yes", head_delay_s=0.3))
    with ScriptedEndpoint(slow) as endpoint:
        assert asyncio.run(scenario(endpoint)) == (2, 4)
        assert len(completions(endpoint.requests)) == 2 == sent_frames()


def test_abandoned_questions_raise_unsent_and_leave_no_task(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            asking = asyncio.create_task(asked(bench, make_sample()))
            while not completions(endpoint.requests):
                await asyncio.sleep(0.01)
            bench.consultations.abandon()
            with pytest.raises(Unsent):
                await asking
        assert len(asyncio.all_tasks()) == 1

    slow = with_models(lambda request: chat_reply("yes", head_delay_s=5.0))
    with ScriptedEndpoint(slow) as endpoint:
        asyncio.run(scenario(endpoint))
    assert any("1 calls were out" in note for note in audit(Path("out")).notes)


def test_an_unknown_endpoint_is_refused_with_what_there_is(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint, consulted=(Consulted("jugde"),)):
            pass

    with ScriptedEndpoint(says("yes")) as endpoint:
        with pytest.raises(
            RecipeError, match=r"consults 'jugde': unknown provider .* Known: .*main"
        ):
            asyncio.run(scenario(endpoint))
        assert not endpoint.requests


def test_a_stage_may_only_ask_whom_it_has_named(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            with pytest.raises(LookupError, match="none of those that 'judge' says it consults"):
                await bench.consult(make_sample())(Consulted("x"), QUESTION, params=SHORT)

    with ScriptedEndpoint(says("yes")) as endpoint:
        asyncio.run(scenario(endpoint))


def test_a_simulated_judge_of_real_answers_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint, consulted=(Consulted("simulated"),)):
            pass

    with ScriptedEndpoint(says("yes")) as endpoint:
        asyncio.run(scenario(endpoint))
    assert "real answers are judged or rewritten by simulated" in caplog.text


def test_explain_shows_what_was_asked_about_a_row_and_of_no_other(make_sample: MakeSample) -> None:
    sample, other = make_sample(ordinal=1), make_sample(ordinal=2)

    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            bench.journal_of_samples.record(sample)
            for each in (sample, other, replace(sample, copy=1)):
                await asked(bench, each, draw=3)
            endpoint_says.append("x" * 1000)
            await bench.consult(sample, "pairwise")(FIRST, QUESTION, params=SHORT)

    endpoint_says = ["a telling verdict"]
    script = with_models(lambda request: chat_reply(endpoint_says[-1]))
    with ScriptedEndpoint(script) as endpoint:
        asyncio.run(scenario(endpoint))
    first, second = explain(Path("out"), sample.sample_id).consultations
    assert (first.stage, first.model, first.draw, first.run) == ("judge", "small", 3, 1)
    assert first.answer == "a telling verdict"
    assert first.place.startswith("000001")
    assert (second.stage, len(second.answer)) == ("pairwise", 400)


def test_damage_in_the_journal_of_consultations_is_found(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            for number in range(3):
                await asked(bench, make_sample(ordinal=number))

    with ScriptedEndpoint(says("a telling verdict")) as endpoint:
        asyncio.run(scenario(endpoint))
    [segment] = Path("out/consultations").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[content.index(b"a telling verdict")] ^= 1
    segment.write_bytes(content)
    bad = [check for check in audit(Path("out")).checks if not check.passed]
    assert [check.name for check in bad][:1] == [
        "every frame of the journal of the consultations is whole"
    ]


def test_where_the_journal_is_gone_whoever_asks_is_told_and_nobody_waits_for_ever(
    make_sample: MakeSample,
) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            await asked(bench, make_sample(ordinal=0))
            shutil.rmtree("out/consultations")
            with pytest.raises(RunFolderError, match="consultations"):
                for number in range(1, 1000):
                    await asked(bench, make_sample(ordinal=number))
            with pytest.raises(RunFolderError, match="consultations"):
                await asyncio.gather(asked(bench, make_sample(ordinal=1000)))

    with ScriptedEndpoint(says("yes")) as endpoint:
        asyncio.run(asyncio.wait_for(scenario(endpoint), 30))


def test_a_consultation_stays_with_its_endpoint_while_that_one_is_down(
    make_sample: MakeSample,
) -> None:
    """Samples go elsewhere then; another model's word would be another judge's."""
    other = Consulted("other")
    mix = [{"endpoint": "main"}, {"endpoint": "other"}]
    recipe = recipe_of(generate={"mix": mix, "attempts": 100})
    is_down = True

    def script(request: RecordedRequest) -> Reply:
        if request.body["model"] == "strict" and is_down:
            return error_reply(503)
        return chat_reply(request.body["model"])

    async def scenario(endpoint: ScriptedEndpoint) -> str:
        nonlocal is_down
        settings = settings_of(
            endpoint,
            WEAVE_ASYNC_ENDPOINTS__OTHER__BASE_URL=endpoint.base_url,
            WEAVE_ASYNC_ENDPOINTS__OTHER__API_KEY="sk-test",
            WEAVE_ASYNC_ENDPOINTS__OTHER__MODEL="strict",
        )
        async with opened(endpoint, recipe, consulted=(other,), settings=settings) as bench:
            dispatcher = bench.dispatchers["other"]
            consult = bench.consult(make_sample())
            asking = asyncio.create_task(consult(other, QUESTION, params=SHORT))
            while not completions(endpoint.requests):
                await asyncio.sleep(0.01)
            dispatcher.turn_away(True)
            await asyncio.sleep(0.1)
            dispatcher.turn_away(True)
            is_down = False
            return (await asking).text

    with ScriptedEndpoint(with_models(script)) as endpoint:
        assert asyncio.run(scenario(endpoint)) == "strict"
        models = {request.body["model"] for request in completions(endpoint.requests)}
        assert models == {"strict"}
        assert len(completions(endpoint.requests)) == sent_frames()


def test_an_endpoint_that_was_left_for_good_ends_the_consulting(make_sample: MakeSample) -> None:
    async def scenario(endpoint: ScriptedEndpoint) -> None:
        async with opened(endpoint) as bench:
            await asked(bench, make_sample(ordinal=0))
            bench.dispatchers["main"].leave(QuotaError("no credit is left"))
            with pytest.raises(QuotaError, match="no credit is left"):
                await asked(bench, make_sample(ordinal=1))

    with ScriptedEndpoint(says("yes")) as endpoint:
        asyncio.run(scenario(endpoint))


def test_a_straggling_judge_is_asked_twice_and_both_calls_are_its_own(
    make_sample: MakeSample,
) -> None:
    recipe = recipe_of(generate={"hedge": {"after": 0.2, "most": 1.0}})
    delays = iter([3.0])

    def script(request: RecordedRequest) -> Reply:
        return chat_reply("yes", head_delay_s=next(delays, 0.0))

    async def scenario(endpoint: ScriptedEndpoint) -> str:
        async with opened(endpoint, recipe) as bench:
            return (await asked(bench, make_sample())).text

    with ScriptedEndpoint(with_models(script)) as endpoint:
        assert asyncio.run(scenario(endpoint)) == "yes"
        assert len(completions(endpoint.requests)) == 2 == sent_frames()
    assert [each for each in audit(Path("out")).checks if not each.passed] == []
