"""Gopher, C4 and FineWeb with the papers' bounds decide as their published filters do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from published_heuristics import CASES, Case
from weave_async.records import Sample
from weave_async.validation.c4 import C4Validator
from weave_async.validation.fineweb import FineWebValidator
from weave_async.validation.gopher_quality import GopherQualityValidator
from weave_async.validation.repetition import RepetitionValidator

MakeSample = Callable[..., Sample]
RULES = {
    "c4": C4Validator,
    "fineweb": FineWebValidator,
    "gopher_quality": GopherQualityValidator,
    "repetition": RepetitionValidator,
}


def ids(case: Case) -> str:
    return f"{case.rule}-{case.reason or 'accepted'}"


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_documents_are_judged_as_the_published_filters_judge_them(
    make_sample: MakeSample, case: Case
) -> None:
    verdict = RULES[case.rule](preset="document", **case.options)(make_sample(case.text))
    assert (verdict.passed, verdict.reason) == (case.datatrove is True, case.reason)
