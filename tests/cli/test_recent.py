"""Rates of the last seconds and minutes, and a trend over rows."""

from __future__ import annotations

import pytest

from weave_async.cli.recent import Recent, Trend
from weave_async.flow.admission import Admission
from weave_async.metrics.ledger import RunMetrics
from weave_async.testing.virtual_time import run_in_virtual_time


class Endpoint:
    """What of a dispatcher is looked at."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission


def test_a_run_that_has_come_to_stand_shows_it_within_seconds() -> None:
    recent, metrics = Recent(), RunMetrics()
    for second in range(60):
        metrics.asked_now += 10
        metrics.tokens["fast"] = [0, 100 * second]
        recent.note(metrics, {}, 1000.0 + second)
    assert recent.answers_per_s == pytest.approx(10)
    assert recent.output_tokens_per_s == pytest.approx(100)
    for second in range(60, 71):
        recent.note(metrics, {}, 1000.0 + second)
    assert recent.answers_per_s == 0


def test_looking_often_changes_no_rate() -> None:
    recent, metrics = Recent(), RunMetrics()
    for tick in range(600):
        metrics.asked_now += 1
        recent.note(metrics, {}, 1000.0 + tick / 20)
    assert recent.answers_per_s == pytest.approx(20, rel=0.01)


def test_at_the_first_look_nothing_has_happened_yet() -> None:
    recent = Recent()
    recent.note(RunMetrics(asked_now=7), {}, 1000.0)
    assert recent.answers_per_s == 0
    assert recent.used_per_minute("fast") is None


def test_use_of_limits_is_of_the_last_minute() -> None:
    async def scenario() -> None:
        recent, metrics = Recent(), RunMetrics()
        admission = Admission(max_concurrency=9, requests_per_minute=1e6, tokens_per_minute=1e8)
        fast = {"fast": Endpoint(admission)}
        for second in range(200):
            recent.note(metrics, fast, 1000.0 + second)  # type: ignore[arg-type]
            if second < 130:
                async with admission.slot(tokens=50) as slot:
                    slot.settle(None)
            if second == 100:
                assert recent.used_per_minute("fast") == pytest.approx((60, 3000))
        assert recent.used_per_minute("fast") == pytest.approx((0, 0))
        assert recent.used_per_minute("not there") == (0, 0)

    run_in_virtual_time(scenario())


def test_a_trend_is_over_the_last_fifth_of_the_rows() -> None:
    trend = Trend()
    assert trend.change("vendi") is None
    for rows in range(1, 10_001):
        trend.note(rows, {"vendi": rows / 1000})
    change = trend.change("vendi")
    assert change is not None
    assert 2000 <= change.num_rows <= 2200
    assert change.amount == pytest.approx(change.num_rows / 1000)
    assert trend.change("unknown") is None


def test_there_is_no_trend_before_there_are_two_figures() -> None:
    trend = Trend()
    trend.note(100, {"vendi": 4.0})
    assert trend.change("vendi") is None
    trend.note(110, {"vendi": 5.0})
    assert trend.change("vendi") is None
    trend.note(125, {"vendi": 5.0, "new": 1.0})
    assert trend.change("vendi") == (1.0, 25)
    assert trend.change("new") is None
