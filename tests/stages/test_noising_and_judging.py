"""Stages: what an author writes for one sample, lifted to many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from weave_async.metrics.stage_times import StageTimes
from weave_async.noise.edits import Edit, Passage, clean_texts
from weave_async.noise.lock import MeaningLock
from weave_async.noise.spans import ProtectedSpans
from weave_async.noise.typos import TyposNoise
from weave_async.records import (
    ACCEPTED,
    Failure,
    Message,
    NoiseEdit,
    Rejection,
    RuleVerdict,
    Sample,
    TextChange,
    Verdict,
)
from weave_async.stages.judging import JudgingStage
from weave_async.stages.noising import NoiseOptions, NoiseStage
from weave_async.stages.pipeline import Pipeline
from weave_async.validation.required import RequiredValidator

MakeSample = Callable[..., Sample]


def shout(text: str, rng: Random) -> str:
    return text.upper()


def signed(text: str, rng: Random) -> str:
    return f"{text} {''.join(rng.choices('abcdefgh', k=12))}"


def process(samples: list[Sample], *stages: NoiseStage | JudgingStage) -> list[Sample]:
    return list(asyncio.run(Pipeline(stages, (), StageTimes()).process(samples)))


def noise_stage(
    noise: Callable[[str, Random], str] = shout,
    *,
    name: str = "shout",
    run_seed: int = 1,
    terms: list[str] | None = None,
    stride: int = 1,
    **options: Any,
) -> NoiseStage:
    lock = MeaningLock(ProtectedSpans(terms or ()))
    return NoiseStage(name, noise, lock, run_seed, NoiseOptions(**options), stride)


def edit(noise: str, index: int, *changes: tuple[int, str, str]) -> NoiseEdit:
    return NoiseEdit(noise, index, tuple(TextChange(*change) for change in changes))


def contents(sample: Sample) -> list[str]:
    return [message.content for message in sample.messages]


@dataclass
class Recorded:
    """A rule that keeps what it saw, and refuses or breaks on what it is told to."""

    refuse: str = "-"
    raise_on: str = "-"
    seen: list[str] = field(default_factory=list)

    def __call__(self, sample: Sample) -> Verdict:
        self.seen.append(sample.completion)
        if self.raise_on in sample.completion:
            raise ValueError(f"cannot judge {sample.completion}")
        if self.refuse in sample.completion:
            return Verdict(False, "refused", {"word": self.refuse})
        return ACCEPTED


def test_noise_touches_the_user_turns_by_default(make_sample: MakeSample) -> None:
    sample = make_sample("An answer.", user="A question?", system="Be kind.")
    (noisy,) = process([sample], noise_stage())
    assert contents(noisy) == ["Be kind.", "A QUESTION?", "An answer."]
    assert noisy.edits == (edit("shout", 1, (2, "question", "QUESTION")),)
    assert noisy.request == sample.request
    assert noisy.response == sample.response


def test_noise_can_touch_the_completion_instead(make_sample: MakeSample) -> None:
    sample = make_sample("An answer.", user="A question?", system="Be kind.")
    (noisy,) = process([sample], noise_stage(field="completion"))
    assert contents(noisy) == ["Be kind.", "A question?", "AN ANSWER."]
    assert noisy.edits == (edit("shout", 2, (0, "An", "AN"), (3, "answer", "ANSWER")),)
    assert noisy.completion == "AN ANSWER."


def test_noise_that_changes_nothing_leaves_no_edit(make_sample: MakeSample) -> None:
    sample = make_sample(user="A QUESTION?")
    (same,) = process([sample], noise_stage())
    assert same.messages == sample.messages
    assert same.edits == ()
    assert same.verdicts == (RuleVerdict("noise:shout", True, "unchanged", {}),)


def test_each_noise_adds_its_edits_and_all_can_be_undone(make_sample: MakeSample) -> None:
    add = noise_stage(lambda text, rng: text + " please", name="polite")
    (noisy,) = process([make_sample(user="Tea?")], add, noise_stage())
    assert [each.noise for each in noisy.edits] == ["polite", "shout"]
    assert contents(noisy)[0] == "TEA PLEASE?"
    assert clean_texts(noisy) == {0: "Tea?"}


def test_protected_spans_never_reach_the_noise(make_sample: MakeSample) -> None:
    reached: list[str] = []

    def listen(text: str, rng: Random) -> str:
        reached.append(text)
        return text.upper()

    stage = noise_stage(listen, terms=["tea"])
    (noisy,) = process([make_sample(user="two cups of tea for 3.50€ now")], stage)
    assert contents(noisy)[0] == "two CUPS OF tea FOR 3.50€ NOW"
    assert not any("tea" in text or "3" in text for text in reached)


def test_required_terms_survive_noise_on_the_completion(make_sample: MakeSample) -> None:
    required = RequiredValidator(any=["refund"], all=["delivery", "apologies"])
    samples = [
        make_sample("Please accept our apologies, the delivery failed: refund.", ordinal=ordinal)
        for ordinal in range(300)
    ]
    spans = ProtectedSpans(required.protected_terms)
    options = NoiseOptions(field="completion")
    noise = NoiseStage("typos", TyposNoise(rate=0.2), MeaningLock(spans), 1, options)
    judged = process(samples, noise, JudgingStage("validation", "required", required))
    assert sum(bool(sample.edits) for sample in judged) > 250
    assert [sample.rejection for sample in judged] == [None] * 300


def test_noise_depends_on_seed_sample_and_stage_and_on_nothing_else(
    make_sample: MakeSample,
) -> None:
    samples = [make_sample(ordinal=ordinal) for ordinal in range(20)]
    stage = noise_stage(signed)
    forwards = process(samples, stage)
    assert process(samples[::-1], stage)[::-1] == forwards
    assert [process([sample], stage)[0] for sample in samples] == forwards
    others = [
        process(samples, noise_stage(signed, run_seed=2)),
        process(samples, noise_stage(signed, name="other")),
    ]
    texts = [contents(sample)[0] for each in (forwards, *others) for sample in each]
    assert len(set(texts)) == len(texts)


def test_two_draws_of_one_prompt_get_different_noise(make_sample: MakeSample) -> None:
    sample = make_sample()
    second = replace(sample, prompt=replace(sample.prompt, sample_index=1))
    one, two = process([sample, second], noise_stage(signed))
    assert contents(one)[0] != contents(two)[0]


@pytest.mark.parametrize("kind", ["validation", "selection"])
def test_a_refused_sample_carries_stage_rule_reason_and_evidence(
    make_sample: MakeSample, kind: str
) -> None:
    stage = JudgingStage(kind, "mine", Recorded(refuse="bad"))
    good, bad = process([make_sample("good"), make_sample("bad", ordinal=1)], stage)
    assert good.rejection is None
    assert bad.rejection == Rejection(kind, "mine", "refused", {"word": "bad"})
    assert contents(bad) == ["Which colours are there?", "bad"]


def test_rejected_and_failed_samples_skip_the_later_stages(make_sample: MakeSample) -> None:
    second = Recorded()
    samples = [
        make_sample("one"),
        make_sample("bad", ordinal=1),
        make_sample("failed", ordinal=2, failure=Failure("server", "HTTP 500", 6)),
        make_sample("two", ordinal=3),
    ]
    done = process(
        samples,
        JudgingStage("validation", "first", Recorded(refuse="bad")),
        noise_stage(),
        JudgingStage("validation", "second", second),
    )
    assert second.seen == ["one", "two"]
    assert [bool(sample.edits) for sample in done] == [True, False, False, True]
    assert done[2] == samples[2]


def test_samples_come_back_in_their_order(make_sample: MakeSample) -> None:
    samples = [make_sample(f"{n}", ordinal=n) for n in range(50)]
    done = process(samples, JudgingStage("validation", "odd", Recorded(refuse="7")), noise_stage())
    assert [sample.ordinal for sample in done] == list(range(50))


def test_a_rule_that_raises_rejects_only_that_sample(
    make_sample: MakeSample, caplog: pytest.LogCaptureFixture
) -> None:
    rule = Recorded(raise_on="odd")
    samples = [make_sample(text, ordinal=n) for n, text in enumerate(["one", "odd", "two"])]
    done = process(samples, JudgingStage("validation", "mine", rule))
    assert [sample.rejection and sample.rejection.reason for sample in done] == [
        None,
        "raised",
        None,
    ]
    assert done[1].rejection == Rejection(
        "validation", "mine", "raised", {"error": "ValueError: cannot judge odd"}
    )
    assert f"validation 'mine' raised on {samples[1].sample_id}" in caplog.text


@pytest.mark.parametrize("wrong", [lambda text, rng: 1 / 0, lambda text, rng: None])
def test_a_noise_that_raises_or_gives_no_text_rejects_only_that_sample(
    make_sample: MakeSample, wrong: Callable[[str, Random], str]
) -> None:
    def sometimes(text: str, rng: Random) -> str:
        return wrong(text, rng) if "odd" in text else text

    samples = [make_sample(user="fine"), make_sample(user="odd", ordinal=1)]
    fine, odd = process(samples, noise_stage(sometimes))
    assert fine.messages == samples[0].messages
    assert fine.rejection is None
    assert odd.rejection is not None
    assert (odd.rejection.stage, odd.rejection.rule, odd.rejection.reason) == (
        "noise",
        "shout",
        "raised",
    )
    assert odd.messages == samples[1].messages


def test_a_rule_that_returns_no_verdict_rejects_the_sample(make_sample: MakeSample) -> None:
    (done,) = process([make_sample()], JudgingStage("validation", "mine", lambda sample: None))
    assert done.rejection is not None
    assert done.rejection.reason == "raised"


def test_cancellation_is_not_a_rejection(make_sample: MakeSample) -> None:
    def cancelled(sample: Sample) -> Verdict:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        process([make_sample()], JudgingStage("validation", "mine", cancelled))


def test_without_stages_samples_pass_as_they_are(make_sample: MakeSample) -> None:
    samples = [make_sample(), make_sample(ordinal=1)]
    assert process(samples) == samples


@pytest.mark.parametrize(
    "verdict",
    [Verdict(False, "odd", {"hash": 2**70}), Verdict(False, "\ud83d"), Verdict(False, "odd", None)],  # type: ignore[arg-type]
    ids=["too large", "half a character", "no mapping"],
)
def test_a_verdict_that_no_file_can_hold_is_the_rules_fault(
    make_sample: MakeSample, verdict: Verdict
) -> None:
    (done,) = process([make_sample()], JudgingStage("validation", "mine", lambda sample: verdict))
    assert done.rejection is not None
    assert done.rejection.reason == "raised"


def test_copies_stand_behind_the_clean_sample_with_names_of_their_own(
    make_sample: MakeSample,
) -> None:
    samples = [make_sample(), make_sample(ordinal=1)]
    done = process(samples, noise_stage(signed, copies=2, keep_clean=True))
    names = [sample.sample_id for sample in samples]
    assert [sample.sample_id for sample in done] == [
        f"{name}{copy}" for name in names for copy in ("", "~1", "~2")
    ]
    assert [bool(sample.edits) for sample in done] == [False, True, True] * 2
    assert len({contents(sample)[0] for sample in done}) == 5  # the clean ones are equal
    assert {sample.answer_id for sample in done} == set(names)


def test_copies_of_several_noises_have_different_names(make_sample: MakeSample) -> None:
    done = process(
        [make_sample()],
        noise_stage(signed, name="one", copies=2, keep_clean=True),
        noise_stage(signed, name="two", copies=3, stride=3),
    )
    assert len({sample.sample_id for sample in done}) == len(done) == 9
    assert len({contents(sample)[0] for sample in done}) == 9


def test_a_copy_that_would_be_no_other_is_not_made_and_why_is_told(
    make_sample: MakeSample,
) -> None:
    sample = make_sample(user="ALL IS LOUD ALREADY")
    (same,) = process([sample], noise_stage(copies=3, keep_clean=True))
    assert same.messages == sample.messages
    assert [verdict.reason for verdict in same.verdicts] == ["unchanged"] * 3


def test_a_share_of_the_samples_is_spared_by_seed(make_sample: MakeSample) -> None:
    samples = [make_sample(ordinal=ordinal) for ordinal in range(400)]
    done = process(samples, noise_stage(signed, probability=0.25, copies=2, keep_clean=True))
    num_touched = sum(sample.copy == 1 for sample in done)
    assert len(done) == 400 + 2 * num_touched
    assert 70 <= num_touched <= 130


def test_both_sides_can_be_varied(make_sample: MakeSample) -> None:
    (noisy,) = process([make_sample("yes", user="tea?")], noise_stage(field="both"))
    assert contents(noisy) == ["TEA?", "YES"]


def test_columns_and_attributes_can_be_protected(make_sample: MakeSample) -> None:
    sample = make_sample(user="a pot of oolong for anna")
    prompt = replace(sample.prompt, columns={"tea": "oolong"}, attributes={"who": "anna"})
    stage = noise_stage(protect_fields=["tea", "who", "colour"])
    (noisy,) = process([replace(sample, prompt=prompt)], stage)
    assert contents(noisy)[0] == "A POT OF oolong FOR anna"


@pytest.mark.parametrize(
    "wrong", [{"probability": 2}, {"copies": 0}, {"copies": 10**6}, {"min_similarity": -1}]
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        NoiseOptions(**wrong)


def test_a_rule_may_mend_what_it_finds(make_sample: MakeSample) -> None:
    def black_out(sample: Sample) -> Verdict:
        mended = tuple(
            Message(m.role, m.content.replace("a@b.c", "[EMAIL]")) for m in sample.messages
        )
        return Verdict(True, "redacted", {"emails": 1}, mended)

    (done,) = process([make_sample("Ask a@b.c.")], JudgingStage("validation", "pii", black_out))
    assert done.completion == "Ask [EMAIL]."
    assert done.rejection is None
    assert done.verdicts == (RuleVerdict("pii", True, "redacted", {"emails": 1}, mended=True),)


def test_edits_do_not_tell_what_a_rule_has_blacked_out(make_sample: MakeSample) -> None:
    """They hold what stood there before the noise, and their places are those of another text."""

    def black_out(sample: Sample) -> Verdict:
        mended = (Message("user", "[NAME] said so."), *sample.messages[1:])
        return Verdict(True, "redacted", {"names": 1}, mended)

    edits = (
        NoiseEdit("typos", 0, (TextChange(0, "Anna", "Amna"),)),
        NoiseEdit("typos", 1, (TextChange(0, "Yes", "Yse"),)),
    )
    messages = (Message("user", "Amna said so."), Message("assistant", "Yse."))
    noisy = replace(make_sample(), messages=messages, edits=edits)
    (done,) = process([noisy], JudgingStage("validation", "names", black_out))
    assert done.edits == (NoiseEdit("typos", 0, ()), edits[1])
    assert clean_texts(done) == {1: "Yes."}


@pytest.mark.parametrize("messages", [(), ("text",), 5])
def test_a_rule_that_mends_with_something_else_is_at_fault(
    make_sample: MakeSample, messages: Any
) -> None:
    verdict = Verdict(True, "redacted", {}, messages)
    (done,) = process([make_sample()], JudgingStage("validation", "pii", lambda sample: verdict))
    assert done.rejection is not None
    assert done.rejection.reason == "raised"


def test_where_all_is_explained_every_rule_judges_and_the_first_rejection_counts(
    make_sample: MakeSample,
) -> None:
    rules = [Recorded(refuse="bad"), Recorded(), Recorded(refuse="bad")]
    stages = [
        JudgingStage("validation", f"rule{n}", rule, explains_all=True)
        for n, rule in enumerate(rules)
    ]
    (done,) = process([make_sample("bad")], *stages)
    assert done.rejection is not None
    assert done.rejection.rule == "rule0"
    assert [(each.rule, each.passed) for each in done.verdicts] == [
        ("rule0", False),
        ("rule1", True),
        ("rule2", False),
    ]


def test_a_verdict_with_evidence_stays_with_a_sample_that_passes(make_sample: MakeSample) -> None:
    verdict = Verdict(True, evidence={"score": 4})
    (done,) = process([make_sample()], JudgingStage("validation", "judge", lambda sample: verdict))
    assert done.verdicts == (RuleVerdict("judge", True, "", {"score": 4}),)


def test_a_noise_does_the_same_in_all_texts_of_a_copy_and_another_thing_in_each_copy(
    make_sample: MakeSample,
) -> None:
    @dataclass
    class Names:
        def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
            start = passage.text.index("tea")
            yield Edit(start, start + 3, "".join(Random(passage.sample_seed).choices("abc", k=9)))

    stage = noise_stage(Names(), field="both", copies=3)  # type: ignore[arg-type]
    done = process([make_sample("hot tea", user="more tea")], stage)
    said = [[text.split()[1] for text in contents(sample)] for sample in done]
    assert all(user == assistant for user, assistant in said)
    assert len({user for user, _ in said}) == 3
