"""Admission, on a clock that jumps: order, pauses, slots, and what is given back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_async.errors import RequestTooLargeError
from weave_async.flow.admission import LONGEST_PAUSE_S, Admission
from weave_async.flow.budget import Budget, Cost
from weave_async.records import RateLimits
from weave_async.testing.virtual_time import run_in_virtual_time


async def admissions(
    admission: Admission, amounts: list[int], *, is_retry: bool = False
) -> list[tuple[int, float]]:
    """Ask for all amounts in this order; returns (place in the asking, time) as they get in."""
    loop = asyncio.get_running_loop()
    admitted: list[tuple[int, float]] = []

    async def ask(place: int, tokens: int) -> None:
        async with admission.slot(tokens=tokens, is_retry=is_retry) as slot:
            admitted.append((place, loop.time()))
            slot.settle(None)

    async with asyncio.TaskGroup() as group:
        for place, tokens in enumerate(amounts):
            group.create_task(ask(place, tokens))
    return admitted


async def is_throttled(admission: Admission, retry_after_s: float | None = None) -> float:
    """One request is refused with a 429; returns for how long that pauses the endpoint."""
    async with admission.slot(tokens=1) as slot:
        slot.throttled(retry_after_s)
    return admission.paused_for_s


# --- order ---------------------------------------------------------------------------------------


def test_order_of_arrival_holds_even_for_a_large_amount_among_small_ones() -> None:
    amounts = [1_000] * 20 + [50_000] + [1_000] * 200

    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=1000, tokens_per_minute=600_000)
        return await admissions(admission, amounts)

    admitted = run_in_virtual_time(scenario())
    assert [place for place, _ in admitted] == list(range(len(amounts)))
    assert admitted[20][1] <= 70_000 / 9_800 + 2


@pytest.mark.parametrize("seed", range(3))
def test_nobody_waits_longer_than_what_is_before_him_takes(seed: int) -> None:
    rng = Random(seed)
    amounts = [50_000 if rng.random() < 0.1 else 500 for _ in range(400)]

    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=1000, tokens_per_minute=600_000)
        return await admissions(admission, amounts)

    admitted = run_in_virtual_time(scenario())
    assert [place for place, _ in admitted] == list(range(len(amounts)))
    for place, at_s in admitted:
        assert at_s <= sum(amounts[: place + 1]) / 9_800 + 2


def test_order_of_arrival_holds_when_slots_are_scarce() -> None:
    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=2, tokens_per_minute=60_000)
        return await admissions(admission, [100, 5_000] * 30)

    assert [place for place, _ in run_in_virtual_time(scenario())] == list(range(60))


def test_retries_go_before_the_others_and_in_their_own_order() -> None:
    async def scenario() -> list[str]:
        admission = Admission(max_concurrency=1)
        order: list[str] = []

        async def ask(name: str, is_retry: bool) -> None:
            async with admission.slot(tokens=1, is_retry=is_retry):
                order.append(name)
                await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            for name in ("holds", "a", "b", "retry 1", "retry 2"):
                group.create_task(ask(name, name.startswith("retry")))
        return order

    assert run_in_virtual_time(scenario()) == ["holds", "retry 1", "retry 2", "a", "b"]


@pytest.mark.parametrize("tokens", [981, 50_000])
def test_a_large_request_waits_no_longer_and_is_paid_for_by_the_next(tokens: int) -> None:
    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=4, tokens_per_minute=60_000)
        return await admissions(admission, [tokens, 980, tokens])

    (_, first), (_, second), (_, third) = run_in_virtual_time(scenario())
    assert first == 0
    assert second == pytest.approx(tokens / 980, abs=0.11)
    assert third == pytest.approx(second + 1, abs=0.01)


def test_a_request_that_no_minute_has_the_tokens_for_fails_and_says_what_to_do() -> None:
    async def scenario() -> None:
        admission = Admission(max_concurrency=4, tokens_per_minute=60_000)
        with pytest.raises(RequestTooLargeError, match=r"60,001 tokens.*60,000.*--tpm") as caught:
            async with admission.slot(tokens=60_001):
                pass
        assert not caught.value.retryable
        async with asyncio.timeout(0.1):
            await admissions(admission, [60_000])

    run_in_virtual_time(scenario())


def test_what_was_used_above_the_estimate_is_waited_for_by_the_next() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=4, tokens_per_minute=60_000)
        async with admission.slot(tokens=98) as slot:
            slot.settle(9_898)
        return (await admissions(admission, [1]))[0][1]

    assert run_in_virtual_time(scenario()) == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize(("refunds", "waits_s"), [(False, 10.0), (True, 0.1)])
def test_what_was_not_used_is_only_counted_back_where_the_endpoint_refunds_it(
    refunds: bool, waits_s: float
) -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=4, tokens_per_minute=60_000, refunds_tokens=refunds)
        async with admission.slot(tokens=9_898) as slot:
            slot.settle(98)
        return (await admissions(admission, [1]))[0][1]

    assert run_in_virtual_time(scenario()) == pytest.approx(waits_s, abs=0.2)


def test_absurd_usage_costs_a_minute_at_most() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=4, tokens_per_minute=60_000)
        async with admission.slot(tokens=100) as slot:
            slot.settle(10**12)
        return (await admissions(admission, [1]))[0][1]

    assert run_in_virtual_time(scenario()) <= 62


# --- pauses --------------------------------------------------------------------------------------


def test_retry_after_holds_everybody_for_just_that_long() -> None:
    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=8)
        admission.pause(7.5)
        return await admissions(admission, [1, 1, 1])

    assert [at for _, at in run_in_virtual_time(scenario())] == pytest.approx([7.5] * 3, abs=1e-3)


@pytest.mark.parametrize("retry_after_s", [0.25, 1.0, 37.0, 119.0, 1800.0])
@pytest.mark.parametrize("limits", [{}, {"requests_per_minute": 60}, {"tokens_per_minute": 6000}])
def test_the_next_request_is_sent_within_a_second_of_the_wait_asked_for(
    retry_after_s: float, limits: dict[str, float]
) -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=8, **limits)
        await admissions(admission, [100] * 3)
        told_at_s = asyncio.get_running_loop().time()
        admission.pause(retry_after_s)
        return (await admissions(admission, [100]))[0][1] - told_at_s

    assert retry_after_s - 1e-6 <= run_in_virtual_time(scenario()) <= retry_after_s + 1.02


def test_pause_without_retry_after_is_short_at_first() -> None:
    async def scenario() -> float:
        return await is_throttled(Admission(max_concurrency=8))

    assert 0.5 <= run_in_virtual_time(scenario()) <= 1.001


async def _storm(admission: Admission, num: int) -> None:
    """So many are in flight, and all are refused."""

    async def one(delay_s: float) -> None:
        async with admission.slot(tokens=1) as slot:
            await asyncio.sleep(delay_s)
            slot.throttled(None)

    async with asyncio.TaskGroup() as group:
        for number in range(num):
            group.create_task(one(0.01 + 0.03 * number / num))


def test_a_storm_of_refusals_slows_down_once() -> None:
    async def scenario() -> tuple[float, float, float]:
        admission = Admission(max_concurrency=100, requests_per_minute=6_000_000)
        await _storm(admission, 100)
        first = admission.paused_for_s
        await asyncio.sleep(first)
        share = admission.pace.share
        return first, await is_throttled(admission), share

    first, second, share = run_in_virtual_time(scenario())
    assert 0.4 <= first <= 1
    assert 1 <= second <= 2
    assert share == pytest.approx(0.9)


def test_pauses_without_retry_after_grow_to_a_cap() -> None:
    async def scenario() -> list[float]:
        admission = Admission(max_concurrency=1)
        return [await is_throttled(admission) for _ in range(12)]

    lasted = run_in_virtual_time(scenario())
    for number, seconds in enumerate(lasted):
        longest = min(LONGEST_PAUSE_S, 2.0**number)
        assert longest / 2 <= seconds <= longest + 1e-5
    assert lasted[-1] >= LONGEST_PAUSE_S / 2


def test_an_answer_makes_the_next_pause_a_short_one_again() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=1)
        for _ in range(5):
            await is_throttled(admission)
        await admissions(admission, [1])
        return await is_throttled(admission)

    assert run_in_virtual_time(scenario()) <= 1.001


def test_an_answer_that_was_on_its_way_does_not_end_the_refusals() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=8)
        async with admission.slot(tokens=1) as slow:
            for _ in range(5):
                await is_throttled(admission)
            slow.settle(None)
        return await is_throttled(admission)

    assert run_in_virtual_time(scenario()) > 10


def test_retry_after_may_extend_a_pause_and_never_shortens_it() -> None:
    async def scenario() -> list[float]:
        admission = Admission(max_concurrency=1)
        left = []
        for told_s in (10, 30, 2):
            admission.pause(told_s)
            left.append(admission.paused_for_s)
        return left

    assert run_in_virtual_time(scenario()) == pytest.approx([10, 30, 30])


def test_a_waiting_request_heeds_a_pause_that_is_extended() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=1)
        admission.pause(5)
        waiting = asyncio.create_task(admissions(admission, [1]))
        await asyncio.sleep(4)
        admission.pause(20)
        return (await waiting)[0][1]

    assert run_in_virtual_time(scenario()) == pytest.approx(24, abs=1e-3)


def test_a_request_that_waits_for_the_rate_heeds_a_pause_too() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=8, requests_per_minute=6)
        waiting = asyncio.create_task(admissions(admission, [1, 1]))
        await asyncio.sleep(5)  # the first is refused while the second waits for its turn
        admission.pause(60)
        return (await waiting)[1][1]

    assert run_in_virtual_time(scenario()) == pytest.approx(65, abs=0.2)


def test_refusals_that_ask_for_no_wait_at_all_still_slow_us_down() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=1)
        for _ in range(6):
            await is_throttled(admission, 0.0)
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(scenario()) > 5


# --- what endpoints say of their limits ----------------------------------------------------------

numbers = st.one_of(
    st.none(), st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, -1.0, 1e308])
)
hearsay = st.builds(RateLimits, numbers, numbers, numbers, numbers, numbers, numbers)


@settings(max_examples=60, deadline=None)
@given(st.lists(hearsay, min_size=1, max_size=20))
def test_limits_that_are_only_hearsay_change_nothing(said: list[RateLimits]) -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=8, requests_per_minute=600, tokens_per_minute=60_000)
        for number in range(100):
            async with admission.slot(tokens=100) as slot:
                slot.settle(100)
                admission.heard(said[number % len(said)])
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(scenario()) <= 100 / 9.8


@settings(max_examples=60, deadline=None)
@given(hearsay)
def test_confirmed_hearsay_lowers_the_pace_by_half_at_most(said: RateLimits) -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=8, requests_per_minute=600, tokens_per_minute=6000)
        admission.heard(said)
        await is_throttled(admission)
        return admission.pace.share

    assert 0.5 <= run_in_virtual_time(scenario()) <= 0.9


def test_a_limit_that_is_said_and_confirmed_is_followed() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=8, requests_per_minute=600)
        admission.heard(RateLimits(limit_requests=360))
        await is_throttled(admission)
        return admission.pace.share

    assert run_in_virtual_time(scenario()) == pytest.approx(0.6)


# --- slots ---------------------------------------------------------------------------------------


def test_no_more_than_max_concurrency_are_in_flight() -> None:
    async def scenario() -> tuple[int, float]:
        admission = Admission(max_concurrency=3)
        most = 0

        async def send() -> None:
            nonlocal most
            async with admission.slot(tokens=1) as slot:
                most = max(most, admission.in_flight)
                await asyncio.sleep(1)
                slot.settle(1)

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(send())
        assert admission.in_flight == 0
        return most, asyncio.get_running_loop().time()

    most, took_s = run_in_virtual_time(scenario())
    assert most == 3
    assert took_s == pytest.approx(7, abs=1e-3)


async def _raise(admission: Admission) -> None:
    async with admission.slot(tokens=1):
        raise KeyError("the endpoint broke")


async def _hold(admission: Admission) -> None:
    async with admission.slot(tokens=1):
        await asyncio.sleep(3600)


async def _cancel_while_sending(admission: Admission) -> None:
    task = asyncio.create_task(_hold(admission))
    await asyncio.sleep(0.01)
    assert admission.is_sending(task)
    task.cancel()
    await task


async def _cancel_while_paused(admission: Admission) -> None:
    admission.pause(100)
    task = asyncio.create_task(_hold(admission))
    await asyncio.sleep(0.01)
    assert not admission.is_sending(task)
    task.cancel()
    await task


async def _cancel_while_waiting_for_a_slot(admission: Admission) -> None:
    holders = [asyncio.create_task(_hold(admission)) for _ in range(2)]
    task = asyncio.create_task(_hold(admission))
    await asyncio.sleep(2)
    assert admission.in_flight == 2
    for each in (task, *holders):
        each.cancel()
    await asyncio.gather(*holders, return_exceptions=True)
    await task


async def _cancel_while_waiting_for_the_rate(admission: Admission) -> None:
    tasks = [asyncio.create_task(_hold(admission)) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert admission.in_flight == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks)


async def _cancel_when_just_let_in(admission: Admission) -> None:
    holders = [asyncio.create_task(_hold(admission)) for _ in range(2)]
    await asyncio.sleep(2)
    task = asyncio.create_task(_hold(admission))
    await asyncio.sleep(2)
    holders[0].cancel()  # which lets the third in ...
    asyncio.get_running_loop().call_soon(task.cancel)  # ... and before it runs, it is cancelled
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    holders[1].cancel()
    await asyncio.gather(*holders, return_exceptions=True)
    await task


@pytest.mark.parametrize(
    "leave",
    [
        _raise,
        _cancel_while_sending,
        _cancel_while_paused,
        _cancel_while_waiting_for_a_slot,
        _cancel_while_waiting_for_the_rate,
        _cancel_when_just_let_in,
    ],
)
def test_all_is_given_back_however_a_slot_is_left(
    leave: Callable[[Admission], Awaitable[None]],
) -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=2, requests_per_minute=60)
        for _ in range(5):
            with pytest.raises((KeyError, asyncio.CancelledError)):
                await leave(admission)
            await asyncio.sleep(200)
        assert (admission.in_flight, admission.line.num_waiting) == (0, 0)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(10):
            async with admission.slot(tokens=1), admission.slot(tokens=1):
                return asyncio.get_running_loop().time() - began

    assert run_in_virtual_time(scenario()) <= 1.1


@pytest.mark.parametrize("seed", range(500))
def test_a_cancellation_at_any_moment_loses_no_slot_no_token_and_no_budget(seed: int) -> None:
    """The n-th thing that happens is a cancellation, of whoever is there."""

    async def scenario() -> None:
        rng = Random(seed)
        budget = Budget(max_tokens=100_000)
        admission = Admission(max_concurrency=2, tokens_per_minute=6_000, budget=budget)

        async def one(tokens: int) -> None:
            async with admission.slot(tokens=tokens, cost=Cost(tokens)) as slot:
                await asyncio.sleep(rng.random())
                if rng.random() < 0.1:
                    slot.throttled(0.5)
                else:
                    slot.settle(tokens, Cost(tokens // 2))

        tasks = [asyncio.create_task(one(rng.randrange(1, 80))) for _ in range(8)]
        steps = 1 + seed // 10
        while steps and not all(task.done() for task in tasks):
            await asyncio.sleep(0 if rng.random() < 0.7 else rng.random() / 4)
            steps -= 1
        for task in rng.sample(tasks, 4):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (admission.in_flight, admission.line.num_waiting) == (0, 0)
        assert budget.reserved == Cost(0, 0.0)
        async with asyncio.timeout(5):
            async with admission.slot(tokens=1), admission.slot(tokens=1):
                assert admission.in_flight == 2

    run_in_virtual_time(scenario())


def test_what_was_never_sent_gives_its_tokens_back() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=8, tokens_per_minute=60_000)
        for _ in range(50):
            async with admission.slot(tokens=50_000):
                pass
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(scenario()) == 0


def test_is_sending_tells_who_holds_a_slot_from_who_waits_for_one() -> None:
    async def scenario() -> None:
        admission = Admission(max_concurrency=1)
        first = asyncio.create_task(_hold(admission))
        second = asyncio.create_task(_hold(admission))
        await asyncio.sleep(1)
        assert (admission.is_sending(first), admission.is_sending(second)) == (True, False)
        first.cancel()
        await asyncio.sleep(1)
        assert (admission.is_sending(first), admission.is_sending(second)) == (False, True)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert not admission.is_sending(second)

    run_in_virtual_time(scenario())


def test_what_counts_against_the_limits_is_counted() -> None:
    async def scenario() -> tuple[float, float, int]:
        admission = Admission(max_concurrency=9, requests_per_minute=6e3, tokens_per_minute=9e5)
        for used in (100, 700, None):
            async with admission.slot(tokens=500) as slot:
                slot.settle(used)
        async with admission.slot(tokens=500):
            pass  # never sent
        await is_throttled(admission)
        return admission.requests_used, admission.tokens_used, admission.num_throttled

    assert run_in_virtual_time(scenario()) == (4, 500 + 700 + 500 + 1, 1)


def test_where_there_are_no_limits_nothing_counts_against_them() -> None:
    async def scenario() -> tuple[float, float]:
        admission = Admission(max_concurrency=9)
        await admissions(admission, [10, 20])
        return admission.requests_used, admission.tokens_used

    assert run_in_virtual_time(scenario()) == (0, 0)


def test_admission_shows_its_state() -> None:
    async def scenario() -> str:
        admission = Admission(max_concurrency=3, requests_per_minute=60, tokens_per_minute=9000)
        async with admission.slot(tokens=1):
            return repr(admission)

    assert run_in_virtual_time(scenario()) == "<Admission 1/3 in flight, 60 rpm, 9000 tpm>"


def test_the_line_moves_on_uvloop_too_where_waits_are_shorter_than_its_clock() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> int:
        admission = Admission(max_concurrency=1000, requests_per_minute=600_000)
        await asyncio.gather(*(_enter(admission) for _ in range(2500)))
        return admission.in_flight

    started = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == 0
    assert 0.05 < time.monotonic() - started < 10


async def _enter(admission: Admission) -> None:
    async with admission.slot(tokens=1) as slot:
        slot.settle(1)
