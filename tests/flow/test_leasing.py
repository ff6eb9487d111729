"""Rate limits that several workers share, in virtual time: what reaches the endpoint, and when."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_async.flow.admission import Admission
from weave_async.flow.leasing import Ask, Grant, Lease, LessorUnreachableError, Limits
from weave_async.flow.lessor import Lessor, Lessors
from weave_async.testing.virtual_time import run_in_virtual_time

WINDOW_S = 60.0
TAKES_S = 0.3
"""How long a request is out."""


class Account:
    """An endpoint that counts, a lessor that may be away, and workers that may die."""

    def __init__(self, limits: Limits, num_workers: int) -> None:
        self.limits = limits
        self.num_workers = num_workers
        self.sent: list[tuple[float, int, int]] = []
        """When, by whom, and of how many tokens."""
        self.granted: list[tuple[float, float]] = []
        """When, and how many requests; negative where they came back."""
        self.lessor: Lessor | None = Lessor(limits, num_workers)
        self.cut_off: set[int] = set()
        self._workers: dict[int, asyncio.Task[None]] = {}

    def start_lessor(self) -> None:
        self.lessor = Lessor(self.limits, self.num_workers)

    async def ask(self, ask: Ask) -> Grant:
        lessor = self.lessor
        await asyncio.sleep(0.001)
        if lessor is None or lessor is not self.lessor:
            raise LessorUnreachableError
        if ask.worker in self.cut_off:
            await asyncio.Event().wait()
        self.granted.append((_now_s(), -ask.requests_unused))
        grant = await lessor.lease(ask)
        if lessor is not self.lessor:
            raise LessorUnreachableError
        self.granted.append((_now_s(), grant.requests))
        await asyncio.sleep(0.001)
        return grant

    def start(self, worker: int, tokens: Callable[[], int] = lambda: 10) -> None:
        self._workers[worker] = asyncio.create_task(self._work(worker, tokens))

    async def kill(self, worker: int) -> None:
        task = self._workers.pop(worker)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def stop(self) -> None:
        for worker in list(self._workers):
            await self.kill(worker)

    async def _work(self, worker: int, tokens: Callable[[], int]) -> None:
        """More to send than may be, at all times."""
        lease = Lease(self.limits, worker=worker, num_workers=self.num_workers, ask=self.ask)
        admission = Admission(
            max_concurrency=200,
            requests_per_minute=self.limits.requests_per_minute,
            tokens_per_minute=self.limits.tokens_per_minute,
            lease=lease,
        )

        async def sender() -> None:
            while True:
                async with admission.slot(tokens=tokens()) as slot:
                    self.sent.append((_now_s(), worker, slot.tokens))
                    await asyncio.sleep(TAKES_S)
                    slot.settle(slot.tokens)

        async with asyncio.TaskGroup() as group:
            group.create_task(lease.run())
            for _ in range(40):
                group.create_task(sender())

    def most_in_a_window(self, amounts: list[tuple[float, float]]) -> float:
        """The largest sum of any 60 s that begin with an event."""
        most = held = 0.0
        first = 0
        for at_s, amount in amounts:
            held += amount
            while amounts[first][0] <= at_s - WINDOW_S:
                held -= amounts[first][1]
                first += 1
            most = max(most, held)
        return most

    @property
    def most_sent(self) -> float:
        return self.most_in_a_window([(at_s, 1.0) for at_s, _, _ in self.sent])

    @property
    def most_tokens_sent(self) -> float:
        return self.most_in_a_window([(at_s, float(tokens)) for at_s, _, tokens in self.sent])

    @property
    def most_granted(self) -> float:
        return self.most_in_a_window(self.granted)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def run_account(
    account: Callable[[], Account], scenario: Callable[[Account], Awaitable[None]]
) -> Account:
    async def run() -> Account:
        made = account()
        try:
            await scenario(made)
        finally:
            await made.stop()
        return made

    return run_in_virtual_time(run())


def test_workers_share_the_whole_limit_evenly_and_never_exceed_it() -> None:
    async def scenario(account: Account) -> None:
        for worker in range(4):
            account.start(worker)
        await asyncio.sleep(180)

    account = run_account(lambda: Account(Limits(600), 4), scenario)
    assert 585 <= account.most_sent <= 600
    by_worker = [sum(1 for _, w, _ in account.sent if w == worker) for worker in range(4)]
    assert max(by_worker) - min(by_worker) < 0.05 * max(by_worker)


def test_tokens_are_shared_too_and_large_requests_do_not_starve() -> None:
    chance = random.Random(1)

    async def scenario(account: Account) -> None:
        account.start(0, lambda: 50)
        account.start(1, lambda: 2000)
        account.start(2, lambda: chance.randint(10, 500))
        await asyncio.sleep(180)

    account = run_account(lambda: Account(Limits(6000, 60_000), 3), scenario)
    assert 55_000 <= account.most_tokens_sent <= 60_000 + 2000  # part of one request, as a bucket
    assert sum(1 for _, worker, _ in account.sent if worker == 1) >= 20


@pytest.mark.parametrize(
    ("limits", "num_workers", "per_minute"),
    [(Limits(6000, 600_000), 16, 2000), (Limits(600), 50, 600), (Limits(60), 20, 60)],
)
def test_many_workers_take_turns_and_leave_nothing_unused(
    limits: Limits, num_workers: int, per_minute: int
) -> None:
    async def scenario(account: Account) -> None:
        for worker in range(num_workers):
            account.start(worker, lambda: 300)
        await asyncio.sleep(90)

    account = run_account(lambda: Account(limits, num_workers), scenario)
    assert 0.96 * per_minute <= account.most_sent <= per_minute
    late = [worker for at_s, worker, _ in account.sent if at_s > 30]
    by_worker = [late.count(worker) for worker in range(num_workers)]
    assert max(by_worker) - min(by_worker) <= 2


def test_what_one_worker_does_not_need_the_others_get() -> None:
    async def scenario(account: Account) -> None:
        account.start(0)
        assert account.lessor is not None
        account.lessor.note_idle({1, 2, 3})
        await asyncio.sleep(120)

    account = run_account(lambda: Account(Limits(600), 4), scenario)
    assert 585 <= account.most_sent <= 600


def test_a_worker_that_is_cut_off_goes_on_at_its_part_and_the_others_leave_it_room() -> None:
    async def scenario(account: Account) -> None:
        for worker in range(4):
            account.start(worker)
        await asyncio.sleep(60)
        account.cut_off.add(2)
        await asyncio.sleep(120)

    account = run_account(lambda: Account(Limits(600), 4), scenario)
    late = [at_s for at_s, worker, _ in account.sent if worker == 2 and at_s > 70]
    assert 240 <= len(late) <= 280  # 110 s at 150 a minute
    assert account.most_sent <= 600


def test_a_worker_comes_back_to_the_lessor_without_a_burst() -> None:
    async def scenario(account: Account) -> None:
        for worker in range(2):
            account.start(worker)
        await asyncio.sleep(30)
        account.cut_off.add(1)
        await asyncio.sleep(30)
        account.cut_off.clear()
        await asyncio.sleep(90)

    account = run_account(lambda: Account(Limits(600), 2), scenario)
    assert account.most_sent <= 600
    last_minute = [worker for at_s, worker, _ in account.sent if at_s > 90]
    assert 570 <= len(last_minute) <= 600
    assert 250 <= last_minute.count(1) <= 330


def test_a_lessor_that_starts_again_begins_with_nothing() -> None:
    async def scenario(account: Account) -> None:
        for worker in range(4):
            account.start(worker)
        for _ in range(6):
            await asyncio.sleep(20)
            account.lessor = None
            await asyncio.sleep(1)
            account.start_lessor()
        await asyncio.sleep(60)

    account = run_account(lambda: Account(Limits(600), 4), scenario)
    assert account.most_granted <= 600
    assert account.most_sent <= 600
    assert len(account.sent) >= 0.9 * 600 * 186 / 60


def test_while_the_lessor_is_away_all_go_on_at_their_parts() -> None:
    async def scenario(account: Account) -> None:
        for worker in range(3):
            account.start(worker)
        await asyncio.sleep(10)
        account.lessor = None
        await asyncio.sleep(120)

    account = run_account(lambda: Account(Limits(600), 3), scenario)
    late = [at_s for at_s, _, _ in account.sent if at_s > 20]
    assert 0.9 * 600 * 110 / 60 <= len(late) <= 600 * 110 / 60
    assert account.most_sent <= 600


def test_who_has_never_heard_the_lessor_sends_nothing() -> None:
    async def scenario(account: Account) -> None:
        account.cut_off.add(0)
        account.start(0)
        await asyncio.sleep(60)

    assert run_account(lambda: Account(Limits(600), 2), scenario).sent == []


def test_a_grant_that_is_not_used_lapses() -> None:
    async def scenario() -> float:
        lease = Lease(Limits(600), worker=0, num_workers=1, ask=_never)
        assert lease.requests is not None
        lease.requests.receive(5)
        assert lease.requests.wait_s(1) == 0
        await asyncio.sleep(0.6)
        return lease.requests.wait_s(1)

    assert run_in_virtual_time(scenario()) == float("inf")


def test_a_pause_that_one_worker_was_asked_for_holds_for_all() -> None:
    async def scenario(account: Account) -> None:
        for worker in range(2):
            account.start(worker)
        await asyncio.sleep(20)
        assert account.lessor is not None
        await account.lessor.lease(Ask(0, account.limits, rest_s=15.0))
        await asyncio.sleep(20)

    account = run_account(lambda: Account(Limits(600), 2), scenario)
    assert not [at_s for at_s, _, _ in account.sent if 21 < at_s < 35]
    assert [at_s for at_s, _, _ in account.sent if at_s > 35]


def test_tokens_used_beyond_the_estimate_are_taken_from_what_comes() -> None:
    async def scenario() -> float:
        lessor = Lessor(Limits(None, 60_000), 1)
        grant = await lessor.lease(Ask(0, lessor.limits, 1, 100, 100))
        assert grant.tokens == 100
        began_s = _now_s()
        ask = Ask(0, lessor.limits, 1, 100, 100, tokens_owed=9_800)
        while not (await lessor.lease(ask)).tokens:
            ask = Ask(0, lessor.limits, 1, 100, 100)
        return _now_s() - began_s

    assert 9.5 < run_in_virtual_time(scenario()) < 10.6


def test_where_workers_were_told_different_limits_the_lowest_hold() -> None:
    async def scenario() -> int:
        lessors = Lessors(2)
        granted = 0
        while _now_s() < 60:
            for worker, limits in ((0, Limits(600)), (1, Limits(60, 1e6))):
                granted += (await lessors.lease("here", Ask(worker, limits, 5, 1, 1))).requests
        return granted

    assert 50 <= run_in_virtual_time(scenario()) <= 61  # and the first of the higher limit


@pytest.mark.parametrize("limits", [Limits(300), Limits(1200, 30_000)])
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), num_workers=st.integers(1, 6))
def test_no_window_exceeds_the_limit_whoever_dies(
    limits: Limits, seed: int, num_workers: int
) -> None:
    chance = random.Random(seed)

    async def scenario(account: Account) -> None:
        alive: set[int] = set()
        for _ in range(25):
            await asyncio.sleep(chance.uniform(0.5, 12))
            worker = chance.randrange(num_workers)
            match chance.randrange(5):
                case 0 | 1:
                    if worker not in alive:
                        alive.add(worker)
                        account.start(worker, lambda: chance.randint(10, 60))
                case 2:
                    if worker in alive:
                        alive.discard(worker)
                        await account.kill(worker)
                case 3:
                    account.lessor = None
                    await asyncio.sleep(chance.uniform(0.1, 8))
                    account.start_lessor()
                case _:
                    account.cut_off.symmetric_difference_update({worker})

    account = run_account(lambda: Account(limits, num_workers), scenario)
    assert limits.requests_per_minute is not None
    assert account.most_granted <= limits.requests_per_minute
    assert account.most_sent <= limits.requests_per_minute
    if limits.tokens_per_minute is not None:
        assert account.most_tokens_sent <= limits.tokens_per_minute


async def _never(ask: Ask) -> Grant:
    return Grant()
