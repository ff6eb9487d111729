"""The figures of a step, from requests whose times are known."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence

import pytest

from weave_async.bench.attempt import Attempt
from weave_async.bench.intervals import fewest_for, percentile
from weave_async.bench.load import Load, Window
from weave_async.bench.metrics import StepFigures, figures_of, goodput_per_s
from weave_async.metrics.wilson import wilson


def attempt(
    sent_s: float = 0.0,
    *,
    chunks_s: Sequence[float] = (0.1, 0.2, 0.3),
    ends_s: float = 0.35,
    waited_s: float = 0.0,
    tokens: int = 3,
    error: str | None = None,
    estimated: bool = False,
) -> Attempt:
    """Times are seconds after the send."""
    return Attempt(
        0,
        sent_s - waited_s,
        sent_s,
        array("d", [sent_s + each for each in chunks_s]),
        sent_s + ends_s,
        input_tokens=7,
        output_tokens=tokens,
        is_estimated=estimated,
        error=error,
        message=error,
    )


def figures(*attempts: Attempt, lasts_s: float = 10.0, kind: str = "closed") -> StepFigures:
    window = Window(Load(kind, 4), list(attempts), 0.0, lasts_s)  # type: ignore[arg-type]
    return figures_of(window, client={})


def test_latencies_are_what_their_definitions_say() -> None:
    step = figures(*[attempt(0.1 * i + 0.05, waited_s=0.05) for i in range(20)])
    told = {metric: step.latency(metric) for metric in step.latencies}
    assert told == pytest.approx(
        {
            "ttft_s": 0.1,
            "itl_s": 0.1,
            "tpot_s": 0.1,
            "e2e_s": 0.35,
            "latency_s": 0.4,
            "queue_s": 0.05,
        }
    )


def test_time_per_token_counts_tokens_where_gaps_count_chunks() -> None:
    step = figures(*[attempt(0.1 * i, tokens=17) for i in range(20)])
    assert step.latency("itl_s") == pytest.approx(0.1)
    assert step.latency("tpot_s") == pytest.approx(0.2 / 16)
    assert step.tokens_per_chunk == pytest.approx(17 / 3, abs=0.01)
    assert "5.67 tokens per chunk" in " ".join(step.remarks)


def test_failures_are_no_latencies_but_stand_beside_them_as_never() -> None:
    good = [attempt(0.1 * i) for i in range(80)]
    bad = [attempt(0.1 * i, chunks_s=(), ends_s=0.001, error="ServerError") for i in range(20)]
    step = figures(*good, *bad)
    assert step.latency("e2e_s", "p90") == pytest.approx(0.35)
    assert step.with_failures["e2e_s"]["p50"].value == pytest.approx(0.35)
    assert step.with_failures["e2e_s"]["p90"].value == math.inf
    assert (step.num_answered, step.num_failed, step.errors) == (80, 20, {"ServerError": 20})
    assert step.as_dict()["latencies_with_failures"]["e2e_s"]["p90"]["value"] == "inf"


def test_a_percentile_of_too_few_is_not_told() -> None:
    step = figures(*[attempt(0.01 * i) for i in range(99)])
    assert step.latencies["e2e_s"]["p95"].value is None
    assert step.latencies["e2e_s"]["p95"].n == 99
    step = figures(*[attempt(0.01 * i) for i in range(100)])
    assert step.latencies["e2e_s"]["p95"].value is not None
    assert step.latencies["e2e_s"]["p99"].value is None


def test_a_request_counts_by_the_share_of_its_time_within_the_step() -> None:
    half = attempt(-0.5, chunks_s=(0.25, 0.75), ends_s=1.0, tokens=2)
    whole = attempt(2.0, chunks_s=(0.25, 0.75), ends_s=1.0, tokens=2)
    step = figures(half, whole, lasts_s=5.0)
    assert step.requests_per_s.value == pytest.approx(1.5 / 5)
    assert step.output_tokens_per_s == pytest.approx(3 / 5)


def test_goodput_is_never_more_than_what_was_answered() -> None:
    attempts = [attempt(i / 10, ends_s=0.3 + 0.01 * i) for i in range(40)]
    window = Window(Load("closed", 4), attempts, 0.5, 3.5)
    all_of_it = goodput_per_s(window, lambda each: True)
    assert all_of_it == pytest.approx(figures_of(window, client={}).requests_per_s.value)
    some = goodput_per_s(window, lambda each: each.e2e_s < 0.5)
    assert some is not None
    assert all_of_it is not None
    assert 0 < some < all_of_it


def test_what_does_not_stream_and_what_does_not_count_is_said() -> None:
    step = figures(*[attempt(i, chunks_s=(0.3,), estimated=True) for i in range(20)])
    assert not step.is_streamed
    assert "itl_s" not in step.latencies
    said = " ".join(step.remarks)
    assert "does not stream" in said
    assert "no usage" in said


def test_a_step_without_answers_has_figures() -> None:
    step = figures(attempt(chunks_s=(), error="ServerError"))
    assert (step.num_answered, step.requests_per_s.value, step.output_tokens_per_s) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("num", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_of_shares_are_the_published_ones(
    num: int, n: int, low: float, high: float
) -> None:
    assert wilson(num, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0])
def test_intervals_of_percentiles_hold_the_true_one_as_often_as_they_say(percent: float) -> None:
    rng = random.Random(5)
    true = -math.log(1 - percent / 100)  # of an exponential distribution
    num_held = 0
    for seed in range(300):
        values = [rng.expovariate(1.0) for _ in range(800)]
        figure = percentile(values, percent, seed=seed)
        assert figure.low is not None
        assert figure.high is not None
        num_held += figure.low <= true <= figure.high
    assert 0.90 <= num_held / 300 <= 0.99


def test_more_values_than_are_resampled_make_the_interval_narrower() -> None:
    rng = random.Random(5)
    values = [rng.gauss(100, 10) for _ in range(45_000)]
    few, many = percentile(values[:5000], 50), percentile(values, 50)
    assert None not in (few.low, few.high, many.low, many.high)
    width = [each.high - each.low for each in (few, many)]  # type: ignore[operator]
    assert width[1] == pytest.approx(width[0] / 3, rel=0.5)


def test_how_many_a_percentile_needs() -> None:
    assert [fewest_for(each) for each in (50, 90, 95, 99, 99.9)] == [10, 50, 100, 500, 5000]


def test_random_arrivals_make_the_rate_less_sure_than_even_ones() -> None:
    attempts = [attempt(0.1 * i) for i in range(96)]
    random_, even = (
        figures(*attempts, kind=kind).requests_per_s for kind in ("poisson", "constant")
    )
    assert None not in (random_.low, random_.high, even.low, even.high)
    widths = [each.high - each.low for each in (random_, even)]  # type: ignore[operator]
    assert widths[0] == pytest.approx(2 * 1.96 * 96**0.5 / 10, rel=0.02)
    assert widths[1] < widths[0] / 10
