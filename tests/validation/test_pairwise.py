"""An answer beside another one: positions are swapped, and a verdict counts where both agree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consulting import Adviser, Question, says
from weave_async.records import Sample, Verdict
from weave_async.validation.pairwise import PairwiseValidator

MakeSample = Callable[..., Sample]


def better(which: str) -> str:
    return json.dumps({"reason": "because", "better": which})


def prefers(*good: str) -> Callable[[Question], str]:
    """A judge with a taste, whatever the order; a tie where neither or both are to it."""

    def script(question: Question) -> str:
        first, second = (shown(question, which) in good for which in ("A", "B"))
        return better("tie" if first == second else "A" if first else "B")

    return script


def shown(question: Question, which: str) -> str:
    return question.text.split(f"[begin answer {which} ")[1].split("]\n")[1].split("\n[end")[0]


def compared(sample: Sample, script: Callable[[Question], str], **options: Any) -> Verdict:
    rule = PairwiseValidator("gold", **options)
    return asyncio.run(rule.verdict(sample, Adviser(script)))


@pytest.fixture
def sample(make_sample: MakeSample) -> Sample:
    made = make_sample("ours")
    return replace(made, prompt=replace(made.prompt, columns={"gold": "theirs", "none": None}))


@pytest.mark.parametrize(
    ("script", "options", "reason"),
    [
        (prefers("ours"), {}, ""),
        (prefers("theirs"), {}, "worse_than_reference"),
        (prefers(), {}, ""),
        (prefers(), {"tie": False}, "tie"),
        (lambda question: better("A"), {}, "positions_disagree"),
        (lambda question: better("B"), {"repeats": 3}, "positions_disagree"),
        (lambda question: "neither", {}, "no_verdict"),
        (lambda question: better("C"), {}, "no_verdict"),
    ],
)
def test_an_answer_passes_that_is_not_the_worse_one_in_both_positions(
    sample: Sample, script: Callable[[Question], str], options: Any, reason: str
) -> None:
    verdict = compared(sample, script, **options)
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_of_several_comparisons_the_majority_of_those_that_count_decides(sample: Sample) -> None:
    ours, theirs = prefers("ours"), prefers("theirs")

    def script(question: Question) -> str:
        by_draw = [ours, theirs, ours, lambda question: better("A")]
        return by_draw[question.draw](question)

    verdict = compared(sample, script, repeats=4)
    assert verdict.passed
    evidence = verdict.evidence
    assert (evidence["won"], evidence["lost"], evidence["inconsistent"]) == (2, 1, 1)


def test_an_attribute_may_be_the_other_one_and_an_empty_one_is_told(sample: Sample) -> None:
    assert PairwiseValidator("gold").columns_read == ("gold",)
    empty = asyncio.run(PairwiseValidator("none").verdict(sample, says("")))
    assert (empty.passed, empty.reason) == (False, "no_reference")
    sample = replace(sample, prompt=replace(sample.prompt, attributes={"gold": "of it"}))
    adviser = says(better("tie"))
    asyncio.run(PairwiseValidator("gold").verdict(sample, adviser))
    assert [shown(question, "B") for question in adviser.asked] == ["of it", "ours"]
