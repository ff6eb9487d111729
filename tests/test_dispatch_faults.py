"""Dispatch through faults, outages and cancellations, with many rows. On virtual time."""

from __future__ import annotations

import asyncio
import logging
import random
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from random import Random
from typing import Any

import pytest

from faulty_provider import ANSWER, FaultyProvider, NoLog, row
from weave_async.blame import GIVE_UP_AFTER_FAILURES
from weave_async.dispatch import Dispatcher
from weave_async.errors import (
    AuthenticationError,
    ConnectError,
    ContextLengthError,
    DeadlineError,
    OutageError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
)
from weave_async.flow.budget import Budget, Cost
from weave_async.flow.retry import Backoff
from weave_async.hedging import Hedging
from weave_async.records import (
    Endpoint,
    Failure,
    Request,
    Response,
)
from weave_async.testing.virtual_time import run_in_virtual_time

Outcome = Response | Failure | Exception


def run_rows(
    provider: FaultyProvider,
    num_rows: int,
    *,
    num_workers: int,
    stop_on_error: bool = True,
    requests_per_minute: float | None = None,
    **changes: Any,
) -> dict[str, Outcome]:
    """All rows through as many workers, as the engine does it; stops at the first that raises."""

    async def scenario() -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        rows = iter(range(num_rows))
        endpoint = Endpoint("e", "fake", "m", requests_per_minute=requests_per_minute)
        async with Dispatcher(
            endpoint,
            provider,  # type: ignore[arg-type]
            max_concurrency=num_workers,
            backoff=Backoff(),
            on_retry=lambda code: None,
            log=NoLog(),
            epoch=0,
            **changes,
        ) as dispatcher:

            async def work() -> None:
                for number in rows:
                    request = row(number)
                    try:
                        outcomes[request.request_id] = await dispatcher.dispatch(request)
                    except Exception as error:
                        outcomes[request.request_id] = error
                        dispatcher.stop()
                        for worker in workers:
                            if not dispatcher.admission.is_sending(worker):
                                worker.cancel()
                        return

            workers = [asyncio.create_task(work()) for _ in range(num_workers)]
            await asyncio.gather(*workers, return_exceptions=True)
            assert dispatcher.admission.in_flight == 0
            assert dispatcher.admission.line.num_waiting == 0
        return outcomes

    random.seed(0)  # for the jitter of waits
    return run_in_virtual_time(scenario())


def num_failed(outcomes: dict[str, Outcome]) -> int:
    return sum(not isinstance(outcome, Response) for outcome in outcomes.values())


# --- faults of single requests -------------------------------------------------------------------


def test_one_failure_in_ten_loses_no_row_and_sends_few_requests_again() -> None:
    rng = Random(1)
    errors = (ConnectError("reset"), ServerError("500", status_code=500), DeadlineError("late"))

    def fault(request: Request, now_s: float) -> ProviderError | None:
        return rng.choice(errors) if rng.random() < 0.1 else None

    provider = FaultyProvider(fault)
    outcomes = run_rows(provider, 20_000, num_workers=100)
    assert len(outcomes) == 20_000
    assert num_failed(outcomes) == 0
    assert len(provider.sent_at_s) <= 1.13 * 20_000
    assert provider.answered_at_s[-1] <= 1.35 * 20_000 / 100 * 0.5


@pytest.mark.parametrize(
    "error", [AuthenticationError("401"), AuthenticationError("403"), QuotaError("402")]
)
def test_what_would_refuse_everybody_ends_the_run_within_what_is_in_flight(
    error: ProviderError,
) -> None:
    def fault(request: Request, now_s: float) -> ProviderError | None:
        return error if now_s >= 10 else None

    provider = FaultyProvider(fault)
    outcomes = run_rows(provider, 2_000, num_workers=16)
    assert provider.num_sent_between(10, 9999) <= 16 + 3
    assert not any(isinstance(outcome, Failure) for outcome in outcomes.values())
    assert error in outcomes.values()


@pytest.mark.parametrize("error", [RequestRefusedError("400"), ContextLengthError("too long")])
def test_one_row_in_ten_that_is_refused_is_sent_once(error: ProviderError) -> None:
    sent: Counter[str] = Counter()

    def fault(request: Request, now_s: float) -> ProviderError | None:
        sent[request.request_id] += 1
        return error if request.request_id.endswith("7") else None

    outcomes = run_rows(FaultyProvider(fault), 500, num_workers=16)
    assert num_failed(outcomes) == 50
    assert set(sent.values()) == {1}


