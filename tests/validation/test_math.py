"""Answers whose result must equal the one in their row."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weave_async.records import Sample, Verdict
from weave_async.validation import math
from weave_async.validation.math import MathValidator

MakeSample = Callable[..., Sample]


def judged(make_sample: MakeSample, reference: Any, completion: str) -> Verdict:
    sample = make_sample(completion)
    prompt = replace(sample.prompt, columns={"solution": reference})
    return MathValidator("solution")(replace(sample, prompt=prompt))


@pytest.mark.parametrize(
    ("reference", "completion"),
    [
        (42, "6 times 7 is 42."),
        (42, r"So it is \boxed{42.0}, and not 43."),
        ("1/2", "That makes 0.5"),
        (0.1, "10%"),
        (r"\frac12", "The answer is 0.5."),
        (r"2\sqrt{3}", r"$\sqrt{12}$"),
        (r"$(x+1)^2$", r"\boxed{x^2 + 2x + 1}"),
        ("x=5", "Hence $x = 5$"),
        ("1,234", "The total is 1234."),
        ("2,3", r"\boxed{3, 2}"),
        ("72 apples", "She has 72."),
        ("12 - 2 = 10, so ten\n#### 10", "#### 10"),
        (-5, "it falls to −5"),
        ("1e3", "1000"),
        ("yes", "So the answer is **Yes**."),
        ("B", r"\boxed{\text{B}}"),
        ("B", "Answer: (B)"),
    ],
)
def test_results_that_mean_the_same_are_equal(
    make_sample: MakeSample, reference: Any, completion: str
) -> None:
    verdict = judged(make_sample, reference, completion)
    assert (verdict.passed, verdict.reason) == (True, "")


@pytest.mark.parametrize(
    ("reference", "completion", "reason"),
    [
        (42, "43", "wrong_result"),
        ("1/3", "0.33", "wrong_result"),
        (r"\pi", "3.14", "wrong_result"),
        ("B", "It is A.", "wrong_result"),
        ("yes", "Eyes", "wrong_result"),
        (42, "I do not know.", "no_result"),
        (42, "", "no_result"),
        (None, "42", "no_reference"),
        (True, "1", "no_reference"),
        ([1], "1", "no_reference"),
        ("", "1", "no_reference"),
        (3, "(" * 100_000, "no_result"),
    ],
)
def test_others_are_rejected(
    make_sample: MakeSample, reference: Any, completion: str, reason: str
) -> None:
    assert judged(make_sample, reference, completion).reason == reason


@pytest.mark.parametrize("hostile", ["${", r"\boxed{", "1+", "$^", r"\frac", "answer "])
def test_nesting_without_end_is_a_rejection(make_sample: MakeSample, hostile: str) -> None:
    assert not judged(make_sample, 3, hostile * 20_000).passed


def test_the_evidence_holds_both_results(make_sample: MakeSample) -> None:
    assert judged(make_sample, 42, r"\boxed{43}").evidence == {"expected": "42", "found": "43"}


def test_decimals_say_how_close_is_equal(make_sample: MakeSample) -> None:
    sample = make_sample("0.33")
    sample = replace(sample, prompt=replace(sample.prompt, columns={"answer": "0.333"}))
    assert MathValidator(decimals=2)(sample).passed
    assert not MathValidator(decimals=3)(sample).passed
    with pytest.raises(ValueError, match="20"):
        MathValidator(decimals=20)


def test_a_number_too_large_to_be_written_down_is_given_up(
    make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(math, "TIMEOUT_S", 1)
    assert judged(make_sample, 9, "9^9^9^9^9").reason == "too_slow"


def test_it_works_in_a_thread_where_no_alarm_can_be_set(make_sample: MakeSample) -> None:
    found: list[Verdict] = []
    thread = Thread(target=lambda: found.append(judged(make_sample, 42, "42")))
    thread.start()
    thread.join()
    assert found[0].passed


def test_the_column_is_told_before_and_missed_after(make_sample: MakeSample) -> None:
    assert MathValidator("solution").columns_read == ["solution"]
    verdict = MathValidator("solution")(make_sample("42"))
    assert (verdict.reason, verdict.evidence) == ("no_such_field", {"field": "solution"})


def test_without_math_verify_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"weave-async\[validation\]"):
        MathValidator()


@given(st.text(st.sampled_from("0127.,+-*/()= $\\{}#%x\ud800é"), max_size=40), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_nothing_raises(make_sample: MakeSample, text: str, is_reference: bool) -> None:
    judged(make_sample, *((text, "2") if is_reference else ("2", text)))
