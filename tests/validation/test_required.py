"""Terms that must, or must not, be there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weave_async.records import Sample
from weave_async.validation.required import RequiredValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("validator", "completion", "reason"),
    [
        (RequiredValidator(any=["tea", "coffee"]), "Coffee, please.", ""),
        (RequiredValidator(any=["tea", "coffee"]), "Milk, please.", "none_of_required"),
        (RequiredValidator(all=["tea", "milk"]), "TEA with milk.", ""),
        (RequiredValidator(all=["tea", "milk"]), "Tea, no sugar.", "required_missing"),
        (RequiredValidator(none=["sorry"]), "I am Sorry.", "forbidden"),
        (RequiredValidator(none=["sorry"]), "A sorryness.", ""),
        (RequiredValidator(any=["tea"]), "A teapot.", "none_of_required"),
        (RequiredValidator(any=["tea"]), "steak_tea", "none_of_required"),
        (RequiredValidator(any=["tea"]), "(tea)-time", ""),
        (RequiredValidator(all=["c++", "a.b"]), "C++ and a.b!", ""),
        (RequiredValidator(all=["a.b"]), "axb", "required_missing"),
        (RequiredValidator(all=["New York"]), "in new york", ""),
        (RequiredValidator(all=["Straße"]), "die STRAßE", ""),
        (RequiredValidator(), "", ""),
    ],
)
def test_terms_are_whole_words_in_any_case(
    make_sample: MakeSample, validator: RequiredValidator, completion: str, reason: str
) -> None:
    verdict = validator(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_the_evidence_names_the_terms(make_sample: MakeSample) -> None:
    sample = make_sample("Tea and cake, sorry.")
    assert RequiredValidator(any=["milk"])(sample).evidence == {"any": ["milk"]}
    assert RequiredValidator(all=["tea", "milk"])(sample).evidence == {"missing": ["milk"]}
    assert RequiredValidator(none=["sorry", "no"])(sample).evidence == {"found": ["sorry"]}


def test_all_three_rules_hold_at_once(make_sample: MakeSample) -> None:
    rule = RequiredValidator(any=["tea"], all=["cake"], none=["sorry"])
    assert rule(make_sample("Tea and cake.")).passed
    for completion in ("Cake.", "Tea.", "Tea and cake, sorry."):
        assert not rule(make_sample(completion)).passed


def test_only_the_completion_counts(make_sample: MakeSample) -> None:
    assert not RequiredValidator(any=["tea"])(make_sample("Milk.", user="Any tea?")).passed


def test_what_is_required_is_to_be_protected_from_noise() -> None:
    rule = RequiredValidator(any=["tea"], all=["cake"], none=["sorry"])
    assert rule.protected_terms == ["tea", "cake"]


def test_a_term_may_be_required_several_times(make_sample: MakeSample) -> None:
    sample = make_sample("Tea, coffee and tea.")
    assert RequiredValidator(any=["tea", "coffee"], min_count=3)(sample).passed
    assert RequiredValidator(all=["tea"], min_count=2)(sample).passed
    verdict = RequiredValidator(all=["tea", "coffee"], min_count=2)(sample)
    assert verdict.evidence == {"missing": ["coffee"]}
    with pytest.raises(ValueError, match="not 0"):
        RequiredValidator(all=["tea"], min_count=0)


def test_the_prompt_can_be_looked_at_instead(make_sample: MakeSample) -> None:
    sample = make_sample("Milk.", user="Any tea?")
    assert RequiredValidator(any=["tea"], field="prompt")(sample).passed
    assert not RequiredValidator(none=["tea"], field="both")(sample).passed


@pytest.mark.parametrize("options", [{"any": [""]}, {"none": ["a", " "]}])
def test_what_every_text_fulfils_is_refused(options: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="an empty term stands in every text"):
        RequiredValidator(**options)  # type: ignore[arg-type]
