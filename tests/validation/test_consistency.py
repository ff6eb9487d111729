"""Answers that must agree with their row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weave_async.records import NoiseEdit, Sample, TextChange, Verdict
from weave_async.validation.consistency import ConsistencyValidator

MakeSample = Callable[..., Sample]


def with_columns(sample: Sample, **columns: Any) -> Sample:
    return replace(sample, prompt=replace(sample.prompt, columns=columns))


# --- labels --------------------------------------------------------------------------------------

LABELS = ["positive", "negative", "very positive"]


@pytest.mark.parametrize(
    ("label", "completion", "reason"),
    [
        ("positive", "Positive.", ""),
        ("very positive", "It is Very\npositive!", ""),
        ("positive", "It is very positive.", "other_label"),
        ("positive", "Positive, hardly negative.", "other_label"),
        ("positive", "Positively so.", "label_missing"),
        ("positive", "", "label_missing"),
        (3, "3 of 5", ""),
        (["positive", "good"], "Good.", ""),
        (None, "Positive.", "empty_field"),
        (" ", "Positive.", "empty_field"),
        ({}, "Positive.", "empty_field"),
    ],
)
def test_an_answer_names_its_label_and_no_other(
    make_sample: MakeSample, label: Any, completion: str, reason: str
) -> None:
    rule = ConsistencyValidator("mood", labels=LABELS)
    verdict = rule(with_columns(make_sample(completion), mood=label))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_without_a_list_of_labels_others_do_no_harm(make_sample: MakeSample) -> None:
    sample = with_columns(make_sample("Positive, hardly negative."), mood="positive")
    assert ConsistencyValidator("mood")(sample).passed


def test_an_attribute_goes_before_a_column(make_sample: MakeSample) -> None:
    sample = with_columns(make_sample("Positive."), mood="negative")
    sample = replace(sample, prompt=replace(sample.prompt, attributes={"mood": "positive"}))
    assert ConsistencyValidator("mood")(sample).passed


# --- what must be contained ----------------------------------------------------------------------


def test_each_value_of_the_columns_must_be_named(make_sample: MakeSample) -> None:
    rule = ConsistencyValidator(contains=["name", "terms"])
    sample = with_columns(make_sample("Zoë drank tea in\nNew  York."), name="zoë", terms=["tea"])
    assert rule(sample).passed
    verdict = rule(with_columns(sample, name="Zoë", terms=["new york", "tea", "milk"]))
    assert verdict.reason == "not_contained"
    assert verdict.evidence == {"field": "terms", "missing": ["milk"]}


def test_the_columns_are_told_before_and_missed_after(make_sample: MakeSample) -> None:
    rule = ConsistencyValidator("mood", contains=["name"])
    assert rule.columns_read == ["mood", "name"]
    verdict = rule(with_columns(make_sample("good"), mood="good"))
    assert (verdict.reason, verdict.evidence) == ("no_such_field", {"field": "name"})
    assert ConsistencyValidator(numbers="kept").columns_read == []


# --- numbers -------------------------------------------------------------------------------------


def numbers(make_sample: MakeSample, rule: Any, user: str, completion: str) -> Verdict:
    return ConsistencyValidator(numbers=rule)(make_sample(completion, user=user))


@pytest.mark.parametrize(
    ("user", "completion"),
    [
        ("It costs 1,234.00 for 3 people.", "1234 for three people"),
        ("1.234,5 km", "1,234.50 km"),
        ("Kosten: 1.234 Euro", "1234 euros"),
        ("on 2024-05-03", "on 3 May 2024, the 5th month"),
        ("pages 3-5", "pages 3 to 5"),
        ("-5 °C", "−5 °C"),
        ("5kg of B2B", "5 kg"),
        (".5", "0.50"),
        ("007", "7"),
        ("no number", "1. first\n2. second\n(3) third"),
        ("no number", "one of them"),
    ],
)
def test_a_number_may_be_written_in_another_way(
    make_sample: MakeSample, user: str, completion: str
) -> None:
    assert numbers(make_sample, "same", user, completion).passed


def test_a_number_that_is_lost_is_told(make_sample: MakeSample) -> None:
    verdict = numbers(make_sample, "kept", "3 cats, 5 dogs, 5 birds", "3 cats, 6 dogs")
    assert (verdict.reason, verdict.evidence) == ("number_lost", {"numbers": ["5"]})
    assert numbers(make_sample, "grounded", "3 cats, 5 dogs", "3 cats").passed


def test_a_number_from_nowhere_is_told(make_sample: MakeSample) -> None:
    verdict = numbers(make_sample, "grounded", "3 cats", "3 cats, -3 dogs and 7.5 birds")
    assert verdict.reason == "number_not_in_prompt"
    assert verdict.evidence == {"numbers": ["-3", "7.5"]}
    assert numbers(make_sample, "kept", "3 cats", "3 cats, 7 dogs").passed


# --- options, and whatever comes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"), [({}, "nothing to compare"), ({"labels": ["a"]}, "need a label")]
)
def test_a_rule_that_compares_nothing_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ConsistencyValidator(**options)


@given(st.text(), st.text(), st.none() | st.text() | st.integers() | st.lists(st.text()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_raises(make_sample: MakeSample, user: str, completion: str, cell: Any) -> None:
    rule = ConsistencyValidator("a", labels=["x"], contains=["a"], numbers="same")
    rule(with_columns(make_sample(completion, user=user), a=cell))
    ConsistencyValidator(numbers="same")(make_sample(completion, user=user))


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_grouped_numbers_are_those_without_groups(
    make_sample: MakeSample, values: list[int]
) -> None:
    plain, grouped = (" and ".join(format(v, spec) for v in values) for spec in ("d", ",d"))
    assert numbers(make_sample, "same", plain, grouped).passed


def test_more_than_can_be_compared_in_passing_is_refused(make_sample: MakeSample) -> None:
    rule = ConsistencyValidator(numbers="kept")
    for text in ("1" * 190_000, "1," * 95_000, "- " * 95_000, "x " * 95_000):
        assert rule(make_sample(text, user="1")).reason in ("", "number_lost")
    assert rule(make_sample("x " * 500_000)).reason == "too_large"


def test_numbers_are_compared_before_noise_which_may_write_them_otherwise(
    make_sample: MakeSample,
) -> None:
    rule = ConsistencyValidator(numbers="same")
    edit = NoiseEdit("asr", 0, (TextChange(3, "1,250", "one thousand two hundred fifty"),))
    clean = make_sample("1,250 kg", user="We 1,250 kg.")
    noisy = make_sample("1,250 kg", user="We one thousand two hundred fifty kg.")
    assert rule(clean).passed
    assert not rule(noisy).passed
    assert rule(replace(noisy, edits=(edit,))).passed
