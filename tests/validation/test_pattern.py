"""Patterns of a user's, those included that would run for ever."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from weave_async.records import Sample
from weave_async.validation.pattern import PatternValidator

MakeSample = Callable[..., Sample]
BOMBS = [
    (r"(a+)+$", "a" * 40 + "!"),
    (r"(a|a)*$", "a" * 40 + "!"),
    (r"(a|aa)+$", "a" * 60 + "!"),
    (r"(a|a?)+$", "a" * 60 + "!"),
    (r"(.*a){25}", "a" * 40),
    (r"(.*,){12}P", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16" * 3 + "P"),
    (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 60 + "A"),
    (r"([a-zA-Z]+)*$", "a" * 40 + "!"),
    (r"^(\w+\s?)*$", "word " * 40 + "!"),
    (r"^(\d+)*$", "1" * 40 + "x"),
    (r"(x+x+)+y", "x" * 50 + "zy"),
    (r"(a*)*b", "a" * 50 + "cb"),
    (r"(a?){40}a{40}", "a" * 40),
    (r"(?:(?:a*)*)*c$", "a" * 50 + "cd"),
    (r"((a{0,50}){0,50}){0,50}b$", "a" * 60 + "bc"),
    (r"^([^@]+)+@$", "a" * 50 + "@b"),
    (r"(a|b|ab)*c$", "ab" * 50 + "cd"),
    (r"(?=(a+)+$)x", "a" * 40 + "!x"),
    (r"(.+)+\1z", "ab" * 40 + "z"),
    (r"(a+){10}(a+){10}(a+){10}b$", "a" * 100 + "bc"),
    (r"\s+$", " " * 60_000 + "x"),
    (r"^(?:.|\s)+$!", "a b" * 50 + "!"),
    (r"(([a-z]+)-?)+$", "ab" * 30 + "!"),
    (r"(?i)((e|É|é)+)+x$", "eéÉ" * 40 + "xy"),
    (r"(?:abcde){e<=4}(?:fghij){e<=4}z$", "abfgcdhi" * 500 + "zy"),
]


@pytest.mark.parametrize(
    ("options", "completion", "reason"),
    [
        ({"match": "^Yes"}, "Yes, it is.", ""),
        ({"match": "^Yes"}, "No.", "pattern_missing"),
        ({"match": ["a", "b"]}, "b and a", ""),
        ({"match": ["a", "b"]}, "a", "pattern_missing"),
        ({"match": "(?i)YES"}, "yes", ""),
        ({"match": r"\p{Lu}"}, "Éa", ""),
        ({"forbid": r"\bTODO\b"}, "a TODO here", "pattern_forbidden"),
        ({"forbid": r"\bTODO\b"}, "TODOS", ""),
        ({"forbid": ["x", "y"]}, "z", ""),
        ({"match": "a", "forbid": "a"}, "a", "pattern_forbidden"),
        ({"match": "colours", "field": "prompt"}, "none", ""),
        ({"forbid": "colours", "field": "prompt"}, "none", "pattern_forbidden"),
        ({"forbid": "colours", "field": "completion"}, "none", ""),
        ({"match": "none", "field": "both"}, "none", ""),
    ],
)
def test_patterns_decide(
    make_sample: MakeSample, options: dict[str, Any], completion: str, reason: str
) -> None:
    verdict = PatternValidator(**options)(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_the_evidence_says_what_was_found_where(make_sample: MakeSample) -> None:
    verdict = PatternValidator(forbid=r"\d{3}")(make_sample("call 123 now"))
    assert verdict.evidence == {"pattern": r"\d{3}", "found": "123", "at": 5}


@pytest.mark.parametrize(("pattern", "text"), BOMBS, ids=[pattern for pattern, _ in BOMBS])
def test_a_pattern_that_runs_wild_costs_the_row_and_no_time(
    make_sample: MakeSample, pattern: str, text: str
) -> None:
    rule = PatternValidator(forbid=["no such text", pattern], timeout_s=0.05)
    sample = make_sample(text)
    began_s = time.process_time()
    verdict = rule(sample)
    assert time.process_time() - began_s < 0.5
    if not verdict.passed:
        assert verdict.reason in ("pattern_timed_out", "pattern_forbidden")


def test_a_time_out_is_a_rejection_that_names_the_pattern(make_sample: MakeSample) -> None:
    verdict = PatternValidator(match="(a|a)*$", timeout_s=0.02)(make_sample("a" * 40 + "!" * 1000))
    if verdict.passed:  # the library has learnt this one
        pytest.skip("no longer a bomb")
    assert verdict.reason == "pattern_timed_out"
    assert verdict.evidence == {"pattern": "(a|a)*$", "timeout_s": 0.02}


def test_the_time_is_for_all_patterns_together(make_sample: MakeSample) -> None:
    rule = PatternValidator(forbid=["(a+){10}(a+){10}(a+){10}b$"] * 50, timeout_s=0.05)
    sample = make_sample("a" * 100 + "bc")
    began_s = time.process_time()
    assert rule(sample).reason == "pattern_timed_out"
    assert time.process_time() - began_s < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"match": "(a"}, r"match: '\(a' is no pattern: missing \) at position 2"),
        ({"forbid": ["fine", "[z-a]"]}, r"forbid: '\[z-a\]' is no pattern: .* at position"),
        ({"match": "(" * 2000 + ")" * 2000}, "nested too deep"),
        ({"match": "a" * 10_001}, "10001 characters, at most 10000"),
        ({"match": "((a{1000}){1000}){1000}"}, "multiply to more than 1000000"),
        ({}, "name a pattern under 'match' or 'forbid'"),
        ({"match": "a", "timeout_s": 0}, "timeout_s 0"),
        ({"match": "a", "timeout_s": 2}, "timeout_s 2"),
    ],
)
def test_what_is_no_pattern_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PatternValidator(**options)


def test_options_are_checked_by_type() -> None:
    adapter = TypeAdapter(PatternValidator)
    assert adapter.validate_python({"match": "a"}).match == "a"
    with pytest.raises(ValidationError):
        adapter.validate_python({"match": "a", "field": "answer"})


def test_it_goes_to_a_worker_process_and_decides_there_alike(make_sample: MakeSample) -> None:
    rule = pickle.loads(pickle.dumps(PatternValidator(forbid="b")))
    assert rule(make_sample("a")).passed
    assert not rule(make_sample("b")).passed


def test_an_empty_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="forbid: an empty pattern is found in every text"):
        PatternValidator(forbid=["x", ""])
