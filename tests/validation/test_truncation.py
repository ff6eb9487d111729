"""Answers that break off, and those that only look like it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.code import without_code
from weave_async.validation.truncation import TruncationValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Run this:\n```python\nprint(1)", "open_fence"),
        ("One:\n```\na\n```\nTwo:\n```\nb", "open_fence"),
        ("It is cold, wet,", "mid_sentence"),
        ("First we boil the", "mid_sentence"),
        ("We went home because it rained and", "mid_sentence"),
        ("It is larger than", "mid_sentence"),
        ("Three things:\n- one\n- two\n-", "dangling_item"),
        ("Steps:\n1. Boil\n2.", "dangling_item"),
        ("It rains (as it often does in", "open_bracket"),
        ('{"a": [1, 2', "open_bracket"),
        ("See [the manual", "open_bracket"),
    ],
)
def test_what_breaks_off_is_refused(make_sample: MakeSample, text: str, reason: str) -> None:
    verdict = TruncationValidator()(make_sample(text))
    assert (verdict.passed, verdict.reason) == (False, reason)
    assert text.endswith(verdict.evidence["tail"])


@pytest.mark.parametrize(
    "text",
    [
        "positive",
        "yes it is",
        "where are you from",
        "The answer is A",
        "who are you going with",
        "that's what I was thinking of",
        "they are two dollars each",
        "It rains (a lot).",
        "It rains (a lot.",
        "I am sad :( so sad",
        "nice :)\nbye ;(",
        "a) tea\nb) coffee",
        "1) tea 2) coffee",
        "The interval [0, 1) is half open",
        "x = a[1:3]\ny = f(x[:2])",
        "def f(x):\n    return {'a': [x]}",
        'if c == "(":\n    depth += 1',
        "```\n(((\n```",
        "Run `f(` to see",
        "```python\nprint(1)\n```",
        "~~~\na\n~~~",
        "Dear Bo,\nthanks.\n\nBest regards,",
        "Kind regards,\nJo",
        "The film is called And",
        "rock-and-roll",
        "- one\n- two",
        "42",
        "",
        "It rains — a lot —",
        "He likes the Who",
        "Smile (:",
    ],
)
def test_what_is_whole_passes(make_sample: MakeSample, text: str) -> None:
    verdict = TruncationValidator()(make_sample(text))
    assert verdict.passed, (verdict.reason, verdict.evidence)


def test_what_ran_into_max_tokens_is_refused(make_sample: MakeSample) -> None:
    sample = make_sample("It rains.", finish_reason="length", max_tokens=4)
    verdict = TruncationValidator()(sample)
    assert (verdict.reason, verdict.evidence) == ("cut_off", {"max_tokens": 4})
    assert TruncationValidator(checks=["fence"])(sample).passed


def test_checks_can_be_left_out(make_sample: MakeSample) -> None:
    sample = make_sample("First we boil the")
    assert TruncationValidator(checks=["finish_reason", "fence", "bracket", "item"])(sample).passed


@given(st.lists(st.sampled_from(["`", "```", "~~~", "a", "\n", " "]), max_size=20).map("".join))
def test_leaving_code_out_leaves_offsets_as_they_are(text: str) -> None:
    prose = without_code(text)
    assert len(prose) == len(text)
    assert all(here in (there, " ") for here, there in zip(prose, text, strict=True))
