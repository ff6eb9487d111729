"""Where stages run, in which order, and what comes of a stop on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, ClassVar

import pytest

from weave_async.errors import AuthenticationError, ConsultationError, RecipeError, Unsent
from weave_async.interfaces import Consult
from weave_async.metrics.rule_watch import RuleWatch
from weave_async.metrics.stage_times import StageTime, StageTimes
from weave_async.noise.lock import MeaningLock
from weave_async.noise.spans import ProtectedSpans
from weave_async.records import (
    ACCEPTED,
    Consulted,
    Message,
    Rejection,
    Response,
    Sample,
    SamplingParams,
    Verdict,
)
from weave_async.stages.batches import BatchesUnderWay
from weave_async.stages.building import AnyStage, PartSpec, StageSpec, stages_of
from weave_async.stages.interface import ConsultFor
from weave_async.stages.judging import AskingJudgingStage, JudgingStage
from weave_async.stages.noising import AskingNoiseStage, NoiseOptions, NoiseStage
from weave_async.stages.pipeline import MOST_CHARS_HERE, Leg, Pipeline, legs_of
from weave_async.stages.repairing import Repair

MakeSample = Callable[..., Sample]
JUDGE = Consulted("judge")


@dataclass
class Rule:
    """Refuses what it is told to."""

    refuse: str = "-"

    def __call__(self, sample: Sample) -> Verdict:
        return Verdict(False, "refused") if self.refuse in sample.completion else ACCEPTED


@dataclass
class LightRule(Rule):
    is_light: ClassVar[bool] = True


@dataclass
class Judge:
    """Passes what its model calls good."""

    consults: Sequence[Consulted] = (JUDGE,)

    async def verdict(self, sample: Sample, consult: Consult) -> Verdict:
        asked = [Message("user", sample.completion)]
        answer = await consult(JUDGE, asked, params=SamplingParams())
        return Verdict(answer.text == "good", "bad", {"said": answer.text})


@dataclass
class Rewriting:
    consults: Sequence[Consulted] = (JUDGE,)

    async def rewritten(self, text: str, rng: Random, consult: Consult) -> str:
        return (await consult(JUDGE, [Message("user", text)], params=SamplingParams())).text


@dataclass
class InProcess:
    """Stands for workers: runs their stages here, and says what came to it."""

    stages: Sequence[AnyStage]
    num_workers: int = 2
    came: list[tuple[range, int]] = field(default_factory=list)

    async def process(self, stages: range, samples: Sequence[Sample]) -> list[list[Sample]]:
        self.came.append((stages, len(samples)))
        await asyncio.sleep(0)
        done = []
        for sample in samples:
            outs = [sample]
            for number in stages:
                stage = self.stages[number]
                assert isinstance(stage, JudgingStage)
                outs = [after for out in outs for after in stage.apply(out)]
            done.append(outs)
        return done

    def take_times(self) -> Mapping[str, StageTime]:
        return {"validation:there": StageTime(3, 0.5, 0.25)}


def judging(name: str, rule: Any) -> JudgingStage:
    return JudgingStage("validation", name, rule)


def consults(answers: Mapping[str, Any]) -> ConsultFor:
    """Answers by what is asked; an exception is raised."""

    def consult_for(sample: Sample, stage: str) -> Consult:
        async def consult(
            whom: Consulted,
            messages: Sequence[Message],
            *,
            params: SamplingParams,
            draw: int = 0,
            schema: Mapping[str, Any] | None = None,
        ) -> Response:
            await asyncio.sleep(0)
            answer = answers[messages[-1].content]
            if isinstance(answer, Exception):
                raise answer
            return Response(answer, "stop")

        return consult

    return consult_for


def run(samples: Sequence[Sample], stages: Sequence[AnyStage], **parts: Any) -> list[Sample]:
    pipeline = Pipeline(stages, (), StageTimes(), **parts)
    return list(asyncio.run(pipeline.process(samples)))


def test_neighbours_that_run_in_the_same_place_make_a_leg() -> None:
    light, heavy = judging("light", LightRule()), judging("heavy", Rule())
    judge = AskingJudgingStage("judge", Judge())
    assert legs_of([light, light, judge, heavy, judge, judge]) == [
        Leg(0, range(2)),
        Leg(2, range(2, 3)),
        Leg(1, range(3, 4)),
        Leg(2, range(4, 6)),
    ]


def test_light_stages_go_along_with_those_of_the_workers() -> None:
    light, heavy = judging("light", LightRule()), judging("heavy", Rule())
    assert legs_of([light, heavy, light, light, heavy, light]) == [Leg(1, range(6))]


def test_samples_that_have_ended_do_not_go_to_the_workers(make_sample: MakeSample) -> None:
    stages: list[AnyStage] = [
        judging("light", LightRule("bad")),
        AskingJudgingStage("judge", Judge()),
        judging("heavy", Rule("worse")),
    ]
    workers = InProcess(stages)
    texts = ["a", "bad", "worse", "poor"]
    samples = [make_sample(text, ordinal=n) for n, text in enumerate(texts)]
    answers = {"a": "good", "worse": "good", "poor": "poor"}
    done = run(samples, stages, workers=workers, consult_for=consults(answers))
    assert workers.came == [(range(2, 3), 2)]
    assert [sample.rejection and sample.rejection.rule for sample in done] == [
        None,
        "light",
        "heavy",
        "judge",
    ]


def test_the_time_in_workers_is_told_beside_that_on_the_loop(make_sample: MakeSample) -> None:
    times, stage = StageTimes(), judging("there", Rule())
    pipeline = Pipeline([stage], (), times, workers=InProcess([stage]))
    asyncio.run(pipeline.process([make_sample()]))
    assert times["validation:there"] == StageTime(3, 0.5, 0.25)


def test_rules_are_applied_cheapest_first_and_otherwise_as_the_recipe_has_them() -> None:
    names = ["length", f"{__name__}:Judge", "required", f"{__name__}:Rule", "length"]
    spec = StageSpec(0, [PartSpec("typos", {})], [PartSpec(name, {}) for name in names])
    spec = StageSpec.from_dict(spec.as_dict())
    assert [stage.name for stage in stages_of(spec)] == [
        "completion",
        "length",
        "required",
        "length#2",
        f"{__name__}:Rule",
        f"{__name__}:Judge",
        "typos",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"probability": 2}, "noise 'typos': probability is 0 to 1, not 2"),
        ({"copies": 0}, "noise 'typos': copies are 1 to 100, not 0"),
        ({"field": "answer"}, "noise 'typos': field: .*'prompt', 'completion' or 'both'"),
        ({"protect": "tea"}, "noise 'typos': protect: .*list"),
        ({"rat": 1}, "noise 'typos': unknown option 'rat'; did you mean 'rate'"),
        ({"keep_claen": True}, "did you mean 'keep_clean'"),
    ],
)
def test_wrong_options_of_a_noise_are_told_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        stages_of(StageSpec(0, [PartSpec("typos", options)], []))


def test_a_judge_is_asked_about_each_sample_that_is_left(make_sample: MakeSample) -> None:
    samples = [make_sample(text, ordinal=n) for n, text in enumerate(["a", "b", "bad"])]
    stages: list[AnyStage] = [
        judging("light", LightRule("bad")),
        AskingJudgingStage("judge", Judge()),
    ]
    done = run(samples, stages, consult_for=consults({"a": "good", "b": "poor"}))
    assert [each.rejection and (each.rejection.rule, each.rejection.reason) for each in done] == [
        None,
        ("judge", "bad"),
        ("light", "refused"),
    ]
    assert done[0].verdicts[0].evidence == {"said": "good"}


def test_a_judge_without_an_answer_rejects_and_says_so(make_sample: MakeSample) -> None:
    stage = AskingJudgingStage("judge", Judge())
    answers = {"a": ConsultationError("filtered")}
    (done,) = run([make_sample("a")], [stage], consult_for=consults(answers))
    assert done.rejection == Rejection("validation", "judge", "no_verdict", {"error": "filtered"})


def test_what_could_not_be_asked_before_a_stop_is_left_pending(make_sample: MakeSample) -> None:
    samples = [make_sample(text, ordinal=n) for n, text in enumerate("abc")]
    stage = AskingJudgingStage("judge", Judge())
    answers = {"a": "good", "b": Unsent(), "c": "good"}
    done = run(samples, [stage], consult_for=consults(answers))
    assert [sample.completion for sample in done] == ["a", "c"]


def test_what_stops_an_endpoint_stops_the_run(make_sample: MakeSample) -> None:
    stage = AskingJudgingStage("judge", Judge())
    answers = {"a": AuthenticationError("wrong key")}
    with pytest.raises(AuthenticationError):
        run([make_sample("a")], [stage], consult_for=consults(answers))


def asking_noise(**options: Any) -> AskingNoiseStage:
    lock = MeaningLock(ProtectedSpans())
    return AskingNoiseStage("paraphrase", Rewriting(), lock, 1, NoiseOptions(**options))


def test_a_rewriting_is_kept_with_its_edits(make_sample: MakeSample) -> None:
    answers = {"Where is my tea?": "Where has my tea gone?"}
    (done,) = run(
        [make_sample(user="Where is my tea?")], [asking_noise()], consult_for=consults(answers)
    )
    assert done.messages[0].content == "Where has my tea gone?"
    assert [edit.noise for edit in done.edits] == ["paraphrase"]


@pytest.mark.parametrize("answer", [ConsultationError("filtered"), ValueError("empty")])
def test_without_a_rewriting_the_text_stays_and_that_is_told(
    make_sample: MakeSample, answer: Exception
) -> None:
    sample = make_sample(user="Where is my tea?")
    (done,) = run([sample], [asking_noise()], consult_for=consults({"Where is my tea?": answer}))
    assert done.messages == sample.messages
    assert done.rejection is None
    assert [(each.rule, each.reason) for each in done.verdicts] == [
        ("noise:paraphrase", "no_rewriting")
    ]


# --- rules that decide nothing ---------------------------------------------------------------


def watched(watch: RuleWatch, samples: Sequence[Sample]) -> None:
    for start in range(0, len(samples), 64):
        watch.count(samples[start : start + 64])


def test_a_rule_that_rejects_all_or_nothing_is_named_once(
    make_sample: MakeSample, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    refused = replace(make_sample(), rejection=Rejection("validation", "strict", "no", {}))
    watch = RuleWatch([("validation", "lax"), ("validation", "strict"), ("validation", "last")])
    watched(watch, [refused] * 300)
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "'strict' has rejected all of the first 128" in line]) == 1
    assert len([line for line in told if "'lax' has rejected none of the first 128" in line]) == 1
    assert not [line for line in told if "'last'" in line]
    assert watch.as_dict() == {
        "lax": {"judged": 300, "rejected": 0},
        "strict": {"judged": 300, "rejected": 300},
        "last": {"judged": 0, "rejected": 0},
    }


# --- batches under way -----------------------------------------------------------------------


def test_batches_come_back_in_the_order_of_their_beginning() -> None:
    async def scenario() -> list[tuple[str, Any]]:
        async def process(samples: Sequence[Any]) -> Sequence[Any]:
            await asyncio.sleep(samples[0] / 100)
            return samples

        batches = BatchesUnderWay[str](process, max_batches=3)
        for name, delay in (("slow", 3), ("fast", 0), ("middle", 1)):
            batches.begin(name, [delay])
        assert not batches.has_room
        came = []
        while batches:
            came.append(await batches.first_or(asyncio.Event()))
        return came

    assert asyncio.run(scenario()) == [("slow", [3]), ("fast", [0]), ("middle", [1])]


def test_with_room_for_more_a_batch_is_not_waited_for_when_more_arrives() -> None:
    async def scenario() -> Any:
        async def process(samples: Sequence[Any]) -> Sequence[Any]:
            await asyncio.sleep(30)
            return samples

        batches, arrived = BatchesUnderWay[str](process, max_batches=2), asyncio.Event()
        batches.begin("slow", [])
        arrived.set()
        first = await asyncio.wait_for(batches.first_or(arrived), 10)
        await batches.close()
        return first

    assert asyncio.run(scenario()) is None


def test_batches_that_are_dropped_come_back_empty_at_once() -> None:
    async def scenario() -> tuple[Any, int]:
        async def process(samples: Sequence[Any]) -> Sequence[Any]:
            await asyncio.sleep(30)
            return samples

        batches = BatchesUnderWay[str](process, max_batches=1)
        batches.begin("slow", [1, 2])
        asyncio.get_running_loop().call_later(0.01, batches.drop)
        first = await asyncio.wait_for(batches.first_or(asyncio.Event()), 10)
        return first, batches.num_dropped

    assert asyncio.run(scenario()) == (("slow", []), 1)


def test_what_processing_raises_is_raised_where_the_batch_is_taken() -> None:
    async def scenario() -> None:
        async def process(samples: Sequence[Any]) -> Sequence[Any]:
            raise ZeroDivisionError

        batches = BatchesUnderWay[str](process, max_batches=1)
        batches.begin("bad", [])
        with pytest.raises(ZeroDivisionError):
            await batches.first_or(asyncio.Event())

    asyncio.run(scenario())


# --- repair ----------------------------------------------------------------------------------


@dataclass
class Asked:
    """Answers each repair with the next word, and keeps what was asked."""

    words: list[Any]
    questions: list[list[str]] = field(default_factory=list)

    def __call__(self, sample: Sample, stage: str) -> Consult:
        async def consult(
            whom: Consulted, messages: Sequence[Message], *, draw: int = 0, **_: Any
        ) -> Response:
            await asyncio.sleep(0)
            self.questions.append([f"{whom.endpoint} {draw}", *(m.content for m in messages)])
            word = self.words.pop(0)
            if isinstance(word, Exception):
                raise word
            return Response(word, "stop")

        return consult  # type: ignore[return-value]


def repaired(
    samples: Sequence[Sample], asked: Asked, *rules: Any, max_repairs: int = 2
) -> list[Sample]:
    stages = [judging(f"rule{n}", rule) for n, rule in enumerate(rules)]
    repair = Repair(max_repairs, {"here": Consulted("here")})
    return run(samples, stages, consult_for=asked, repair=repair)


def test_a_rejected_answer_is_asked_for_again_with_the_reason(make_sample: MakeSample) -> None:
    asked = Asked(["fine now"])
    good, bad = make_sample("good"), make_sample("bad", user="Tea?", ordinal=1)
    first, second = repaired([good, bad], asked, Rule("bad"))
    assert first == good
    assert (second.completion, second.rejection, second.repairs) == ("fine now", None, 1)
    assert [(each.rule, each.passed, each.reason) for each in second.verdicts] == [
        ("repair:rule0", False, "refused")
    ]
    [[who, *conversation]] = asked.questions
    assert who == "here 1"
    assert conversation[:2] == ["Tea?", "bad"]
    assert "refused" in conversation[2]
    assert "rule0" in conversation[2]


def test_a_repaired_answer_is_judged_by_all_rules(make_sample: MakeSample) -> None:
    asked = Asked(["worse", "still bad"])
    (done,) = repaired([make_sample("bad")], asked, Rule("worse"), Rule("bad"))
    assert done.rejection is not None
    assert (done.rejection.rule, done.repairs) == ("rule1", 2)
    assert [question[0] for question in asked.questions] == ["here 1", "here 2"]


def test_without_another_answer_the_rejection_stands(make_sample: MakeSample) -> None:
    asked = Asked([ConsultationError("filtered")])
    (done,) = repaired([make_sample("bad")], asked, Rule("bad"))
    assert done.rejection is not None
    assert (done.completion, done.repairs) == ("bad", 0)
    assert len(asked.questions) == 1


def test_a_repair_that_could_not_be_asked_for_leaves_its_sample_pending(
    make_sample: MakeSample,
) -> None:
    samples = [make_sample(text, ordinal=n) for n, text in enumerate(["good", "bad", "fine"])]
    done = repaired(samples, Asked([Unsent()]), Rule("bad"))
    assert [sample.completion for sample in done] == ["good", "fine"]


def test_what_no_other_answer_would_mend_is_not_repaired(make_sample: MakeSample) -> None:
    asked = Asked([])

    def breaks(sample: Sample) -> Verdict:
        raise ZeroDivisionError

    (done,) = repaired([make_sample()], asked, breaks)
    assert done.rejection is not None
    assert asked.questions == []


def test_noise_on_the_prompt_stays_when_an_answer_is_repaired(make_sample: MakeSample) -> None:
    asked = Asked(["fine"])
    sample = make_sample("bad", user="Tea?")
    noisy = replace(sample, messages=(Message("user", "Tae?"), sample.messages[1]))
    (done,) = repaired([noisy], asked, Rule("bad"))
    assert [message.content for message in done.messages] == ["Tae?", "fine"]
    assert asked.questions[0][1] == "Tea?"


def test_a_long_sample_goes_to_the_workers_although_all_stages_are_light(
    make_sample: MakeSample,
) -> None:
    # a rule that takes 2 ms for 1,000 characters would hold up the loop for seconds
    stages = [judging("a", LightRule("bad")), judging("b", LightRule("worse"))]
    workers = InProcess(stages)
    long = MOST_CHARS_HERE * "x"
    texts = ["good", long + "bad", "bad", long, "worse"]
    done = run(
        [make_sample(text, ordinal=n) for n, text in enumerate(texts)], stages, workers=workers
    )
    assert workers.came == [(range(2), 2)]
    assert [each.completion for each in done] == texts
    told = [each.rejection.rule if each.rejection else "" for each in done]
    assert told == ["", "a", "a", "", "b"]


def test_the_loop_has_its_turn_between_samples(make_sample: MakeSample) -> None:
    num_turns = 0

    async def counted() -> None:
        async def count() -> None:
            nonlocal num_turns
            while True:
                await asyncio.sleep(0)
                num_turns += 1

        other = asyncio.create_task(count())
        await Pipeline([judging("a", LightRule())], (), StageTimes()).process(samples)
        other.cancel()

    samples = [make_sample("x" * MOST_CHARS_HERE, ordinal=n) for n in range(30)]
    asyncio.run(counted())
    assert num_turns > 8


# --- noise behind the judges -----------------------------------------------------------------


@dataclass
class Shouting:
    """Writes all in capitals; and each copy in another way, if it is told to."""

    signs: bool = False

    def __call__(self, text: str, rng: Random) -> str:
        return text.upper() + ("".join(rng.choices("XYZ", k=9)) if self.signs else "")


def noise(*, signs: bool = False, **options: Any) -> NoiseStage:
    lock = MeaningLock(ProtectedSpans())
    return NoiseStage("shouting", Shouting(signs), lock, 1, NoiseOptions(**options))


def test_nobody_pays_to_have_copies_judged_again(make_sample: MakeSample) -> None:
    asked = Asked(["good", "poor"])
    stages = [AskingJudgingStage("judge", Judge()), noise(signs=True, copies=3, keep_clean=True)]
    samples = [make_sample(ordinal=n) for n in range(2)]
    done = run(samples, stages, consult_for=asked)
    assert len(asked.questions) == 2
    assert [sample.sample_id for sample in done] == [
        f"{samples[0].sample_id}{copy}" for copy in ("", "~1", "~2", "~3")
    ] + [samples[1].sample_id]
    assert [sample.verdicts[0].evidence for sample in done[:4]] == [{"said": "good"}] * 4
    assert done[4].rejection is not None
    assert done[4].edits == ()


def test_rules_see_what_noise_has_changed(make_sample: MakeSample) -> None:
    seen: list[str] = []

    def listen(sample: Sample) -> Verdict:
        seen.append(sample.completion)
        return Verdict(False, "loud") if sample.completion.isupper() else ACCEPTED

    stages = [judging("listen", listen), noise(field="completion", keep_clean=True)]
    clean, noisy = run([make_sample("tea, please")], stages)
    assert seen == ["tea, please", "TEA, PLEASE"]
    assert clean.rejection is None
    assert noisy.rejection == Rejection("validation", "listen", "loud", {})


def test_a_sample_that_noise_leaves_alone_is_not_judged_twice(make_sample: MakeSample) -> None:
    seen: list[str] = []

    def listen(sample: Sample) -> Verdict:
        seen.append(sample.completion)
        return ACCEPTED

    run([make_sample(user="TEA")], [judging("listen", listen), noise()])
    assert len(seen) == 1


def test_an_answer_is_repaired_once_and_its_copies_have_the_new_one(
    make_sample: MakeSample,
) -> None:
    asked = Asked(["fine"])
    stages = [judging("rule", Rule("bad")), noise(copies=2)]
    repair = Repair(1, {"here": Consulted("here")})
    done = run([make_sample("bad", user="tea?")], stages, consult_for=asked, repair=repair)
    assert len(asked.questions) == 1
    assert [[m.content for m in sample.messages] for sample in done] == [["TEA?", "fine"]]
