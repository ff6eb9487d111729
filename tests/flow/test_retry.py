"""Backoff, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from weave_async.flow.retry import Backoff, RetryBudget
from weave_async.testing.virtual_time import run_in_virtual_time


class Refused(Exception):
    def __init__(self, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s


class Fatal(Exception):
    pass


class Endpoint:
    """Ends each call as told, and the last way for ever after; keeps the time of every call."""

    def __init__(self, *ways: Exception | str) -> None:
        self._ways = list(ways)
        self.called_at_s: list[float] = []

    async def __call__(self) -> str:
        self.called_at_s.append(asyncio.get_running_loop().time())
        way = self._ways[min(len(self.called_at_s), len(self._ways)) - 1]
        if isinstance(way, Exception):
            raise way
        return way

    @property
    def waits_s(self) -> list[float]:
        return [b - a for a, b in zip(self.called_at_s, self.called_at_s[1:], strict=False)]


def run(backoff: Backoff, endpoint: Callable[[], Any], **changes: Any) -> Any:
    policy: dict[str, Any] = {
        "is_retryable": lambda error: isinstance(error, Refused),
        "retry_after_s": lambda error: getattr(error, "retry_after_s", None),
    }
    return run_in_virtual_time(first_try_bare(backoff, endpoint, **{**policy, **changes}))


async def first_try_bare(backoff: Backoff, endpoint: Callable[[], Any], **policy: Any) -> Any:
    """As the dispatcher does it."""
    try:
        return await endpoint()
    except Exception as error:
        return await backoff.try_again(error, endpoint, **policy)


@pytest.mark.parametrize("attempts", [1, 2, 3, 6])
def test_attempts_count_the_first_try(attempts: int) -> None:
    endpoint = Endpoint(Refused())
    with pytest.raises(Refused):
        run(Backoff(attempts=attempts), endpoint)
    assert len(endpoint.called_at_s) == attempts


def test_the_first_success_is_returned_and_ends_the_tries() -> None:
    endpoint = Endpoint(Refused(), Refused(), "fine")
    assert run(Backoff(), endpoint) == "fine"
    assert len(endpoint.called_at_s) == 3


def test_an_error_that_is_not_retryable_is_raised_after_one_try() -> None:
    endpoint = Endpoint(Fatal())
    with pytest.raises(Fatal):
        run(Backoff(), endpoint)
    assert endpoint.called_at_s == [0]


def test_an_error_that_is_not_retryable_ends_the_tries_later_too() -> None:
    endpoint = Endpoint(Refused(), Fatal(), "fine")
    with pytest.raises(Fatal):
        run(Backoff(), endpoint)
    assert len(endpoint.called_at_s) == 2


def test_the_last_error_is_raised_itself() -> None:
    errors = [Refused(), Refused(), Refused()]
    with pytest.raises(Refused) as caught:
        run(Backoff(attempts=3), Endpoint(*errors))
    assert caught.value is errors[-1]


def test_retry_after_overrides_backoff() -> None:
    endpoint = Endpoint(Refused(45.0), Refused(0.25), "fine")
    run(Backoff(), endpoint)
    assert endpoint.waits_s == pytest.approx([45.0, 0.25], abs=1e-3)


def test_backoff_comes_back_when_a_later_error_asks_for_nothing() -> None:
    endpoint = Endpoint(Refused(45.0), Refused(), "fine")
    run(Backoff(base_s=0.5), endpoint)
    assert endpoint.waits_s[1] <= 1.001


def test_waits_are_drawn_below_a_doubling_bound_that_is_capped() -> None:
    seen: list[list[float]] = []
    for _ in range(40):
        endpoint = Endpoint(Refused())
        with pytest.raises(Refused):
            run(Backoff(attempts=9, base_s=0.5, cap_s=8.0), endpoint)
        seen.append(endpoint.waits_s)
    for number, waits_s in enumerate(zip(*seen, strict=True)):
        bound = min(8.0, 0.5 * 2**number)
        assert max(waits_s) <= bound + 1e-3
        assert max(waits_s) > bound / 2, "full jitter reaches the upper half in 40 draws"
        assert min(waits_s) < bound / 2, "full jitter reaches the lower half in 40 draws"


def test_each_retry_is_told_once_before_it_waits() -> None:
    told: list[tuple[BaseException, float]] = []

    def on_retry(error: BaseException) -> None:
        told.append((error, asyncio.get_running_loop().time()))

    errors = [Refused(10.0), Refused(10.0), Refused(10.0)]
    run(Backoff(), Endpoint(*errors, "fine"), on_retry=on_retry)
    assert [error for error, _ in told] == errors
    assert [at_s for _, at_s in told] == pytest.approx([0, 10, 20], abs=1e-3)


def test_the_last_failure_is_no_retry() -> None:
    told: list[BaseException] = []
    errors = [Refused(), Refused(), Refused()]
    with pytest.raises(Refused):
        run(Backoff(attempts=3), Endpoint(*errors), on_retry=told.append)
    with pytest.raises(Refused):
        run(Backoff(attempts=1), Endpoint(*errors), on_retry=told.append)
    with pytest.raises(Fatal):
        run(Backoff(), Endpoint(Fatal()), on_retry=told.append)
    assert told == errors[:2]


def test_calls_at_the_same_time_do_not_share_their_count() -> None:
    endpoints = [Endpoint(Refused()) for _ in range(20)]
    backoff = Backoff(attempts=3)

    async def scenario() -> None:
        calls = [
            first_try_bare(backoff, each, is_retryable=lambda _: True, retry_after_s=lambda _: 1.0)
            for each in endpoints
        ]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, Refused) for error in errors)

    run_in_virtual_time(scenario())
    assert [len(each.called_at_s) for each in endpoints] == [3] * 20


@pytest.mark.parametrize("cancel_after_s", [0.5, 1.5, 2.5], ids=["first try", "wait", "second try"])
def test_cancellation_passes_through_and_ends_the_tries(cancel_after_s: float) -> None:
    calls = 0

    async def slow() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(1)
        raise Refused

    async def scenario() -> None:
        running = first_try_bare(
            Backoff(), slow, is_retryable=lambda _: True, retry_after_s=lambda _: 1.0
        )
        task = asyncio.create_task(running)
        await asyncio.sleep(cancel_after_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() < cancel_after_s + 0.1

    run_in_virtual_time(scenario())
    assert calls == (2 if cancel_after_s > 2 else 1)


def test_a_retry_that_is_held_back_comes_no_sooner() -> None:
    endpoint = Endpoint(Refused(), Refused(2.0), "fine")
    run(Backoff(), endpoint, held_back_s=lambda: 7.0)
    assert endpoint.waits_s == pytest.approx([7, 7], abs=1e-3)


def test_retries_in_their_tenths_are_not_held_back() -> None:
    budget = RetryBudget()
    for number in range(2000):
        assert budget.hold_back_s(now_s=number / 10, num_sent=10 * number) == 0


def test_retries_above_a_fifth_of_what_is_sent_are_spread_and_none_is_dropped() -> None:
    budget = RetryBudget()
    at_s = [number / 100 + budget.hold_back_s(number / 100, 100) for number in range(1000)]
    assert at_s == sorted(at_s)
    assert at_s[-1] == pytest.approx((1000 - 20 - 20) / 10, rel=0.05)


def test_what_is_sent_earns_retries() -> None:
    budget = RetryBudget()
    held_back_s = [budget.hold_back_s(number / 100, 5 * number) for number in range(1000)]
    assert max(held_back_s) == 0
