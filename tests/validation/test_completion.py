"""There must be an answer to learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from weave_async.records import FinishReason, Response, Sample
from weave_async.validation.completion import CompletionValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize("finish_reason", ["stop", "length", "tool_calls", "unknown"])
def test_an_answer_passes(make_sample: MakeSample, finish_reason: FinishReason) -> None:
    assert CompletionValidator()(make_sample("Yes.", finish_reason=finish_reason)).passed


@pytest.mark.parametrize("completion", ["", " \n\t"])
def test_an_empty_answer_is_refused(make_sample: MakeSample, completion: str) -> None:
    verdict = CompletionValidator()(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (False, "empty")
    assert verdict.evidence == {"finish_reason": "stop"}


@pytest.mark.parametrize("finish_reason", ["content_filter", "error"])
def test_an_answer_that_was_filtered_or_broken_off_is_refused(
    make_sample: MakeSample, finish_reason: FinishReason
) -> None:
    response = Response("Half an ans", finish_reason, raw_finish_reason="their word")
    verdict = CompletionValidator()(make_sample("Half an ans", response=response))
    assert (verdict.passed, verdict.reason) == (False, finish_reason)
    assert verdict.evidence == {"finish_reason": "their word"}


def test_a_sample_without_a_response_is_refused(make_sample: MakeSample) -> None:
    assert not CompletionValidator()(replace(make_sample(), response=None)).passed
