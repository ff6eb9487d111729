"""A mix in which an endpoint is down: who answers its rows, and who finds out that it is back."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from faulty_provider import FaultyProvider, NoLog
from weave_async.asking.failover import Failover
from weave_async.dispatch import Dispatcher
from weave_async.errors import (
    AuthenticationError,
    BadResponseError,
    ConnectError,
    DeadlineError,
    ModelNotFoundError,
    OutageError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
    Unsent,
    WeaveError,
)
from weave_async.flow.retry import Backoff
from weave_async.records import (
    Endpoint,
    Message,
    Prompt,
    Request,
    Sample,
    SamplingParams,
)
from weave_async.seeding import fraction_for
from weave_async.testing.virtual_time import run_in_virtual_time

CONCURRENCY = 16
QUOTA = QuotaError("insufficient_quota", status_code=429)


def fails(
    error: ProviderError | None, since_s: float = 0.0, until_s: float = float("inf")
) -> Callable[[Request, float], ProviderError | None]:
    return lambda request, now_s: error if since_s <= now_s < until_s else None


def healthy(latency_s: float = 0.5) -> FaultyProvider:
    return FaultyProvider(fails(None), latency_s=latency_s)


def down(
    error: ProviderError, since_s: float = 0.0, until_s: float = float("inf")
) -> FaultyProvider:
    """Completions fail, and so does the list of models, apart from the first look at it."""

    def listing_fault(now_s: float) -> ProviderError | None:
        return error if max(since_s, 0.001) <= now_s < until_s else None

    return FaultyProvider(fails(error, since_s, until_s), listing_fault=listing_fault)


def sample_of(number: int, endpoints: list[str]) -> Sample:
    name = f"{number:016x}"
    messages = (Message("user", "hi"),)
    planned = endpoints[int(fraction_for(7, name, 0, "mix") * len(endpoints))]
    request = Request(name, f"model of {planned}", messages, SamplingParams(max_tokens=9))
    return Sample(number, Prompt(name, 0, messages, {}, "x:1"), request, planned, number)


@dataclass
class Ended:
    """What became of the rows of one run."""

    samples: list[Sample] = field(default_factory=list)
    error: WeaveError | None = None

    @property
    def num_answered(self) -> int:
        return sum(sample.response is not None for sample in self.samples)

    @property
    def num_failed(self) -> int:
        return sum(sample.failure is not None for sample in self.samples)

    def answered_by(self, planned: str | None = None) -> Counter[str]:
        by_ordinal = (s for s in self.samples if planned in (None, s.request.model, planned))
        return Counter(sample.endpoint for sample in by_ordinal)


def run_mix(
    providers: Mapping[str, FaultyProvider],
    num_rows: int,
    *,
    weights: Mapping[str, float] | None = None,
    on_second: Callable[[dict[str, Dispatcher]], None] | None = None,
) -> Ended:
    """All rows through as many workers as may be in flight; stops at the first that raises."""

    async def scenario() -> Ended:
        ended = Ended()
        dispatchers = {name: dispatcher_of(name, each) for name, each in providers.items()}
        failover = Failover(dispatchers, weights or dict.fromkeys(providers, 1.0))
        rows = iter(range(num_rows))

        async def work() -> None:
            for number in rows:
                try:
                    ended.samples += (
                        await failover.ask([sample_of(number, list(providers))])
                    ).samples
                except Unsent:
                    return
                except WeaveError as error:
                    ended.error = ended.error or error
                    for dispatcher in dispatchers.values():
                        dispatcher.stop()
                    for worker in workers:
                        if not any(d.admission.is_sending(worker) for d in dispatchers.values()):
                            worker.cancel()
                    return

        workers = [asyncio.create_task(work()) for _ in range(CONCURRENCY * len(providers))]
        await asyncio.gather(*workers, return_exceptions=True)
        for dispatcher in dispatchers.values():
            assert dispatcher.admission.in_flight == 0
            assert dispatcher.admission.line.num_waiting == 0
        await asyncio.sleep(3600)
        assert failover._watch_handle is None, "it watches on when all is over"
        return ended

    random.seed(0)  # for the jitter of waits
    return run_in_virtual_time(scenario())


def dispatcher_of(name: str, provider: FaultyProvider) -> Dispatcher:
    return Dispatcher(
        Endpoint(name, "fake", f"model of {name}"),
        provider,  # type: ignore[arg-type]
        max_concurrency=CONCURRENCY,
        backoff=Backoff(),
        on_retry=lambda code: None,
        log=NoLog(),
        epoch=0,
    )


# --- left for good -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [QUOTA, AuthenticationError("401"), ModelNotFoundError("404")], ids=str
)
def test_the_rows_of_an_endpoint_that_refuses_everybody_go_to_the_other(
    error: ProviderError, caplog: pytest.LogCaptureFixture
) -> None:
    refusing, other = FaultyProvider(fails(error, since_s=10)), healthy()
    with caplog.at_level(logging.WARNING):
        ended = run_mix({"refusing": refusing, "other": other}, 2_000)
    assert ended.error is None
    assert ended.num_answered == 2_000
    assert refusing.num_sent_between(10, 9999) <= CONCURRENCY + 3
    assert caplog.messages == [
        f"refusing is left for the rest of this run: {error}. Its rows go to other"
    ]


def test_the_answer_elsewhere_is_told_with_its_endpoint_its_model_and_the_planned_id() -> None:
    ended = run_mix({"refusing": FaultyProvider(fails(QUOTA)), "other": healthy()}, 50)
    for sample in ended.samples:
        assert sample.endpoint == "other"
        assert sample.request.model == "model of other"
        assert sample.request.request_id == f"{sample.ordinal:016x}"


def test_attempts_of_a_row_are_numbered_on_wherever_it_is_sent() -> None:
    refusing, other = FaultyProvider(fails(QUOTA)), healthy()
    run_mix({"refusing": refusing, "other": other}, 200)
    attempts = [request.attempt_id for request in refusing.sent + other.sent]
    assert len(set(attempts)) == len(attempts)
    moved = {request.request_id for request in refusing.sent}
    assert moved
    assert {f"{name}-0.2" for name in moved} <= {request.attempt_id for request in other.sent}


def test_an_endpoint_that_is_not_there_from_the_start_is_left() -> None:
    absent = FaultyProvider(fails(None), listing_fault=lambda now_s: ConnectError("refused"))
    ended = run_mix({"absent": absent, "other": healthy()}, 100)
    assert (ended.error, ended.num_answered, absent.sent_at_s) == (None, 100, [])


def test_an_endpoint_that_is_there_later_than_the_run_gets_its_rows_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    late = FaultyProvider(
        fails(None), listing_fault=lambda now_s: ConnectError("refused") if now_s < 50 else None
    )
    ended = run_mix({"late": late, "other": healthy()}, 8000)
    assert (ended.error, ended.num_answered, ended.num_failed) == (None, 8000, 0)
    assert 2000 < ended.answered_by()["late"] < 4000
    told = [record.message for record in caplog.records if "late is" in record.message]
    assert len(told) == 2, "that it was not there, and that it is"


def test_an_endpoint_that_is_never_there_costs_the_others_next_to_nothing() -> None:
    absent = FaultyProvider(fails(None), listing_fault=lambda now_s: ConnectError("refused"))
    ended = run_mix({"absent": absent, "other": healthy()}, 8000)
    assert ended.answered_by() == {"other": 8000}
    assert ended.error is None


def test_an_endpoint_that_refuses_the_first_rows_all_alike_is_left() -> None:
    refusing = FaultyProvider(fails(RequestRefusedError("400", status_code=400)))
    ended = run_mix({"refusing": refusing, "other": healthy()}, 1_000)
    assert ended.error is None
    assert ended.num_failed == 20
    assert len(refusing.sent_at_s) <= 20 + CONCURRENCY + 3


def test_one_after_the_other_may_be_left_and_the_last_ends_the_run() -> None:
    providers = {
        "first": FaultyProvider(fails(AuthenticationError("401 first"), since_s=5)),
        "second": FaultyProvider(fails(QUOTA, since_s=10)),
        "third": FaultyProvider(fails(AuthenticationError("401 third"), since_s=15)),
    }
    ended = run_mix(providers, 5_000)
    assert str(ended.error) == "401 third"
    assert ended.num_failed == 0
    assert 0 < ended.num_answered < 5_000
    for provider, since_s in zip(providers.values(), (5, 10, 15), strict=True):
        assert provider.num_sent_between(since_s, 9999) <= CONCURRENCY + 3


def test_of_all_that_ended_a_run_an_outage_is_told_first_as_it_mends_itself() -> None:
    providers = {
        "gone": down(ConnectError("refused"), 20),
        "refusing": FaultyProvider(fails(QUOTA)),
    }
    ended = run_mix(providers, 5_000)
    assert isinstance(ended.error, OutageError)
    assert ended.error.exit_code == 75


def test_a_row_that_is_refused_for_itself_fails_where_it_was_sent() -> None:
    def fault(request: Request, now_s: float) -> ProviderError | None:
        is_bad = request.request_id.endswith("7")
        return RequestRefusedError("400", status_code=400) if is_bad else None

    providers = {"a": FaultyProvider(fault), "b": FaultyProvider(fault)}
    ended = run_mix(providers, 320)
    assert ended.num_failed == 20
    assert sum(len(provider.sent) for provider in providers.values()) == 320


# --- down, and back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [ConnectError("refused"), ServerError("503", status_code=503), ServerError("500")],
    ids=str,
)
def test_an_endpoint_that_was_down_for_a_minute_gets_rows_again(error: ProviderError) -> None:
    unsteady, other = down(error, 20, 80), healthy()
    ended = run_mix({"unsteady": unsteady, "other": other}, 12_000)
    assert (ended.error, ended.num_answered) == (None, 12_000)
    assert unsteady.num_sent_between(20, 80) <= CONCURRENCY + 20
    answers_before = sum(at_s < 20 for at_s in unsteady.answered_at_s)
    answers_later = sum(130 <= at_s < 150 for at_s in unsteady.answered_at_s)
    assert answers_later >= 0.9 * answers_before


def test_rows_that_wait_for_an_endpoint_leave_its_line_when_it_is_down() -> None:
    gone, other = down(ConnectError("refused"), 10), healthy()
    run_mix({"gone": gone, "other": other}, 4_000)
    full_rate_per_s = CONCURRENCY / 0.5
    assert sum(20 <= at_s < 40 for at_s in other.answered_at_s) >= 0.95 * 20 * full_rate_per_s


def test_where_all_are_down_rows_wait_and_go_to_whoever_is_back_first() -> None:
    providers = {
        "first back": down(ConnectError("refused"), 10, 100),
        "second back": down(ConnectError("refused"), 12, 400),
    }
    ended = run_mix(providers, 8_000)
    assert (ended.error, ended.num_answered) == (None, 8_000)
    first, second = providers.values()
    assert sum(200 <= at_s < 220 for at_s in first.answered_at_s) >= 0.95 * 20 * CONCURRENCY / 0.5
    assert second.num_sent_between(12, 400) <= CONCURRENCY + 3 * 400 / 30 + 10


def test_where_all_stay_down_the_run_ends_and_its_rows_are_pending() -> None:
    gone = {name: down(ConnectError("refused"), 10) for name in ("a", "b")}
    ended = run_mix(gone, 8_000)
    assert isinstance(ended.error, OutageError)
    assert ended.num_failed == 0


def test_an_endpoint_that_asks_to_wait_for_hours_is_done_without() -> None:
    tomorrow = RateLimitError("429", status_code=429, retry_after_s=7200.0)
    soon = RateLimitError("429", status_code=429, retry_after_s=1800.0)
    for error in (tomorrow, soon):
        limited, other = FaultyProvider(fails(error, 10, 1700)), healthy()
        ended = run_mix({"limited": limited, "other": other}, 4_000)
        assert (ended.error, ended.num_answered) == (None, 4_000)
        assert limited.num_sent_between(10, 1700) <= CONCURRENCY
        assert other.answered_at_s[-1] < 200


def test_a_pause_for_limits_by_the_minute_moves_no_row() -> None:
    is_limited = iter([True])

    def fault(request: Request, now_s: float) -> ProviderError | None:
        if now_s > 10 and next(is_limited, False):
            return RateLimitError("429", status_code=429, retry_after_s=60.0)
        return None

    ended = run_mix({"limited": FaultyProvider(fault), "other": healthy()}, 2_000)
    assert all(s.request.model == f"model of {s.endpoint}" for s in ended.samples)
    planned = {n: sample_of(n, ["limited", "other"]).endpoint for n in range(2_000)}
    assert all(planned[sample.ordinal] == sample.endpoint for sample in ended.samples)


def test_rows_that_break_any_server_end_as_failed_and_nothing_else_does() -> None:
    def fault(request: Request, now_s: float) -> ProviderError | None:
        is_poison = int(request.request_id, 16) % 100 >= 98
        return ServerError("500", status_code=500) if is_poison else None

    ended = run_mix({name: FaultyProvider(fault) for name in ("a", "b")}, 1_000)
    assert ended.error is None
    assert {s.ordinal % 100 for s in ended.samples if s.failure is not None} == {98, 99}
    assert (ended.num_failed, ended.num_answered) == (20, 980)


# --- one of three is bad (N9) --------------------------------------------------------------------

MINUTES = 4


@pytest.mark.parametrize(
    "bad",
    [
        down(ServerError("503", status_code=503), 60),
        FaultyProvider(fails(ServerError("500", status_code=500), 60)),
        FaultyProvider(fails(ConnectError("refused"), 60), failure_latency_s=0.001),
        FaultyProvider(fails(BadResponseError("not JSON"), 60)),
        FaultyProvider(fails(None), latency_s=lambda now_s: 0.5 if now_s < 60 else 10.0),
    ],
    ids=["503", "500 while models are listed", "refused", "wrong answers", "20 times as slow"],
)
def test_one_bad_endpoint_of_three_costs_next_to_nothing(bad: FaultyProvider) -> None:
    until_s = 60.0 * (MINUTES + 1)
    good = {"a": healthy(), "c": healthy()}
    rate_per_s = 2 * CONCURRENCY / 0.5
    num_rows = int(60 * 1.5 * rate_per_s + 60 * MINUTES * rate_per_s)
    ended = run_mix({"a": good["a"], "bad": bad, "c": good["c"]}, num_rows)
    assert (ended.error, ended.num_failed) == (None, 0)
    answered = sum(
        60 <= at_s < until_s for provider in good.values() for at_s in provider.answered_at_s
    )
    assert answered >= 0.95 * 60 * MINUTES * rate_per_s
    for minute in range(2, MINUTES):
        assert bad.num_sent_between(60 * minute, 60 * (minute + 1)) <= 12


def test_an_endpoint_that_was_slow_for_a_while_gets_its_rows_again() -> None:
    sluggish = FaultyProvider(
        fails(None), latency_s=lambda now_s: 10.0 if 60 <= now_s < 180 else 0.5
    )
    ended = run_mix({"sluggish": sluggish, "other": healthy()}, 20_000)
    assert (ended.error, ended.num_answered) == (None, 20_000)
    assert sluggish.num_sent_between(75, 180) <= 12
    answers_before = sum(40 <= at_s < 60 for at_s in sluggish.answered_at_s)
    answers_later = sum(250 <= at_s < 270 for at_s in sluggish.answered_at_s)
    assert answers_later >= 0.8 * answers_before


def test_rows_do_not_wait_for_requests_that_hang() -> None:
    late = DeadlineError("no answer in 120 s")
    hanging = FaultyProvider(fails(late, 60, 300), failure_latency_s=120.0)
    other = healthy()
    ended = run_mix({"hanging": hanging, "other": other}, 16_000)
    assert (ended.error, ended.num_answered) == (None, 16_000)
    assert sum(60 <= at_s < 160 for at_s in other.answered_at_s) >= 0.9 * 100 * CONCURRENCY / 0.5
    assert sum(at_s >= 330 for at_s in hanging.answered_at_s) > 0


def test_a_slow_endpoint_is_better_than_none() -> None:
    sluggish = FaultyProvider(fails(None), latency_s=lambda now_s: 0.5 if now_s < 60 else 10.0)
    gone = down(ConnectError("refused"), 60, 1000)
    ended = run_mix({"sluggish": sluggish, "gone": gone}, 4_500)
    assert (ended.error, ended.num_answered) == (None, 4_500)
    assert sluggish.num_sent_between(200, 300) >= 0.8 * 10 * CONCURRENCY


def test_a_model_that_is_slower_than_another_keeps_its_rows() -> None:
    ended = run_mix({"slow": healthy(20.0), "quick": healthy(0.2)}, 1_000)
    planned = {n: sample_of(n, ["slow", "quick"]).endpoint for n in range(1_000)}
    assert all(planned[sample.ordinal] == sample.endpoint for sample in ended.samples)


# --- determinism ---------------------------------------------------------------------------------


def test_who_stands_in_depends_on_the_sample_and_not_on_timing() -> None:
    def stand_ins(latency_s: float) -> dict[int, str]:
        providers = {name: healthy(latency_s) for name in ("b", "c", "d")}
        refusing = FaultyProvider(fails(QUOTA), failure_latency_s=latency_s)
        ended = run_mix({"refusing": refusing, **providers}, 400)
        return {sample.ordinal: sample.endpoint for sample in ended.samples}

    assert stand_ins(0.5) == stand_ins(2.0)


def test_rows_are_taken_over_by_weight() -> None:
    refusing = FaultyProvider(fails(QUOTA))
    weights = {"refusing": 1.0, "light": 1.0, "heavy": 3.0}
    providers = {"refusing": refusing, "light": healthy(), "heavy": healthy()}
    ended = run_mix(providers, 3_000, weights=weights)
    taken_over = Counter(
        sample.endpoint
        for sample in ended.samples
        if sample_of(sample.ordinal, list(providers)).endpoint == "refusing"
    )
    assert 0.7 < taken_over["heavy"] / taken_over.total() < 0.8
