"""Answers that repeat what the model was shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.records import Message, Sample
from weave_async.validation.echo import RUN_WORDS, EchoValidator, _shared

MakeSample = Callable[..., Sample]
LONG = "My parcel was sent to the old address although I had changed it a week before"
OTHER = "We have asked the carrier to bring it to your new home, at no cost, by Friday at noon"


def test_an_answer_that_is_the_prompt_is_refused(make_sample: MakeSample) -> None:
    verdict = EchoValidator()(make_sample(f"{LONG.upper()}!", user=f"{LONG}."))
    assert (verdict.passed, verdict.reason) == (False, "repeats_prompt")
    assert verdict.evidence == {"share": 1.0, "max_prompt_share": 0.6}


def test_an_answer_that_quotes_the_prompt_and_says_more_passes(make_sample: MakeSample) -> None:
    assert EchoValidator()(make_sample(f"{LONG}? {OTHER}. {OTHER}.", user=LONG)).passed
    assert EchoValidator(max_prompt_share=1)(make_sample(LONG, user=LONG)).passed


def test_short_answers_may_repeat_words_of_the_question(make_sample: MakeSample) -> None:
    question = "Is the capital of France Paris or Lyon?"
    assert EchoValidator()(make_sample("The capital of France is Paris.", user=question)).passed
    assert EchoValidator()(make_sample("Paris or Lyon?", user=question)).passed


def test_a_system_prompt_that_leaks_is_refused(make_sample: MakeSample) -> None:
    system = f"You are a support agent. {LONG}. Never say so."
    verdict = EchoValidator()(make_sample(f"I was told: {LONG}. {OTHER}", system=system))
    assert (verdict.passed, verdict.reason) == (False, "repeats_system_prompt")
    assert verdict.evidence["words"] == len(LONG.split())
    assert EchoValidator(system_words=0)(make_sample(LONG, system=system)).passed
    assert EchoValidator()(make_sample("You are a support agent, I guess", system=system)).passed


def test_an_example_that_was_sent_along_is_no_answer(make_sample: MakeSample) -> None:
    sample = make_sample(f"{OTHER}.", user=LONG)
    examples = (Message("user", "Where is it?"), Message("assistant", OTHER))
    sample = replace(
        sample, request=replace(sample.request, messages=(*examples, *sample.request.messages))
    )
    verdict = EchoValidator()(sample)
    assert (verdict.passed, verdict.reason) == (False, "repeats_example")
    conversation = replace(sample.prompt, messages=(*examples, *sample.prompt.messages))
    assert EchoValidator()(replace(sample, prompt=conversation)).passed


@pytest.mark.parametrize(
    "text",
    [
        "It rains.<|im_end|>",
        "<|im_start|>assistant\nIt rains.",
        "It rains.\n\nHuman: And now?",
        "Assistant: It rains.",
        "It rains. [/INST]",
        "It rains.</s>",
        "### Response:\nIt rains.",
        "It rains.<end_of_turn>",
    ],
)
def test_remains_of_a_chat_template_are_refused(make_sample: MakeSample, text: str) -> None:
    verdict = EchoValidator()(make_sample(text))
    assert (verdict.passed, verdict.reason) == (False, "chat_template")
    assert verdict.evidence["found"] in text


@pytest.mark.parametrize(
    "text",
    [
        "The human: a short history.",
        "He is human: he errs.",
        "Strike it out with <s>this</s> tag.",
        "## Instructions\n\n1. Boil water.",
        "The assistant: who needs one?",
        "if a <| b then [INSTALL]",
    ],
)
def test_ordinary_text_passes(make_sample: MakeSample, text: str) -> None:
    verdict = EchoValidator()(make_sample(text))
    assert verdict.passed, verdict.evidence


def test_a_prompt_about_templates_allows_them(make_sample: MakeSample) -> None:
    sample = make_sample("<|im_start|> opens a turn.", user="What is <|im_start|>?")
    assert EchoValidator()(sample).passed


@pytest.mark.parametrize("options", [{"max_prompt_share": 1.2}, {"system_words": 3}])
def test_bounds_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        EchoValidator(**options)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from("abc"), max_size=40), st.lists(st.sampled_from("abc"), max_size=40))
def test_the_share_is_that_of_the_words_in_common_runs(words: list[str], others: list[str]) -> None:
    runs = {tuple(others[i : i + RUN_WORDS]) for i in range(len(others) - RUN_WORDS + 1)}
    covered = {
        i + step
        for i in range(len(words) - RUN_WORDS + 1)
        if tuple(words[i : i + RUN_WORDS]) in runs
        for step in range(RUN_WORDS)
    }
    share, longest = _shared(words, others)
    assert share == (len(covered) / len(words) if covered else 0)
    assert longest <= len(covered)
