"""Admission, on a clock that jumps: pace, order, pauses, slots."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle
from random import Random

import pytest

from weave_async.flow.limits import LONGEST_PAUSE_S, Admission
from weave_async.testing.virtual_time import run_in_virtual_time

MINUTES = 10
Send = tuple[float, int]


async def saturate(admission: Admission, amounts: Iterator[int], seconds: float) -> list[Send]:
    """What is sent, and when, by 64 eager senders."""
    loop = asyncio.get_running_loop()
    sent: list[Send] = []

    async def send_on_and_on() -> None:
        while True:
            tokens = next(amounts)
            async with admission.slot(tokens=tokens):
                sent.append((loop.time(), tokens))
                await asyncio.sleep(0.2)

    senders = [asyncio.create_task(send_on_and_on()) for _ in range(64)]
    await asyncio.sleep(seconds)
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    return sent


def fullest_window(sends: list[Send], width_s: float = 60.0) -> float:
    """The largest sum of amounts in any window of this width, whatever its phase."""
    fullest = total = first = 0
    for at, amount in sends:
        total += amount
        while sends[first][0] <= at - width_s:
            total -= sends[first][1]
            first += 1
        fullest = max(fullest, total)
    return fullest


@pytest.mark.parametrize("limit", [1, 10, 60, 90, 600, 1500])
def test_requests_per_minute_are_used_and_never_exceeded(limit: int) -> None:
    async def scenario() -> list[Send]:
        admission = Admission(max_concurrency=64, requests_per_minute=limit)
        return await saturate(admission, cycle([1]), MINUTES * 60)

    sends = [(at, 1) for at, _ in run_in_virtual_time(scenario())]
    assert fullest_window(sends) <= limit
    assert len(sends) >= 0.97 * limit * MINUTES


def sizes(low: int, high: int) -> Iterator[int]:
    rng = Random(4)
    while True:
        yield min(high, max(low, int(rng.lognormvariate(6, 1.2))))


def test_tokens_per_minute_are_used_and_never_exceeded_with_mixed_sizes() -> None:
    limit = 300_000

    async def scenario() -> list[Send]:
        admission = Admission(max_concurrency=64, tokens_per_minute=limit)
        return await saturate(admission, sizes(20, 4_000), MINUTES * 60)

    sends = run_in_virtual_time(scenario())
    assert fullest_window(sends) <= limit
    assert sum(amount for _, amount in sends) >= 0.97 * limit * MINUTES


def test_sizes_above_the_burst_exceed_the_token_limit_by_one_request_at_most() -> None:
    limit, largest = 60_000, 50_000

    async def scenario() -> list[Send]:
        admission = Admission(max_concurrency=64, tokens_per_minute=limit)
        amounts = cycle([500, 500, 500, 500, largest])
        return await saturate(admission, amounts, MINUTES * 60)

    sends = run_in_virtual_time(scenario())
    assert fullest_window(sends) <= limit + largest
    assert sum(amount for _, amount in sends) >= 0.97 * limit * MINUTES


def test_both_limits_hold_at_once_and_the_tighter_one_is_used() -> None:
    async def scenario() -> list[Send]:
        admission = Admission(
            max_concurrency=64, requests_per_minute=120, tokens_per_minute=240_000
        )
        return await saturate(admission, cycle([500, 1500]), MINUTES * 60)

    sends = run_in_virtual_time(scenario())
    assert fullest_window([(at, 1) for at, _ in sends]) <= 120
    assert fullest_window(sends) <= 240_000
    assert len(sends) >= 0.97 * 120 * MINUTES


def test_a_minute_of_rest_earns_no_more_than_a_second_of_burst() -> None:
    async def scenario() -> list[Send]:
        admission = Admission(max_concurrency=64, requests_per_minute=600)
        before = await saturate(admission, cycle([1]), 60)
        await asyncio.sleep(300)
        return before + await saturate(admission, cycle([1]), 60)

    sends = [(at, 1) for at, _ in run_in_virtual_time(scenario())]
    assert fullest_window(sends) <= 600
    assert fullest_window(sends, width_s=1) <= 20


def test_without_limits_all_are_admitted_at_once() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=1000)
        sends = await saturate(admission, cycle([10**9]), 0.1)
        assert len(sends) == 64
        return sends[-1][0]

    assert run_in_virtual_time(scenario()) == 0


async def admissions(admission: Admission, amounts: list[int]) -> list[tuple[int, float]]:
    """Ask for all amounts in this order; returns (place in the asking, time) as they get in."""
    loop = asyncio.get_running_loop()
    admitted: list[tuple[int, float]] = []

    async def ask(place: int, tokens: int) -> None:
        async with admission.slot(tokens=tokens):
            admitted.append((place, loop.time()))

    async with asyncio.TaskGroup() as group:
        for place, tokens in enumerate(amounts):
            group.create_task(ask(place, tokens))
    return admitted


def test_order_of_arrival_holds_even_for_a_large_amount_among_small_ones() -> None:
    amounts = [1_000] * 20 + [50_000] + [1_000] * 200

    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=1000, tokens_per_minute=600_000)
        return await admissions(admission, amounts)

    admitted = run_in_virtual_time(scenario())
    assert [place for place, _ in admitted] == list(range(len(amounts)))
    assert admitted[20][1] <= 70_000 / 9_800 + 2


def test_order_of_arrival_holds_when_slots_are_scarce() -> None:
    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=2, tokens_per_minute=60_000)
        return await admissions(admission, [100, 5_000] * 30)

    assert [place for place, _ in run_in_virtual_time(scenario())] == list(range(60))


@pytest.mark.parametrize("tokens", [981, 50_000, 200_000])
def test_a_request_larger_than_the_burst_is_admitted_and_paid_for_by_the_next(tokens: int) -> None:
    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=4, tokens_per_minute=60_000)
        return await admissions(admission, [tokens, 980, tokens])

    (_, first), (_, second), (_, third) = run_in_virtual_time(scenario())
    assert first == 0
    assert second == pytest.approx(tokens / 980, abs=0.01)
    assert third == pytest.approx(second + 1, abs=0.01)


def test_pause_with_retry_after_holds_everybody_for_just_that_long() -> None:
    async def scenario() -> list[tuple[int, float]]:
        admission = Admission(max_concurrency=8)
        admission.pause(7.5)
        return await admissions(admission, [1, 1, 1])

    assert [at for _, at in run_in_virtual_time(scenario())] == pytest.approx([7.5] * 3, abs=1e-3)


def test_pause_without_retry_after_is_short_at_first() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=8)
        admission.pause(None)
        return (await admissions(admission, [1]))[0][1]

    assert 0.5 <= run_in_virtual_time(scenario()) <= 1.001


def test_a_storm_of_refusals_counts_once() -> None:
    async def scenario() -> tuple[float, float]:
        admission = Admission(max_concurrency=100)
        for _ in range(100):
            admission.pause(None)
        first = admission.paused_for_s
        await asyncio.sleep(first)
        admission.pause(None)
        return first, admission.paused_for_s

    first, second = run_in_virtual_time(scenario())
    assert 0.5 <= first <= 1
    assert 1 <= second <= 2


async def pauses(admission: Admission, count: int) -> list[float]:
    lasted = []
    for _ in range(count):
        admission.pause(None)
        lasted.append(admission.paused_for_s)
        await asyncio.sleep(lasted[-1])
    return lasted


def test_pauses_without_retry_after_grow_to_a_cap() -> None:
    lasted = run_in_virtual_time(_pauses_of_new_admission(12))
    for number, seconds in enumerate(lasted):
        longest = min(LONGEST_PAUSE_S, 2.0**number)
        assert longest / 2 <= seconds <= longest + 1e-5
    assert lasted[-1] >= LONGEST_PAUSE_S / 2


async def _pauses_of_new_admission(count: int) -> list[float]:
    return await pauses(Admission(max_concurrency=1), count)


def test_success_makes_the_next_pause_a_short_one_again() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=1)
        await pauses(admission, 5)
        admission.succeeded()
        admission.pause(None)
        return admission.paused_for_s

    assert run_in_virtual_time(scenario()) <= 1


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

    assert run_in_virtual_time(scenario()) == pytest.approx(65, abs=0.1)


def test_refusals_that_ask_for_no_wait_at_all_still_slow_us_down() -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=1)
        for _ in range(20):
            admission.pause(0.0)
            await asyncio.sleep(admission.paused_for_s)
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(scenario()) > 5


def test_no_more_than_max_concurrency_are_in_flight() -> None:
    async def scenario() -> tuple[int, float]:
        admission = Admission(max_concurrency=3)
        most = 0

        async def send() -> None:
            nonlocal most
            async with admission.slot(tokens=1):
                most = max(most, admission.in_flight)
                await asyncio.sleep(1)

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


@pytest.mark.parametrize(
    "leave",
    [
        _raise,
        _cancel_while_sending,
        _cancel_while_paused,
        _cancel_while_waiting_for_a_slot,
        _cancel_while_waiting_for_the_rate,
    ],
)
def test_slot_and_turn_are_given_back_however_it_is_left(
    leave: Callable[[Admission], Awaitable[None]],
) -> None:
    async def scenario() -> float:
        admission = Admission(max_concurrency=2, requests_per_minute=60)
        for _ in range(5):
            with pytest.raises((KeyError, asyncio.CancelledError)):
                await leave(admission)
            await asyncio.sleep(200)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(10):
            async with admission.slot(tokens=1), admission.slot(tokens=1):
                return asyncio.get_running_loop().time() - began

    assert run_in_virtual_time(scenario()) <= 1.1


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


def test_admission_shows_its_state() -> None:
    async def scenario() -> str:
        admission = Admission(max_concurrency=3, requests_per_minute=60, tokens_per_minute=9000)
        async with admission.slot(tokens=1):
            return repr(admission)

    assert run_in_virtual_time(scenario()) == "<Admission 1/3 in flight, 60 rpm, 9000 tpm>"