def test_an_endpoint_that_refuses_the_first_rows_all_alike_is_left() -> None:
    provider = FaultyProvider(lambda request, now_s: RequestRefusedError("400"))
    run_rows(provider, 2_000, num_workers=16)
    assert GIVE_UP_AFTER_FAILURES < len(provider.sent_at_s) <= GIVE_UP_AFTER_FAILURES + 16


# --- outages -------------------------------------------------------------------------------------

OUTAGES = {
    "refused": (ConnectError("connection refused"), 0.001),
    "503": (ServerError("503", status_code=503), 0.05),
    "500": (ServerError("500", status_code=500), 0.05),
    "black hole": (DeadlineError("no answer in 10 s"), 10.0),
}


@pytest.mark.parametrize("kind", OUTAGES)
@pytest.mark.parametrize(
    ("requests_per_minute", "is_listing_down"), [(None, True), (None, False), (6_000, True)]
)
def test_an_outage_of_two_minutes_loses_no_row_and_sends_next_to_nothing(
    kind: str,
    requests_per_minute: float | None,
    is_listing_down: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    error, latency_s = OUTAGES[kind]
    began_s, ended_s, num, num_rows = 20.0, 140.0, 100, 8_000

    def fault(request: Request, now_s: float) -> ProviderError | None:
        return error if began_s <= now_s < ended_s else None

    def listing_fault(now_s: float) -> ProviderError | None:
        return error if is_listing_down and began_s <= now_s < ended_s else None

    provider = FaultyProvider(
        fault, listing_fault=listing_fault, latency_s=1.0, failure_latency_s=latency_s
    )
    with caplog.at_level(logging.WARNING):
        outcomes = run_rows(
            provider, num_rows, num_workers=num, requests_per_minute=requests_per_minute
        )
    assert len(outcomes) == num_rows
    assert num_failed(outcomes) == 0
    assert provider.num_sent_between(began_s, ended_s) <= num + 60
    rate_per_s = num if requests_per_minute is None else 0.98 * requests_per_minute / 60
    back_s = ended_s + 35
    answered = sum(back_s <= at_s < back_s + 10 for at_s in provider.answered_at_s)
    assert answered >= 0.95 * 10 * rate_per_s
    assert [message.split(",")[0] for message in caplog.messages] == [
        "e fails again and again",
        "e answers again",
    ]


@pytest.mark.parametrize(("answers_until_s", "left_after_s"), [(0, 120), (30, 3600)])
def test_an_outage_that_does_not_end_ends_the_run_and_leaves_its_rows_pending(
    answers_until_s: float, left_after_s: float
) -> None:
    def fault(request: Request, now_s: float) -> ProviderError | None:
        return ConnectError("refused") if now_s >= answers_until_s else None

    def listing_fault(now_s: float) -> ProviderError | None:
        return ConnectError("refused") if now_s > answers_until_s else None

    provider = FaultyProvider(fault, listing_fault=listing_fault)
    outcomes = run_rows(provider, 10_000, num_workers=16)
    (error,) = (outcome for outcome in outcomes.values() if not isinstance(outcome, Response))
    assert isinstance(error, OutageError)
    assert error.exit_code == 75
    assert "refused" in str(error)
    last_s = provider.sent_at_s[-1] - answers_until_s
    assert left_after_s <= last_s <= left_after_s + 35


def test_an_endpoint_that_has_answered_in_an_earlier_run_is_waited_for() -> None:
    async def scenario() -> Response | Failure:
        provider = FaultyProvider(
            lambda request, now_s: ConnectError("refused") if now_s < 1000 else None,
            listing_fault=lambda now_s: ConnectError("refused") if 0 < now_s < 1000 else None,
        )
        async with Dispatcher(
            Endpoint("e", "fake", "m"),
            provider,  # type: ignore[arg-type]
            max_concurrency=8,
            backoff=Backoff(attempts=99),
            on_retry=lambda code: None,
            log=NoLog(),
            epoch=1,
        ) as dispatcher:
            dispatcher.count_success()
            outcomes = await asyncio.gather(*(dispatcher.dispatch(row(n)) for n in range(8)))
            return outcomes[0]

    assert run_in_virtual_time(scenario()) == ANSWER


@pytest.mark.parametrize("num_workers", [1, 2, 16])
def test_a_row_that_breaks_the_server_each_time_ends_as_failed_and_stops_nobody(
    num_workers: int,
) -> None:
    poison = {"row 100", "row 101"}

    def fault(request: Request, now_s: float) -> ProviderError | None:
        is_poison = request.request_id in poison
        return ServerError("500", status_code=500) if is_poison else None

    provider = FaultyProvider(fault)
    outcomes = run_rows(provider, 200, num_workers=num_workers)
    failed = {id for id, outcome in outcomes.items() if isinstance(outcome, Failure)}
    assert failed == poison
    assert len(outcomes) == 200


POISONED = {
    "ten at the end": (1000, range(990, 1000), 50),
    "two at the end": (1000, range(998, 1000), 50),
    "one in ten": (1000, range(5, 1000, 10), 50),
    "ten and no others": (10, range(10), 50),
    "two at the head, one at a time": (50, range(2), 1),
}


@pytest.mark.parametrize("case", POISONED)
@pytest.mark.parametrize("failure_latency_s", [0.05, 0.5])
def test_rows_that_break_the_server_each_time_end_as_failed_within_five_minutes(
    case: str, failure_latency_s: float
) -> None:
    num_rows, poison, num_workers = POISONED[case]

    def fault(request: Request, now_s: float) -> ProviderError | None:
        is_poison = int(request.request_id.split()[1]) in poison
        return ServerError("500", status_code=500) if is_poison else None

    provider = FaultyProvider(fault, failure_latency_s=failure_latency_s)
    outcomes = run_rows(provider, num_rows, num_workers=num_workers)
    failed = {id for id, outcome in outcomes.items() if isinstance(outcome, Failure)}
    assert failed == {f"row {number}" for number in poison}
    assert sum(isinstance(outcome, Response) for outcome in outcomes.values()) == num_rows - len(
        poison
    )
    assert provider.sent_at_s[-1] <= 300


@pytest.mark.parametrize("has_answered_before", [True, False])
def test_bad_rows_that_are_all_that_an_earlier_run_left_end_as_failed(
    has_answered_before: bool,
) -> None:
    async def scenario() -> float:
        provider = FaultyProvider(lambda request, now_s: ServerError("500", status_code=500))
        async with dispatcher_of(provider) as dispatcher:
            if has_answered_before:
                dispatcher.count_success()
            outcomes = await asyncio.gather(*(dispatcher.dispatch(row(n)) for n in range(10)))
            assert all(isinstance(outcome, Failure) for outcome in outcomes)
        return provider.sent_at_s[-1]

    assert run_in_virtual_time(scenario()) <= 300


def test_bad_rows_of_an_endpoint_that_lists_nothing_end_within_its_longest_outage() -> None:
    async def scenario() -> None:
        provider = FaultyProvider(
            lambda request, now_s: ServerError("500", status_code=500),
            listing_fault=lambda now_s: ServerError("no such list", status_code=500),
        )
        async with dispatcher_of(provider) as dispatcher:
            dispatcher.count_success()
            outcomes = await asyncio.gather(*(dispatcher.dispatch(row(n)) for n in range(10)))
            assert all(isinstance(outcome, Failure) for outcome in outcomes)

    run_in_virtual_time(scenario())


def test_an_overload_is_no_rows_fault_however_well_the_models_are_listed() -> None:
    def fault(request: Request, now_s: float) -> ProviderError | None:
        return ServerError("overloaded", status_code=503) if 5 <= now_s < 1000 else None

    outcomes = run_rows(FaultyProvider(fault), 200, num_workers=4)
    assert len(outcomes) == 200
    assert num_failed(outcomes) == 0


def dispatcher_of(provider: FaultyProvider) -> Dispatcher:
    return Dispatcher(
        Endpoint("e", "fake", "m"),
        provider,  # type: ignore[arg-type]
        max_concurrency=50,
        backoff=Backoff(),
        on_retry=lambda code: None,
        log=NoLog(),
        epoch=1,
    )


def test_rows_that_are_the_last_and_break_the_server_end_as_failed() -> None:
    def fault(request: Request, now_s: float) -> ProviderError | None:
        is_last = int(request.request_id.split()[1]) >= 198
        return ServerError("500", status_code=500) if is_last else None

    provider = FaultyProvider(fault)
    outcomes = run_rows(provider, 200, num_workers=16)
    assert num_failed(outcomes) == 2
    assert all(isinstance(outcome, (Response, Failure)) for outcome in outcomes.values())
    assert len(provider.sent_at_s) <= 198 + 2 * (20 + 6)


# --- cancellation --------------------------------------------------------------------------------


@types.coroutine
def suspending(
    coroutine: Coroutine[Any, Any, Any], on_suspend: Callable[[], None]
) -> Generator[Any, Any, Any]:
    """Await ``coroutine``, and call ``on_suspend`` whenever it comes to wait for something."""
    step: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731
    while True:
        try:
            waits_for = step()
        except StopIteration as stop:
            return stop.value
        on_suspend()
        try:
            yield waits_for
            step = lambda: coroutine.send(None)  # noqa: E731
        except BaseException as error:  # handed on as it is
            thrown = error
            step = lambda: coroutine.throw(thrown)  # noqa: E731, B023


async def _cancelled_at(number: int, is_late: bool, is_hedged: bool) -> int:
    """Cancel whoever comes to the n-th await of all; returns how many awaits there were."""
    rng = Random(number)
    budget = Budget(max_tokens=10_000)
    num_awaits = 0
    random.seed(number)

    def fault(request: Request, now_s: float) -> ProviderError | None:
        errors: list[ProviderError] = [
            ServerError("500", status_code=500),
            RateLimitError("429"),
            RequestRefusedError("400"),
        ]
        return rng.choice(errors) if rng.random() < 0.5 else None

    def on_suspend() -> None:
        nonlocal num_awaits
        num_awaits += 1
        if num_awaits == number:
            task = asyncio.current_task()
            assert task is not None
            loop = asyncio.get_running_loop()
            loop.call_later(0.4, task.cancel) if is_late else loop.call_soon(task.cancel)

    async with Dispatcher(
        Endpoint("e", "fake", "m", requests_per_minute=600, tokens_per_minute=6000),
        FaultyProvider(fault, latency_s=0.3),  # type: ignore[arg-type]
        max_concurrency=3,
        backoff=Backoff(),
        on_retry=lambda code: None,
        log=NoLog(),
        epoch=0,
        budget=budget,
        hedging=Hedging(0.1, most=1.0) if is_hedged else None,
    ) as dispatcher:
        requests = [asyncio.create_task(_one(dispatcher, n, on_suspend)) for n in range(30)]
        await asyncio.gather(*requests, return_exceptions=True)
        admission = dispatcher.admission
        assert (admission.in_flight, admission.line.num_waiting) == (0, 0)
        assert budget.reserved == Cost(0, 0.0)
        rng.seed(0)
        await asyncio.gather(*(dispatcher.dispatch(row(n)) for n in range(3)))
        assert (admission.in_flight, admission.line.num_waiting) == (0, 0)
    return num_awaits


async def _one(dispatcher: Dispatcher, number: int, on_suspend: Callable[[], None]) -> None:
    awaitable: Awaitable[Any] = suspending(dispatcher.dispatch(row(number)), on_suspend)
    await awaitable


@pytest.mark.parametrize("is_hedged", [False, True])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_cancellation_at_any_await_loses_no_slot_no_token_and_no_budget(
    is_late: bool, is_hedged: bool
) -> None:
    reached = 0
    for number in range(1, 501):
        num_awaits = run_in_virtual_time(_cancelled_at(number, is_late, is_hedged))
        if num_awaits < number:
            break
        reached = number
    assert reached >= 80


# --- clocks --------------------------------------------------------------------------------------


def test_a_wall_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def sent_at_s() -> list[float]:
        rng = Random(2)

        def fault(request: Request, now_s: float) -> ProviderError | None:
            return RateLimitError("429", retry_after_s=3) if rng.random() < 0.05 else None

        provider = FaultyProvider(fault)
        run_rows(provider, 200, num_workers=8, requests_per_minute=600)
        return provider.sent_at_s

    as_usual = sent_at_s()
    jumps = iter(range(10**9))
    for clock in ("time", "monotonic"):
        monkeypatch.setattr(f"time.{clock}", lambda: (next(jumps) % 3 - 1) * 3600.0)
    assert sent_at_s() == as_usual
