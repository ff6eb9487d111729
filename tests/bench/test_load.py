"""Loads: how many are in flight, when they are sent, and when a step ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from time import monotonic

import pytest

from weave_async.bench.attempt import Attempt
from weave_async.bench.load import Duration, Kind, Load, Window, apply

SHORT = Duration(warm_up_s=0.05, min_s=0.3, min_requests=1, max_s=5.0)


class Endpoint:
    """Answers after a while, and remembers who came when."""

    def __init__(self, takes_s: float = 0.01, *, is_good: Callable[[int], bool] | None = None):
        self.takes_s, self.is_good = takes_s, is_good or (lambda number: True)
        self.num_out = self.most_out = 0
        self.came_s: list[float] = []

    async def ask(self, number: int, intended_s: float | None) -> Attempt:
        sent_s = monotonic()
        self.came_s.append(sent_s)
        self.num_out += 1
        self.most_out = max(self.most_out, self.num_out)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.num_out -= 1
        attempt = Attempt(number, sent_s if intended_s is None else intended_s, sent_s)
        attempt.ended_s = monotonic()
        attempt.error = None if self.is_good(number) else "ServerError"
        return attempt


def applied(load: Load, endpoint: Endpoint, duration: Duration = SHORT, **given: int) -> Window:
    async def run() -> Window:
        window = Window(load)
        await asyncio.wait_for(apply(window, endpoint.ask, duration, **given), 20)
        return window

    return asyncio.run(run())


def test_a_closed_loop_keeps_as_many_in_flight_as_it_was_told() -> None:
    endpoint = Endpoint()
    window = applied(Load("closed", 7), endpoint)
    assert endpoint.most_out == 7
    assert endpoint.num_out == 0
    assert len(window.attempts) == len(endpoint.came_s)
    assert sorted(each.number for each in window.attempts) == list(range(len(window.attempts)))


def test_what_is_sent_while_it_warms_up_is_not_measured() -> None:
    window = applied(Load("closed", 2), Endpoint())
    early = [each for each in window.attempts if each.intended_s < window.from_s]
    assert early
    assert not set(map(id, early)) & set(map(id, window.measured))


def test_an_open_loop_sends_on_time_however_slow_the_answers_are() -> None:
    endpoint = Endpoint(takes_s=0.4)
    window = applied(Load("constant", 50), endpoint)
    intended_s = sorted(each.intended_s for each in window.attempts)
    gaps = [later - earlier for earlier, later in pairwise(intended_s)]
    assert gaps == pytest.approx([0.02] * len(gaps), abs=1e-6)
    assert len(gaps) >= 14
    assert endpoint.most_out >= 10


def test_a_loop_that_stood_still_is_measured_from_when_requests_were_meant_to_be_sent() -> None:
    async def run() -> Window:
        window, endpoint = Window(Load("constant", 50)), Endpoint(takes_s=0.001)
        going = asyncio.create_task(apply(window, endpoint.ask, SHORT))
        await asyncio.sleep(0.15)
        end_s = monotonic() + 0.2
        while monotonic() < end_s:  # nobody else has a turn
            pass
        await going
        return window

    waits_s = [each.queue_s for each in asyncio.run(run()).attempts]
    assert max(waits_s) > 0.15


@pytest.mark.parametrize("kind", ["constant", "poisson", "ramp"])
def test_as_many_are_sent_as_the_rate_says(kind: Kind) -> None:
    duration = Duration(warm_up_s=0.0, min_s=1.0, min_requests=1)
    window = applied(Load(kind, 400), Endpoint(takes_s=0.001), duration, seed=3)
    expected = 400 * window.duration_s / (2 if kind == "ramp" else 1)
    assert len(window.measured) == pytest.approx(expected, abs=5 * expected**0.5)


def test_a_ramp_rises_to_its_rate() -> None:
    duration = Duration(warm_up_s=0.0, min_s=1.0, min_requests=1)
    window = applied(Load("ramp", 400), Endpoint(takes_s=0.001), duration)
    middle_s = (window.from_s + window.to_s) / 2
    first = sum(each.intended_s < middle_s for each in window.measured)
    assert first == pytest.approx(len(window.measured) / 4, rel=0.2)


def test_the_same_seed_sends_at_the_same_times() -> None:
    def gaps(seed: int) -> list[float]:
        window = applied(Load("poisson", 100), Endpoint(takes_s=0.001), SHORT, seed=seed)
        times = sorted(each.intended_s for each in window.attempts)[:20]
        return [round(later - times[0], 4) for later in times]

    assert gaps(1) == gaps(1)
    assert gaps(1) != gaps(2)


def test_a_step_lasts_until_enough_were_asked() -> None:
    duration = Duration(warm_up_s=0.0, min_s=0.05, min_requests=60)
    window = applied(Load("closed", 2), Endpoint(), duration)
    assert len(window.measured) >= 60
    assert window.duration_s > 0.25


def test_a_step_ends_at_its_longest_with_fewer() -> None:
    duration = Duration(warm_up_s=0.0, min_s=0.05, min_requests=10_000, max_s=0.3)
    window = applied(Load("closed", 2), Endpoint(), duration)
    assert window.duration_s < 1.0


def test_an_endpoint_that_only_fails_is_given_up() -> None:
    endpoint = Endpoint(takes_s=0.001, is_good=lambda number: False)
    window = applied(Load("closed", 10), endpoint, Duration(min_s=30.0))
    assert window.gave_up
    assert len(endpoint.came_s) < 60


def test_an_endpoint_that_fails_often_is_not_given_up() -> None:
    endpoint = Endpoint(takes_s=0.001, is_good=lambda number: number % 8 == 0)
    window = applied(Load("closed", 4), endpoint)
    assert not window.gave_up


def test_a_request_that_does_not_end_is_a_failure() -> None:
    duration = Duration(warm_up_s=0.0, min_s=0.1, min_requests=0, drain_s=0.1)
    window = applied(Load("closed", 3), Endpoint(takes_s=60.0), duration)
    assert window.num_cut_off == 3
    assert [each.error for each in window.measured] == ["CutOff"] * 3


def test_an_interrupt_ends_a_step_at_once() -> None:
    async def run() -> Window:
        window, interrupt = Window(Load("closed", 3)), asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, interrupt.set)
        endpoint = Endpoint(takes_s=60.0)
        await asyncio.wait_for(apply(window, endpoint.ask, Duration(), interrupt=interrupt), 5)
        assert endpoint.num_out == 0
        return window

    window = asyncio.run(run())
    assert window.interrupted
    assert window.attempts == []


def test_an_endpoint_that_answers_without_waiting_does_not_stop_the_others() -> None:
    async def ask(number: int, intended_s: float | None) -> Attempt:
        now_s = monotonic()
        return Attempt(number, now_s, now_s, ended_s=now_s)

    async def run() -> Window:
        window = Window(Load("closed", 3))
        await asyncio.wait_for(apply(window, ask, SHORT), 10)
        return window

    assert len(asyncio.run(run()).attempts) > 100


def test_a_mistake_of_ours_is_not_taken_for_the_endpoints() -> None:
    async def ask(number: int, intended_s: float | None) -> Attempt:
        raise ZeroDivisionError

    async def run() -> None:
        await asyncio.wait_for(apply(Window(Load("closed", 3)), ask, SHORT), 10)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
