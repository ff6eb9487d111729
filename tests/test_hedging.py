"""Stragglers that are sent a second time: who wins, what it costs, and what is left behind."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from faulty_provider import FaultyProvider, row
from weave_async.blame import Tries
from weave_async.dispatch import Dispatcher
from weave_async.errors import ProviderError, RequestRefusedError, ServerError, Unsent
from weave_async.flow.budget import Budget, Cost
from weave_async.flow.retry import Backoff
from weave_async.hedging import LEAST_ANSWERS, Hedging
from weave_async.records import Endpoint, Failure, Request, Response
from weave_async.testing.virtual_time import run_in_virtual_time

Told = list[tuple[str, str, Any]]


class RecordingLog:
    def __init__(self) -> None:
        self.told: Told = []

    def sent(self, request: Request, *, tokens: int) -> None:
        self.told.append(("sent", request.attempt_id, tokens))

    def missed(self, request: Request, failure: Failure) -> None:
        self.told.append(("missed", request.attempt_id, failure.error))


def one_after_the_other(*latencies_s: float) -> Callable[[float], float]:
    """So long takes the first request, the second …; later ones are quick."""
    left = iter(latencies_s)
    return lambda now_s: next(left, 0.1)


def dispatcher_of(
    provider: FaultyProvider,
    log: RecordingLog,
    *,
    after: Any = 2.0,
    most: float = 1.0,
    budget: Budget | None = None,
    max_concurrency: int = 8,
) -> Dispatcher:
    return Dispatcher(
        Endpoint("e", "fake", "m"),
        provider,  # type: ignore[arg-type]
        max_concurrency=max_concurrency,
        backoff=Backoff(),
        on_retry=lambda code: None,
        log=log,
        epoch=1,
        budget=budget,
        hedging=Hedging(after, most=most),
    )


def dispatched(
    provider: FaultyProvider, num_rows: int = 1, **options: Any
) -> tuple[list[Response | Failure], Told, Dispatcher]:
    """All rows at once, and what the journal was told."""
    log = RecordingLog()

    async def scenario() -> tuple[list[Response | Failure], Told, Dispatcher]:
        async with dispatcher_of(provider, log, **options) as dispatcher:
            rows = (dispatcher.dispatch(row(number)) for number in range(num_rows))
            outcomes = await asyncio.gather(*rows)
            assert (dispatcher.admission.in_flight, dispatcher.admission.line.num_waiting) == (0, 0)
            assert len(asyncio.all_tasks()) == 1, "a sending was left running"
            return outcomes, log.told, dispatcher

    return run_in_virtual_time(scenario())


def test_a_straggler_is_overtaken_by_its_second_sending() -> None:
    provider = FaultyProvider(lambda *_: None, latency_s=one_after_the_other(60.0))
    [outcome], told, dispatcher = dispatched(provider)
    assert isinstance(outcome, Response)
    assert provider.sent_at_s == [0.0, 2.0]
    assert provider.answered_at_s == [pytest.approx(2.1)]
    assert [(kind, id) for kind, id, _ in told] == [
        ("sent", "row 0-1.1"),
        ("sent", "row 0-1.2"),
        ("missed", "row 0-1.1"),
    ]
    assert told[-1][2] == "hedged"
    account = dispatcher.account()
    assert (account.answered, account.hedged, account.hedges_won) == (1, 1, 1)


def test_a_second_sending_that_comes_later_is_given_up() -> None:
    provider = FaultyProvider(lambda *_: None, latency_s=one_after_the_other(3.0, 60.0))
    [outcome], told, dispatcher = dispatched(provider)
    assert isinstance(outcome, Response)
    assert provider.answered_at_s == [3.0]
    assert told[-1] == ("missed", "row 0-1.2", "hedged")
    account = dispatcher.account()
    assert (account.hedged, account.hedges_won) == (1, 0)


def test_the_winner_is_known_by_its_attempt() -> None:
    async def scenario(*latencies_s: float) -> str | None:
        latency_s = one_after_the_other(*latencies_s)
        provider = FaultyProvider(lambda *_: None, latency_s=latency_s)
        async with dispatcher_of(provider, RecordingLog()) as dispatcher:
            tries = Tries()
            await dispatcher.dispatch(row(0), tries)
            return tries.answered and tries.answered.attempt_id

    assert run_in_virtual_time(scenario(60.0, 0.1)) == "row 0-1.2"
    assert run_in_virtual_time(scenario(3.0, 60.0)) == "row 0-1.1"


@pytest.mark.parametrize("latencies_s", [(60.0, 0.5), (3.0, 60.0)])
def test_the_sending_that_is_given_up_may_be_billed_and_is_counted_so(
    latencies_s: tuple[float, float],
) -> None:
    budget = Budget(max_tokens=10_000)
    provider = FaultyProvider(lambda *_: None, latency_s=one_after_the_other(*latencies_s))
    _, told, _ = dispatched(provider, budget=budget)
    worst_case = told[0][2]
    assert budget.reserved == Cost(0, 0.0)
    assert budget.spent.tokens == worst_case + 6


def test_what_fails_in_a_second_sending_is_no_attempt_of_the_row() -> None:
    errors = [ServerError("500", status_code=500), RequestRefusedError("400", status_code=400)]
    for error in errors:
        is_first = iter([True])

        def fault(
            request: Request,
            now_s: float,
            error: ProviderError = error,
            is_first: Any = is_first,
        ) -> ProviderError | None:
            return None if next(is_first, False) else error

        provider = FaultyProvider(fault, latency_s=10.0)
        [outcome], told, _ = dispatched(provider)
        assert isinstance(outcome, Response)
        assert len(provider.sent) == 2
        assert told[-1][1] == "row 0-1.2"


def test_where_the_first_sending_fails_the_second_is_given_up_and_the_row_tried_again() -> None:
    faults = iter([ServerError("500", status_code=500)])
    provider = FaultyProvider(
        lambda *_: next(faults, None), failure_latency_s=5.0, latency_s=one_after_the_other(60.0)
    )
    [outcome], told, _ = dispatched(provider)
    assert isinstance(outcome, Response)
    assert Counter(kind for kind, _, _ in told) == {"sent": 3, "missed": 2}


def test_no_more_than_the_share_is_sent_twice() -> None:
    provider = FaultyProvider(lambda *_: None, latency_s=5.0)
    _, _, dispatcher = dispatched(provider, 200, most=0.05, max_concurrency=999)
    assert dispatcher.account().hedged == 10
    assert len(provider.sent) == 210


def test_where_all_slots_are_taken_a_second_sending_waits_for_one() -> None:
    latency_s = one_after_the_other(60.0, 4.0, 4.0)
    provider = FaultyProvider(lambda *_: None, latency_s=latency_s)
    _, _, dispatcher = dispatched(provider, 3, max_concurrency=3)
    assert provider.sent_at_s == [0.0, 0.0, 0.0, 4.0]
    assert provider.answered_at_s[-1] == pytest.approx(4.1)
    assert dispatcher.account().hedges_won == 1


def test_by_default_late_is_what_is_later_than_nearly_all() -> None:
    hedging = Hedging("p95", most=0.05)
    for _ in range(LEAST_ANSWERS - 1):
        hedging.answered(2.0)
    assert hedging.delay_s == math.inf
    hedging.answered(2.0)
    assert hedging.delay_s == 2.0
    for number in range(1000):
        hedging.answered(number / 100)
    assert 9.0 <= hedging.delay_s <= 10.0


def test_quick_answers_are_no_reason_to_send_the_others_twice() -> None:
    hedging = Hedging("p95", most=0.05)
    for _ in range(LEAST_ANSWERS):
        hedging.answered(0.01)
    assert hedging.delay_s == 1.0


def test_a_run_that_stops_takes_in_the_answer_and_leaves_no_second_sending() -> None:
    log = RecordingLog()

    async def scenario() -> None:
        provider = FaultyProvider(lambda *_: None, latency_s=one_after_the_other(10.0, 60.0))
        async with dispatcher_of(provider, log) as dispatcher:
            asking = asyncio.create_task(dispatcher.dispatch(row(0)))
            await asyncio.sleep(3)
            dispatcher.stop()
            assert dispatcher.admission.is_sending(asking)
            assert isinstance(await asking, Response)
            with pytest.raises(Unsent):
                await dispatcher.dispatch(row(1))
            assert len(asyncio.all_tasks()) == 1

    run_in_virtual_time(scenario())
    assert log.told[-1] == ("missed", "row 0-1.2", "hedged")


@pytest.mark.parametrize("at_s", [1.0, 2.05, 3.0])
def test_a_cancelled_request_takes_its_second_sending_with_it(at_s: float) -> None:
    async def scenario() -> None:
        provider = FaultyProvider(lambda *_: None, latency_s=60.0)
        async with dispatcher_of(provider, RecordingLog()) as dispatcher:
            asking = asyncio.create_task(dispatcher.dispatch(row(0)))
            await asyncio.sleep(at_s)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert dispatcher.admission.in_flight == 0
            assert len(asyncio.all_tasks()) == 1

    run_in_virtual_time(scenario())
