"""Objectives, the search for the highest load that meets one, capacity, and comparisons."""

from __future__ import annotations

import asyncio
import copy
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.bench.attempt import Attempt
from weave_async.bench.capacity import Capacity, capacity_of
from weave_async.bench.comparing import compared
from weave_async.bench.intervals import Figure
from weave_async.bench.load import Load, Window
from weave_async.bench.metrics import StepFigures
from weave_async.bench.search import Search, searched
from weave_async.bench.slo import Objective, Outcome
from weave_async.errors import UsageError


def window_of(num_fast: int, num_slow: int, num_failed: int = 0) -> Window:
    def one(ttft_s: float, error: str | None = None) -> Attempt:
        came_s = array("d", [ttft_s, ttft_s + 0.1])
        return Attempt(0, 0.0, 0.0, came_s, ttft_s + 0.1, output_tokens=2, error=error)

    attempts = [one(0.1)] * num_fast + [one(0.9)] * num_slow + [one(0.1, "X")] * num_failed
    return Window(Load("closed", 1), attempts, 0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "window", "outcome"),
    [
        ("ttft_s.p95<0.5", window_of(200, 0), "met"),
        ("ttft_s.p95<0.5", window_of(20, 0), "unresolved"),
        ("ttft_s.p95<0.5", window_of(160, 40), "missed"),
        ("ttft_s.p95<0.5", window_of(200, 0, 40), "missed"),
        ("ttft_s.p95<0.5", window_of(190, 10), "unresolved"),
        ("ttft_s.p50<0.5, e2e_s.p95<0.5", window_of(160, 40), "missed"),
        ("ttft_s.p50<0.5, tpot_s.p95<0.5", window_of(160, 40), "met"),
        ("error_rate<0.1", window_of(200, 0, 2), "met"),
        ("error_rate<0.01", window_of(200, 0, 40), "missed"),
        ("itl_s.p99 < 0.2", window_of(600, 0), "met"),
    ],
)
def test_an_objective_is_judged_with_how_sure_one_can_be(
    text: str, window: Window, outcome: Outcome
) -> None:
    assert Objective.parse(text).outcome(window) == outcome


@pytest.mark.parametrize("text", ["ttft_s.p95<0.5", "e2e_s.p99<1", "error_rate<0.01"])
def test_as_many_requests_as_an_objective_asks_for_can_tell_that_it_is_met(text: str) -> None:
    objective = Objective.parse(text)
    assert objective.outcome(window_of(objective.fewest_requests, 0)) == "met"
    assert objective.outcome(window_of(objective.fewest_requests // 3, 0)) == "unresolved"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ttft.p95<0.5", "unknown metric 'ttft'"),
        ("ttft_s<0.5", "names no percentile"),
        ("ttft_s.p0<0.5", "names no percentile"),
        ("ttft_s.p100<0.5", "names no percentile"),
        ("ttft_s.p95>0.5", "'ttft_s.p95>0.5' is no condition"),
        ("ttft_s.p95<0", "more than 0 seconds"),
        ("ttft_s.p95<1.2.3", "is no condition"),
        ("error_rate<1", "an error rate is a share"),
        ("error_rate.p95<0.1", "an error rate is a share"),
        (" , ", "holds no condition"),
    ],
)
def test_an_objective_that_says_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Objective.parse(text)


def search(threshold: int, *, start: int = 1, top: int = 512) -> Search:
    async def attempt(level: int) -> Outcome:
        return "met" if level <= threshold else "missed"

    return asyncio.run(searched(attempt, start=start, top=top))


@given(st.integers(0, 600), st.integers(1, 40), st.integers(1, 512))
def test_the_search_finds_what_there_is_with_few_steps(
    threshold: int, start: int, top: int
) -> None:
    found = search(threshold, start=start, top=top)
    assert len(found.tried) <= 2 * 10 + 1
    assert max(found.tried) <= top
    if threshold >= top:
        assert found.reached_the_top
        assert found.best == top
    elif threshold == 0:
        assert found.best is None
        assert "missed at" in str(found)
    else:
        assert found.best is not None
        assert found.best <= threshold
        assert threshold + 1 - found.best <= max(1, 0.05 * (threshold + 1)) + 1


