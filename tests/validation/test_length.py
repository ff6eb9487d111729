"""Bounds on the length of completions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from weave_async.records import Sample
from weave_async.validation.length import LengthValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("options", "completion", "reason"),
    [
        ({}, "one", ""),
        ({}, "", "too_short"),
        ({}, " \n", "too_short"),
        ({"min_words": 3}, "one two", "too_short"),
        ({"min_words": 3}, "one  two\nthree", ""),
        ({"max_words": 2}, "one two", ""),
        ({"max_words": 2}, "one two three", "too_long"),
        ({"max_chars": 5}, "grüß🦆", ""),
        ({"max_chars": 5}, "grüße!", "too_long"),
        ({"min_words": 0}, "", ""),
        ({"max_words": 0, "min_words": 0}, "one", "too_long"),
    ],
)
def test_bounds_are_inclusive(
    make_sample: MakeSample, options: dict[str, Any], completion: str, reason: str
) -> None:
    verdict = LengthValidator(**options)(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_the_evidence_holds_what_was_counted_and_the_bound(make_sample: MakeSample) -> None:
    sample = make_sample("one two three")
    assert LengthValidator(min_words=5)(sample).evidence == {"words": 3, "min_words": 5}
    assert LengthValidator(max_words=2)(sample).evidence == {"words": 3, "max_words": 2}
    assert LengthValidator(max_chars=4)(sample).evidence == {"chars": 13, "max_chars": 4}


def test_what_ran_into_max_tokens_is_refused_unless_that_is_allowed(
    make_sample: MakeSample,
) -> None:
    sample = make_sample("and then he", finish_reason="length", max_tokens=4)
    verdict = LengthValidator()(sample)
    assert (verdict.passed, verdict.reason) == (False, "cut_off")
    assert verdict.evidence == {"max_tokens": 4}
    assert LengthValidator(complete=False)(sample).passed


def test_only_the_completion_counts(make_sample: MakeSample) -> None:
    assert LengthValidator(max_words=2)(make_sample("short answer", user="word " * 100)).passed
