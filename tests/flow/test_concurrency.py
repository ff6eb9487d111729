"""Concurrency: told, following the rates, or found out. Against servers that are simulated."""

from __future__ import annotations

import asyncio

import pytest

from weave_async.flow.admission import Admission
from weave_async.testing.virtual_time import run_in_virtual_time


class Server:
    """Answers 100 tokens in 1 s to ``best`` requests at once; what is more is queued, or thrashes.

    With ``thrashing``, all get slower by more than their number when there are too many.
    """

    def __init__(self, best: int, *, thrashing: float = 0.0, latency_s: float = 1.0) -> None:
        self._best = best
        self._thrashing = thrashing
        self._latency_s = latency_s
        self._free = asyncio.Semaphore(best if not thrashing else 10_000)
        self.in_flight = self.num_answered = 0

    async def answer(self) -> None:
        self.in_flight += 1
        async with self._free:
            excess = max(0.0, self.in_flight / self._best - 1)
            await asyncio.sleep(self._latency_s * (1 + excess * (1 + self._thrashing)))
        self.in_flight -= 1
        self.num_answered += 1


async def load(admission: Admission, server: Server, seconds: float, num: int = 1100) -> None:
    async def send_on_and_on() -> None:
        while True:
            async with admission.slot(tokens=100) as slot:
                await server.answer()
                slot.settle(100)

    senders = [asyncio.create_task(send_on_and_on()) for _ in range(num)]
    await asyncio.sleep(seconds)
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)


@pytest.mark.parametrize("best", [10, 64, 150])
@pytest.mark.parametrize("thrashing", [0.0, 1.0])
def test_where_throughput_peaks_is_found(best: int, thrashing: float) -> None:
    async def scenario() -> int:
        admission = Admission(start_concurrency=4)
        await load(admission, Server(best, thrashing=thrashing), 120, num=400)
        return admission.concurrency.limit

    found = run_in_virtual_time(scenario())
    assert best / 2 < found <= 2 * best


def test_it_does_not_run_away_on_a_server_that_only_queues() -> None:
    async def scenario() -> int:
        admission = Admission(start_concurrency=16)
        await load(admission, Server(16), 1200, num=200)
        return admission.concurrency.limit

    assert run_in_virtual_time(scenario()) <= 32


def test_a_server_without_a_limit_gets_all_that_memory_allows() -> None:
    async def scenario() -> int:
        admission = Admission(start_concurrency=16)
        await load(admission, Server(10**6), 60)
        assert admission.in_flight == 0
        return admission.concurrency.limit

    assert run_in_virtual_time(scenario()) == 1024


def test_concurrency_that_is_not_used_does_not_grow() -> None:
    async def scenario() -> int:
        admission = Admission(start_concurrency=16)
        await load(admission, Server(10**6), 60, num=8)
        return admission.concurrency.limit

    assert run_in_virtual_time(scenario()) == 16


def test_little_work_at_first_does_not_end_the_search() -> None:
    async def scenario() -> int:
        admission = Admission(start_concurrency=16)
        await load(admission, Server(10**6), 60, num=8)
        await load(admission, Server(10**6), 60)
        return admission.concurrency.limit

    assert run_in_virtual_time(scenario()) == 1024


async def answers(admission: Admission, num: int) -> None:
    for _ in range(num):
        async with admission.slot(tokens=1) as slot:
            await asyncio.sleep(0.01)
            slot.settle(1)


async def overloads(admission: Admission, num: int) -> None:
    for number in range(num):
        async with admission.slot(tokens=1) as slot:
            slot.missed(f"row {number}", "503", is_overload=True, is_billed=False)


@pytest.mark.parametrize("limits", [{"max_concurrency": 64}, {"start_concurrency": 64}])
def test_overload_cuts_by_a_quarter_and_once_in_ten_seconds(limits: dict[str, int]) -> None:
    async def scenario() -> list[int]:
        admission = Admission(**limits)
        seen = []
        for pause_s in (0, 1, 20):
            await asyncio.sleep(pause_s)
            await overloads(admission, 4)
            await answers(admission, 4)
            seen.append(admission.concurrency.limit)
        return seen

    assert run_in_virtual_time(scenario()) == [48, 48, 36]


def test_one_time_out_among_many_answers_is_no_overload() -> None:
    async def scenario() -> int:
        admission = Admission(max_concurrency=64)
        for _ in range(5):
            await answers(admission, 99)
            await overloads(admission, 1)
        return admission.concurrency.limit

    assert run_in_virtual_time(scenario()) == 64


def test_an_outage_is_no_overload() -> None:
    async def scenario() -> int:
        admission = Admission(max_concurrency=64)
        await answers(admission, 4)
        await overloads(admission, 5)
        assert not admission.breaker.is_closed
        await answers(admission, 40)
        return admission.concurrency.limit

    assert run_in_virtual_time(scenario()) == 64


def test_what_a_person_said_is_where_it_starts_and_comes_back_to() -> None:
    async def scenario() -> tuple[int, int, int]:
        admission = Admission(max_concurrency=40)
        first = admission.concurrency.limit
        await overloads(admission, 4)
        await answers(admission, 4)
        cut = admission.concurrency.limit
        for _ in range(10):
            await asyncio.sleep(61)
            await answers(admission, 1)
        return first, cut, admission.concurrency.limit

    assert run_in_virtual_time(scenario()) == (40, 30, 40)


@pytest.mark.parametrize("latency_s", [0.5, 4.0, 20.0])
@pytest.mark.parametrize("limits", [{"requests_per_minute": 600}, {"tokens_per_minute": 60_000}])
def test_where_rates_are_known_concurrency_does_not_bind(
    latency_s: float, limits: dict[str, float]
) -> None:
    async def scenario() -> tuple[float, int]:
        admission = Admission(start_concurrency=16, **limits)
        server = Server(10**6, latency_s=latency_s)
        await load(admission, server, 300, num=600)
        warm = server.num_answered
        await load(admission, server, 300, num=600)
        return (server.num_answered - warm) / 300, admission.concurrency.limit

    per_s, limit = run_in_virtual_time(scenario())
    assert per_s >= 9.3 * (300 - latency_s) / 300
    assert limit <= max(16, 3 * 2 * 10 * latency_s)


def test_it_shows_its_state() -> None:
    assert repr(Admission(max_concurrency=4).concurrency) == "<FixedConcurrency 4, at most 4>"
    assert "SeekingConcurrency 16, at most 1024" in repr(Admission().concurrency)
