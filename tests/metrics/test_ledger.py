"""What is counted, and what the figures say."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from weave_async.metrics.ledger import RunMetrics
from weave_async.records import Failure, Rejection, Response, Sample, Usage

MakeSample = Callable[..., Sample]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, as a list whose only item is the time."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def answered(make_sample: MakeSample, **fields: object) -> Sample:
    return make_sample(response=Response("Yes.", "stop", **fields))


def test_every_sample_ends_in_exactly_one_count(make_sample: MakeSample) -> None:
    metrics = RunMetrics(asked=10)
    short = Rejection("validation", "length", "too_short", {"words": 1})
    long = Rejection("validation", "length", "too_long", {"words": 9})
    for sample in (
        make_sample(),
        make_sample(),
        make_sample(rejection=short),
        make_sample(rejection=short),
        make_sample(rejection=long),
        make_sample(failure=Failure("server", "HTTP 500", 6)),
        make_sample(failure=Failure("deadline", "late", 6), rejection=short),
    ):
        metrics.count_end(sample)
    assert metrics.written == 2
    assert metrics.rejected == {"length: too_short": 2, "length: too_long": 1}
    assert metrics.failed == {"server": 1, "deadline": 1}
    assert (metrics.ended, metrics.pending) == (7, 3)


def test_tokens_are_summed_and_unknown_counts_as_nothing(make_sample: MakeSample) -> None:
    metrics = RunMetrics()
    metrics.count_answer(answered(make_sample, usage=Usage(10, 3)))
    metrics.count_answer(answered(make_sample, usage=Usage(5, None)))
    metrics.count_answer(answered(make_sample))
    metrics.count_answer(make_sample(response=None))
    assert (metrics.input_tokens, metrics.output_tokens) == (15, 3)


def test_rates_are_per_second_of_the_run(make_sample: MakeSample, clock: list[float]) -> None:
    metrics = RunMetrics(asked=100)
    metrics.start()
    clock[0] += 4
    for _ in range(20):
        metrics.count_answer(answered(make_sample, usage=Usage(1, 10)))
        metrics.count_end(make_sample())
    assert metrics.elapsed_s == 4
    assert metrics.answers_per_s == 5
    assert metrics.output_tokens_per_s == 50
    assert metrics.eta_s == 16


def test_the_time_left_is_that_to_the_samples_wanted(
    make_sample: MakeSample, clock: list[float]
) -> None:
    metrics = RunMetrics(asked=1000, accept=100)
    metrics.start()
    clock[0] += 10
    assert metrics.answers_to_come == 1000
    for number in range(60):
        metrics.count_answer(answered(make_sample))
        short = Rejection("validation", "length", "too_short", {})
        metrics.count_end(make_sample(rejection=short if number % 2 else None))
    assert metrics.answers_to_come == 140  # as every other one is written
    assert metrics.eta_s == pytest.approx(140 / 6)
    metrics.accept = 900
    assert metrics.answers_to_come == 940  # there are no more
    metrics.accept = 20
    assert metrics.answers_to_come == 0


def test_the_clock_stands_still_once_the_run_has_stopped(
    make_sample: MakeSample, clock: list[float]
) -> None:
    metrics = RunMetrics(asked=1)
    assert metrics.elapsed_s == 0
    metrics.start()
    clock[0] += 2
    metrics.stop()
    clock[0] += 50
    assert metrics.elapsed_s == 2


def test_percentiles_are_those_of_the_answers(make_sample: MakeSample) -> None:
    metrics = RunMetrics()
    assert metrics.e2e_s(50) is None
    metrics.count_answer(answered(make_sample, e2e_s=3.0))
    assert metrics.e2e_s(50) == metrics.e2e_s(95) == 3.0
    metrics = RunMetrics()
    for tenths in range(101):
        metrics.count_answer(answered(make_sample, e2e_s=tenths / 10))
    assert metrics.e2e_s(50) == pytest.approx(5.0)
    assert metrics.e2e_s(95) == pytest.approx(9.5)
    assert metrics.e2e_s(99) == pytest.approx(9.9)


def test_percentiles_look_at_the_last_thousand_answers(make_sample: MakeSample) -> None:
    metrics = RunMetrics()
    for e2e_s in [100.0] * 5_000 + [1.0] * 1_000:
        metrics.count_answer(answered(make_sample, e2e_s=e2e_s))
    assert metrics.e2e_s(99) == 1.0


def test_answers_without_a_time_do_not_count_as_zero_seconds(make_sample: MakeSample) -> None:
    metrics = RunMetrics()
    metrics.count_answer(answered(make_sample, e2e_s=None))
    metrics.count_answer(answered(make_sample, e2e_s=2.0))
    assert metrics.e2e_s(50) == 2.0


def test_a_snapshot_is_there_at_any_moment(make_sample: MakeSample, clock: list[float]) -> None:
    metrics = RunMetrics(asked=2)
    assert metrics.snapshot()["eta_s"] is None
    metrics.start()
    assert metrics.snapshot()["answers_per_s"] == 0
    metrics.count_answer(make_sample())
    metrics.count_end(make_sample())  # before the clock has moved
    assert metrics.snapshot()["pending"] == 1
    clock[0] += 0.5
    assert metrics.snapshot() == {
        "asked": 2,
        "copies": 0,
        "answered": 1,
        "written": 1,
        "rejected": 0,
        "failed": 0,
        "pending": 1,
        "held": 0,
        "recalled": 0,
        "retries": {},
        "answers_per_s": 2.0,
        "output_tokens_per_s": 0.0,
        "p50_s": None,
        "p95_s": None,
        "eta_s": 0.5,
        "diversity": {},
    }
