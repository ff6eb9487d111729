"""When the breaker opens, what it lets through, and when it closes."""

from __future__ import annotations

import logging
import math

import pytest

from weave_async.flow.breaker import Breaker


def opened(at_s: float = 100.0) -> Breaker:
    breaker = Breaker("fast", longest_outage_s=3600)
    for number in range(5):
        breaker.failed(at_s, f"row {number}", "refused", is_probe=False)
    return breaker


def probe(breaker: Breaker, *, now_s: float, succeeds: bool, max_concurrency: int = 64) -> None:
    assert breaker.wait_s(now_s) == 0
    breaker.probe_sent()
    if succeeds:
        breaker.num_successes += 1
        breaker.probe_succeeded(max_concurrency=max_concurrency)
    else:
        breaker.failed(now_s, "row", "refused", is_probe=True)


def test_five_failures_in_a_row_open_it() -> None:
    breaker = Breaker("fast", longest_outage_s=3600)
    for number in range(4):
        breaker.failed(1000 * number, f"row {number}", "refused", is_probe=False)
    assert breaker.wait_s(4000) == 0
    breaker.failed(4000, "row 4", "refused", is_probe=False)
    assert breaker.wait_s(4000) == 1


def test_failures_that_come_sooner_than_answers_prove_little() -> None:
    breaker = Breaker("fast", longest_outage_s=3600)
    for number in range(19):
        breaker.failed(1.0, f"row {number}", "500", is_probe=False, num_out=99 - number)
    assert breaker.is_closed
    for number in range(19, 60):
        breaker.failed(1.0, f"row {number}", "500", is_probe=False, num_out=99 - number)
    assert not breaker.is_closed


def test_a_success_between_keeps_it_closed() -> None:
    breaker = Breaker("fast", longest_outage_s=3600)
    for number in range(9):
        breaker.failed(30 * number, f"row {number}", "refused", is_probe=False)
        if number % 4 == 3:
            breaker.num_successes += 1
    assert breaker.is_closed


def test_one_bad_row_is_no_outage() -> None:
    breaker = Breaker("fast", longest_outage_s=3600)
    for second in range(50):
        breaker.failed(second, "the same row", "500", is_probe=False)
    assert breaker.is_closed


@pytest.mark.parametrize(("failures_of_ten", "stays_closed"), [(4, True), (6, False)])
def test_more_than_half_of_many_within_ten_seconds_open_it(
    failures_of_ten: int, stays_closed: bool
) -> None:
    breaker = Breaker("fast", longest_outage_s=3600)
    for number in range(200):
        if (number * failures_of_ten) % 10 < failures_of_ten:
            breaker.failed(number / 10, f"row {number}", "503", is_probe=False)
        else:
            breaker.num_successes += 1
        if not breaker.is_closed:
            break
    assert breaker.is_closed == stays_closed
    assert stays_closed or number >= 19


def test_probes_come_one_at_a_time_and_ever_later() -> None:
    breaker, now_s, waits_s = opened(), 100.0, []
    for _ in range(8):
        wait_s = breaker.wait_s(now_s)
        waits_s.append(wait_s)
        now_s += wait_s
        breaker.probe_sent()
        assert breaker.wait_s(now_s) == math.inf
        breaker.failed(now_s, "row", "refused", is_probe=True)
    assert waits_s == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_failure_of_what_was_sent_before_is_no_probe() -> None:
    breaker = opened()
    breaker.failed(100.5, "late", "refused", is_probe=False)
    assert breaker.wait_s(101) == 0


def test_a_probe_waits_for_as_long_as_the_endpoint_asks() -> None:
    breaker = opened()
    breaker.probe_sent()
    breaker.failed(101, "row", "503", is_probe=True, told_s=45)
    assert breaker.wait_s(101) == 45


def test_probes_of_an_endpoint_that_lives_never_come_late() -> None:
    breaker, now_s, waits_s = opened(), 100.0, []
    for is_alive in (False, False, False, True, True, False):
        wait_s = breaker.wait_s(now_s)
        waits_s.append(wait_s)
        now_s += wait_s
        breaker.probe_sent()
        breaker.failed(now_s, "row", "500", is_probe=True, is_alive=is_alive)
    assert waits_s == [1, 2, 4, 8, 2.5, 2.5]


def test_probes_of_an_endpoint_that_has_lived_for_long_come_fast() -> None:
    breaker = opened(at_s=100)
    breaker.probe_sent()
    breaker.failed(221, "row", "500", is_probe=True, is_alive=True)
    assert breaker.wait_s(221) == 0.25


def test_after_a_success_ever_more_go_through_until_it_closes() -> None:
    breaker, widths = opened(), []
    now_s = 101.0
    probe(breaker, now_s=now_s, succeeds=True)
    while not breaker.is_closed:
        width = 0
        while breaker.wait_s(now_s) == 0:
            breaker.probe_sent()
            width += 1
        widths.append(width)
        for _ in range(width):
            breaker.num_successes += 1
            breaker.probe_succeeded(max_concurrency=64)
    assert widths == [2, 4, 8, 16, 32]


def test_it_closes_at_once_where_one_is_all_that_may_be_in_flight() -> None:
    breaker = opened()
    probe(breaker, now_s=101, succeeds=True, max_concurrency=1)
    assert breaker.is_closed


def test_one_failure_in_ten_does_not_keep_it_from_closing() -> None:
    breaker = opened()
    now_s = 101.0
    for number in range(1, 100):
        now_s += breaker.wait_s(now_s)
        probe(breaker, now_s=now_s, succeeds=number % 10 != 0)
        if breaker.is_closed:
            return
    raise AssertionError("it never closes")


def test_a_probe_that_is_cancelled_makes_room_for_another() -> None:
    breaker = opened()
    breaker.probe_sent()
    assert breaker.wait_s(101) == math.inf
    breaker.probe_lost()
    assert breaker.wait_s(101) == 0


def test_it_says_once_that_it_opened_and_once_that_it_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        breaker = opened()
        probe(breaker, now_s=101, succeeds=False)
        probe(breaker, now_s=103, succeeds=True, max_concurrency=1)
    told, closed = caplog.messages
    assert "fast fails again and again" in told
    assert "refused" in told
    assert "again in 1 s" in told
    assert "after 3600 s" in told
    assert closed == "fast answers again"


def test_it_shows_its_state() -> None:
    breaker = opened()
    assert repr(breaker) == "<Breaker open, 0 probing>"
    probe(breaker, now_s=101, succeeds=True)
    assert repr(breaker) == "<Breaker half-open, 0 probing>"


def test_outages_are_counted() -> None:
    breaker = opened()
    assert (breaker.state, breaker.num_outages) == ("open", 1)
    probe(breaker, now_s=101, succeeds=True, max_concurrency=1)
    assert (breaker.state, breaker.num_outages) == ("closed", 1)
    breaker.open_for_slowness(200.0, 30.0)
    assert (breaker.state, breaker.num_outages) == ("open", 2)
