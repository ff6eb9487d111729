"""What holds for every rule on content: no text breaks it, and none takes long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.records import Message, Prompt, Request, Response, Sample, SamplingParams
from weave_async.validation.boilerplate import BoilerplateValidator
from weave_async.validation.echo import EchoValidator
from weave_async.validation.encoding import EncodingValidator
from weave_async.validation.pii import PiiValidator
from weave_async.validation.profanity import ProfanityValidator
from weave_async.validation.readability import ReadabilityValidator
from weave_async.validation.refusal import RefusalValidator
from weave_async.validation.secrets import SecretsValidator
from weave_async.validation.truncation import TruncationValidator

LIGHT = [
    BoilerplateValidator(),
    EchoValidator(),
    EncodingValidator(),
    PiiValidator(),
    PiiValidator("redact"),
    ProfanityValidator(),
    ReadabilityValidator(max_grade=12, min_words=1),
    RefusalValidator(),
    SecretsValidator(),
    SecretsValidator("redact"),
    TruncationValidator(),
]
NAMES = [type(rule).__name__ + getattr(rule, "action", "") for rule in LIGHT]
HOSTILE = [
    "a", "1", "1 ", "+1 2", "a@", "@a.a", "a.", "(", "`a", "```\n", "eyJ", "token=", "sk-", "://a:",
    "DE89 ", "here's a ", "[your ", "{{ a", "I can't ", "Ã©", "Ð", "f.u.", "f*uck ", "*", "\u202a",
    "-----BEGIN PRIVATE KEY-----", "phone 1 2 3 ", "abcd:", "call me number is ", "<your ", "\n- ",
    "4111 ", "-", "<|im_start", "x@x.", "\n", " ", "\nHuman", "i a o ", "éa", "2001:", "1.2.",
]  # fmt: skip


def sample_of(prompt: str, completion: str) -> Sample:
    asked = (Message("system", prompt), Message("user", prompt))
    return Sample(
        ordinal=0,
        prompt=Prompt("0", 0, asked, {}, "rows.jsonl:1"),
        request=Request("r", "m", asked, SamplingParams()),
        endpoint="here",
        seed=0,
        messages=(*asked, Message("assistant", completion)),
        response=Response(completion, "stop"),
    )


@pytest.mark.parametrize("rule", LIGHT, ids=NAMES)
@given(prompt=st.text(), completion=st.text())
def test_any_text_gets_a_verdict_with_evidence(
    rule: Callable[[Sample], Any], prompt: str, completion: str
) -> None:
    verdict = rule(sample_of(prompt, completion))
    assert verdict.passed or (verdict.reason and verdict.evidence)


@pytest.mark.parametrize("rule", LIGHT, ids=NAMES)
def test_a_sample_without_an_answer_or_any_turn_gets_a_verdict(
    rule: Callable[[Sample], Any],
) -> None:
    sample = sample_of("Hello.", "")
    assert rule(replace(sample, messages=sample.messages[:-1], response=None)).passed
    assert rule(replace(sample, messages=())).passed


@pytest.mark.parametrize("text", HOSTILE)
def test_a_long_text_of_any_shape_takes_no_time(text: str) -> None:
    # Short ones first: where time grows with the square, they tell before the whole text hangs.
    for length in (2_000, 10_000, 50_000):
        long = (text * (length // len(text) + 1))[:length]
        sample = sample_of(long[:1000], long)
        for rule in LIGHT:
            began_s = time.thread_time()  # of our own CPU: others may need theirs
            rule(sample)  # type: ignore[operator]
            assert time.thread_time() - began_s < 0.5, (type(rule).__name__, length)


@pytest.mark.parametrize("rule", LIGHT, ids=NAMES)
def test_rules_that_may_run_on_the_event_loop_say_so(rule: Any) -> None:
    takes_long_on_long_texts = isinstance(rule, ProfanityValidator | ReadabilityValidator)
    assert getattr(rule, "is_light", False) is not takes_long_on_long_texts