def test_what_is_too_close_to_call_is_not_called() -> None:
    async def attempt(level: int) -> Outcome:
        return "met" if level <= 6 else "unresolved" if level <= 9 else "missed"

    found = asyncio.run(searched(attempt, start=1, top=64))
    assert str(found) == "met at 6; too close to call at 7, 8"


def test_a_search_that_was_ended_claims_no_more_than_it_saw() -> None:
    async def attempt(level: int) -> Outcome | None:
        return "met" if level < 8 else None

    assert str(asyncio.run(searched(attempt, start=1, top=64))) == "ended early: met at 4"


def step(level: float, rate: float, *, kind: Any = "closed") -> StepFigures:
    return StepFigures(
        load=Load(kind, level),
        duration_s=10.0,
        num_answered=100,
        num_failed=0,
        errors={},
        error_examples={},
        requests_per_s=Figure(rate, 0.98 * rate, 1.02 * rate, 100),
        output_tokens_per_s=0.0,
        input_tokens_per_s=None,
        latencies={"ttft_s": {"p50": Figure(0.1, 0.09, 0.11, 100)}},
        with_failures={},
        tokens_per_chunk=None,
        is_estimated=False,
        is_streamed=True,
    )


def test_capacity_and_knee_of_a_server_with_slots() -> None:
    found = capacity_of([step(1, 2), step(4, 8), step(16, 16), step(32, 16)])
    assert found == Capacity(16.0, 8.0, is_reached=True)


def test_no_capacity_is_claimed_while_more_load_brings_more() -> None:
    found = capacity_of([step(1, 2), step(4, 8), step(8, 15)])
    assert found is not None
    assert not found.is_reached
    assert str(found) == "more than 15.0 requests/s: it still rose at the last step"
    assert capacity_of([step(1, 2), step(4, 8), step(5, 8.1)]).is_reached is False  # type: ignore[union-attr]
    assert capacity_of([step(1, 2)]) is None
    assert capacity_of([step(5, 5, kind="constant"), step(10, 10, kind="constant")]) is None


def result_of(*rates: float, ttft_s: float = 0.1) -> dict[str, Any]:
    steps = [step(2**number, rate).as_dict() for number, rate in enumerate(rates)]
    for each in steps:
        each["latencies"]["ttft_s"]["p50"] = {
            "value": ttft_s,
            "low": 0.98 * ttft_s,
            "high": 1.02 * ttft_s,
            "n": 100,
        }
    return {"workload": "w", "backends": [{"name": "one", "steps": steps}]}


def test_equal_results_are_not_worse() -> None:
    assert not any(each["is_worse"] for each in compared(result_of(5, 9), result_of(5, 9)))


def test_fewer_requests_and_longer_waits_are_worse_and_the_opposite_is_not() -> None:
    before = result_of(5, 9)
    worse = [each for each in compared(before, result_of(5, 7)) if each["is_worse"]]
    assert [(each["load"]["level"], each["figure"]) for each in worse] == [(2, "requests_per_s")]
    assert worse[0]["relative"] == pytest.approx(-2 / 9)
    slower = compared(before, result_of(5, 9, ttft_s=0.2))
    assert [each["figure"] for each in slower if each["is_worse"]] == ["ttft_s p50"] * 2
    assert not any(each["is_worse"] for each in compared(before, result_of(8, 12, ttft_s=0.05)))


def test_a_change_within_the_intervals_is_not_worse() -> None:
    assert not any(each["is_worse"] for each in compared(result_of(5, 9), result_of(5, 8.8)))


def test_other_workloads_are_not_compared() -> None:
    other = copy.deepcopy(result_of(5, 9))
    other["workload"] = "another"
    with pytest.raises(UsageError, match="other workloads"):
        compared(result_of(5, 9), other)
