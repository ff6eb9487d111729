"""Asked again: an answer stays if it is the majority's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consulting import Adviser, says
from weave_async.records import Sample
from weave_async.validation.self_consistency import SelfConsistencyValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("own", "others", "reason"),
    [
        ("It is 12.", ["12", "so 12.0", "1,2", "thus: 12"], ""),
        ("It is 12.", ["12", "12", "7", "8"], ""),
        ("It is 12.", ["7", "7", "7", "12"], "minority"),
        ("It is 12.", ["7", "7", "12", "8"], "no_majority"),
        ("It is 12.", ["12", "1", "2", "3"], "no_majority"),
        ("It is 12.", ["12", "I do not know", "no idea", "none"], "no_majority"),
        ("I do not know.", ["12"], "no_answer"),
    ],
)
def test_an_answer_passes_that_most_of_all_agree_with(
    make_sample: MakeSample, own: str, others: list[str], reason: str
) -> None:
    rule = SelfConsistencyValidator(min_share=0.5)
    verdict = asyncio.run(rule.verdict(make_sample(own), says(*others)))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_the_prompt_is_asked_as_it_was_with_a_temperature_and_seeds_of_its_own(
    make_sample: MakeSample,
) -> None:
    sample = make_sample("12", max_tokens=77)
    params = replace(sample.request.params, temperature=0.0, seed=5, top_p=0.9)
    sample = replace(sample, request=replace(sample.request, params=params))
    adviser = says("12")
    rule = SelfConsistencyValidator(draws=3)
    verdict = asyncio.run(rule.verdict(sample, adviser))
    assert verdict.evidence == {"answer": "12", "share": 1.0, "votes": {"12": 4}}
    assert [question.draw for question in adviser.asked] == [0, 1, 2]
    for question in adviser.asked:
        assert question.messages == sample.request.messages
        assert question.params == replace(params, temperature=0.8, seed=None)


@pytest.mark.parametrize(
    ("options", "text", "extracted"),
    [
        ({}, "First 3, then 1,234.50 euros.", "1234.5"),
        ({}, "minus: -4", "-4"),
        ({}, "-0", "0"),
        ({}, "007", "7"),
        ({}, "the year 2024, then", "2024"),
        ({}, "v1.2.3 of abc9", None),
        ({}, "none", None),
        ({"extract": "boxed"}, r"so \boxed{\frac{1}{2}} or \boxed{ \frac{a}{b} }", r"\frac{a}{b}"),
        ({"extract": "boxed"}, r"so \boxed{$1{,}0$", None),
        ({"extract": "boxed"}, r"\boxed{3.0}", "3"),
        ({"extract": "boxed"}, r"\boxed{1e999999999}", "1e999999999"),
        ({"extract": "whole"}, " Yes,\n it IS ", "yes, it is"),
        ({"extract": "whole"}, "  ", None),
        ({"extract": "regex", "pattern": r"Answer: (\w+)"}, "Answer: a. Answer: b.", "b"),
        ({"extract": "regex", "pattern": r"[A-D]\b"}, "not A but C", "C"),
        ({"extract": "regex", "pattern": "x"}, "none", None),
    ],
)
def test_what_counts_of_an_answer_is_told_apart_from_how_it_is_written(
    options: Any, text: str, extracted: str | None
) -> None:
    assert SelfConsistencyValidator(**options).extracted(text) == extracted


def test_a_pattern_that_never_ends_finds_nothing(make_sample: MakeSample) -> None:
    rule = SelfConsistencyValidator(extract="regex", pattern=r"(a|aa)+$")
    started_s = time.monotonic()
    assert rule.extracted("a" * 5000 + "!") is None
    assert time.monotonic() - started_s < 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"draws": 0}, "draws must be 1 to 50, not 0"),
        ({"min_share": 1.5}, "min_share must be between 0 and 1, not 1.5"),
        ({"pattern": "x"}, "extract: regex"),
        ({"extract": "regex"}, "needs one"),
        ({"extract": "regex", "pattern": "("}, r"'\(' is no pattern"),
    ],
)
def test_wrong_options_are_refused(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SelfConsistencyValidator(**options)


def test_draws_that_differ_from_run_to_run_are_told_in_the_evidence(
    make_sample: MakeSample,
) -> None:
    adviser = Adviser(lambda question: f"It is {question.draw % 2}")
    verdict = asyncio.run(SelfConsistencyValidator().verdict(make_sample("It is 5"), adviser))
    assert verdict.reason == "minority"
    assert verdict.evidence["votes"] == {"0": 2, "1": 2, "5": 1}
