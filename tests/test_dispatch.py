"""Dispatch: what is tried again, what ends a row, what ends a run. On virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from weave_async.blame import code_of
from weave_async.dispatch import Dispatcher
from weave_async.errors import (
    AuthenticationError,
    BadResponseError,
    BudgetError,
    ConnectError,
    ContextLengthError,
    DeadlineError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RecipeError,
    RequestRefusedError,
    ServerError,
    Unsent,
)
from weave_async.flow.budget import Budget, Cost
from weave_async.flow.retry import Backoff
from weave_async.guard import GuardedProvider
from weave_async.pricing import Price
from weave_async.records import (
    Chunk,
    Endpoint,
    Failure,
    Message,
    Request,
    Response,
    SamplingParams,
    Usage,
)
from weave_async.testing.virtual_time import run_in_virtual_time

REQUEST = Request("id", "m", (Message("user", "x" * 400),), SamplingParams(max_tokens=10))
ANSWER = Response("fine", "stop", usage=Usage(input_tokens=50, output_tokens=1))


class FakeProvider:
    """Answers from a list; an error in it is raised, and after the list all is well."""

    def __init__(
        self, script: Iterable[ProviderError | Response] = (), models: Any = ("m",)
    ) -> None:
        self._script = iter(script)
        self.models_now = models
        self.sent_at_s: list[float] = []
        self.sent: list[Request] = []
        self.num_entered = 0

    async def __aenter__(self) -> FakeProvider:
        self.num_entered += 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.num_entered -= 1

    async def complete(self, request: Request) -> Response:
        self.sent_at_s.append(asyncio.get_running_loop().time())
        self.sent.append(request)
        await asyncio.sleep(0.01)
        outcome = next(self._script, ANSWER)
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield

    async def models(self) -> Sequence[str]:
        if isinstance(self.models_now, ProviderError):
            raise self.models_now
        return list(self.models_now)


class RecordingLog:
    """Keeps what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []

    def sent(self, request: Request, *, tokens: int) -> None:
        self.told.append(("sent", request.attempt_id, tokens))

    def missed(self, request: Request, failure: Failure) -> None:
        self.told.append(("missed", request.attempt_id, failure))


def dispatching(
    provider: FakeProvider,
    scenario: Callable[[Dispatcher], Awaitable[Any]],
    *,
    attempts: int = 4,
    retries: Counter[str] | None = None,
    log: RecordingLog | None = None,
    endpoint: Endpoint | None = None,
    **changes: Any,
) -> Any:
    async def run() -> Any:
        counted = Counter[str]() if retries is None else retries
        async with Dispatcher(
            endpoint or Endpoint("e", "fake", "m"),
            provider,
            backoff=Backoff(attempts=attempts),
            on_retry=lambda code: counted.update([code]),
            log=log or RecordingLog(),
            **{"max_concurrency": 8, "epoch": 3, **changes},
        ) as dispatcher:
            return await scenario(dispatcher)

    return run_in_virtual_time(run())


async def one(dispatcher: Dispatcher) -> Response | Failure:
    return await dispatcher.dispatch(REQUEST)


def test_the_provider_is_entered_by_the_first_request_and_left_at_the_end() -> None:
    provider = FakeProvider()

    async def scenario(dispatcher: Dispatcher) -> None:
        assert provider.num_entered == 0
        await asyncio.gather(*(one(dispatcher) for _ in range(5)))
        assert provider.num_entered == 1

    dispatching(provider, scenario)
    assert provider.num_entered == 0


def test_a_transient_error_is_tried_again_and_counted() -> None:
    retries: Counter[str] = Counter()
    provider = FakeProvider([ServerError("500"), ConnectError("reset")])
    assert dispatching(provider, one, retries=retries) == ANSWER
    assert len(provider.sent_at_s) == 3
    assert retries == {"server": 1, "connect": 1}


def test_the_last_failure_is_known_with_its_time_whether_or_not_it_was_mended() -> None:
    async def scenario(dispatcher: Dispatcher) -> tuple[Failure | None, Failure | None, bool]:
        before = dispatcher.last_failure
        await one(dispatcher)
        is_past = 0 < dispatcher.last_failed_at_s < asyncio.get_running_loop().time()
        return before, dispatcher.last_failure, is_past

    provider = FakeProvider([ServerError("first"), ServerError("second", status_code=503)])
    before, after, is_past = dispatching(provider, scenario)
    assert before is None
    assert after is not None
    assert (after.error, after.message, after.status_code) == ("server", "second", 503)
    assert is_past


def test_a_row_fails_when_its_attempts_are_spent() -> None:
    provider = FakeProvider([ServerError(f"no {i}", status_code=503) for i in range(9)])
    outcome = dispatching(provider, one, attempts=4)
    assert outcome == Failure(
        "server", "no 3", 4, status_code=503, retryable=True, may_be_billed=True
    )


@pytest.mark.parametrize("error", [RequestRefusedError("400"), ContextLengthError("too long")])
def test_a_refused_row_is_sent_once(error: ProviderError) -> None:
    provider = FakeProvider([error])
    outcome = dispatching(provider, one)
    assert isinstance(outcome, Failure)
    assert (outcome.error, outcome.attempts) == (code_of(error), 1)
    assert len(provider.sent_at_s) == 1


@pytest.mark.parametrize(
    "error", [AuthenticationError("401"), QuotaError("402"), ModelNotFoundError("404")]
)
def test_what_would_refuse_everybody_is_raised(error: ProviderError) -> None:
    provider = FakeProvider([error])
    with pytest.raises(type(error)):
        dispatching(provider, one)
    assert len(provider.sent_at_s) == 1


def test_retry_after_overrides_the_backoff() -> None:
    provider = FakeProvider([ServerError("503", retry_after_s=42.0)])
    dispatching(provider, one)
    first, second = provider.sent_at_s
    assert second - first == pytest.approx(42.01, abs=0.01)


def test_a_429_pauses_everybody_and_costs_no_attempt() -> None:
    retries: Counter[str] = Counter()
    provider = FakeProvider([RateLimitError("429", retry_after_s=30.0)] * 3)

    async def scenario(dispatcher: Dispatcher) -> list[Response | Failure]:
        return await asyncio.gather(*(one(dispatcher) for _ in range(3)))

    assert dispatching(provider, scenario, attempts=1, retries=retries) == [ANSWER] * 3
    assert retries == {"rate_limit": 3}
    assert all(at_s >= 30.0 for at_s in provider.sent_at_s[3:])


def test_an_endpoint_that_only_says_429_is_left_after_an_hour() -> None:
    provider = FakeProvider([RateLimitError("429", retry_after_s=600.0)] * 99)
    with pytest.raises(RateLimitError):
        dispatching(provider, one)
    assert len(provider.sent_at_s) == 6


def test_an_endpoint_that_fails_every_row_is_left() -> None:
    provider = FakeProvider([RequestRefusedError("400")] * 99)

    async def scenario(dispatcher: Dispatcher) -> int:
        for count in range(99):
            try:
                await one(dispatcher)
            except RequestRefusedError:
                return count
        return 99

    assert dispatching(provider, scenario) == 20


def test_a_success_between_failures_keeps_the_endpoint() -> None:
    provider = FakeProvider([*[RequestRefusedError("400")] * 20, ANSWER] * 3)

    async def scenario(dispatcher: Dispatcher) -> int:
        outcomes = [await one(dispatcher) for _ in range(63)]
        return sum(isinstance(outcome, Failure) for outcome in outcomes)

    assert dispatching(provider, scenario) == 60


@pytest.mark.parametrize("error", [ConnectError("refused"), AuthenticationError("401")])
def test_nothing_is_sent_to_an_endpoint_that_is_not_there(error: ProviderError) -> None:
    provider = FakeProvider(models=error)
    with pytest.raises(type(error)):
        dispatching(provider, one)
    assert provider.sent_at_s == []
    assert provider.num_entered == 0


def test_an_endpoint_that_lists_no_models_is_used_all_the_same() -> None:
    assert dispatching(FakeProvider(models=ServerError("500")), one) == ANSWER


@pytest.mark.parametrize(
    ("at_first", "then", "is_alive"),
    [
        (["m"], ["m"], True),
        (["m"], RateLimitError("429"), True),
        (["m"], ConnectError("refused"), False),
        (["m"], DeadlineError("late"), False),
        (["m"], ServerError("500", status_code=500), False),
        (ServerError("500", status_code=500), ServerError("500", status_code=500), None),
        (RequestRefusedError("404"), RequestRefusedError("404"), None),
        (RequestRefusedError("404"), ConnectError("refused"), False),
    ],
)
def test_the_list_of_models_tells_whether_an_endpoint_is_alive(
    at_first: Any, then: Any, is_alive: bool | None
) -> None:
    async def scenario() -> bool | None:
        provider = FakeProvider(models=at_first)
        guarded = GuardedProvider(Endpoint("e", "fake", "m"), provider)
        await guarded.wait_until_ready()
        provider.models_now = then
        return await guarded.is_alive()

    assert run_in_virtual_time(scenario()) is is_alive


def test_a_list_of_models_that_never_comes_means_that_nobody_is_there() -> None:
    class Hanging(FakeProvider):
        async def models(self) -> Sequence[str]:
            await asyncio.sleep(9999)
            return []

    async def scenario() -> bool | None:
        return await GuardedProvider(Endpoint("e", "fake", "m"), Hanging()).is_alive()

    assert run_in_virtual_time(scenario()) is False


def test_a_list_of_models_that_never_comes_keeps_no_run_from_beginning() -> None:
    class Hanging(FakeProvider):
        async def models(self) -> Sequence[str]:
            await asyncio.sleep(9999)
            return []

    async def scenario() -> float:
        guarded = GuardedProvider(Endpoint("e", "fake", "m"), Hanging())
        await guarded.wait_until_ready()
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(scenario()) <= 30.1


def test_a_cancellation_that_a_list_of_models_lets_through_ends_no_worker() -> None:
    class Cancelling(FakeProvider):
        async def models(self) -> Sequence[str]:
            raise asyncio.CancelledError

    async def scenario() -> bool | None:
        guarded = GuardedProvider(Endpoint("e", "fake", "m"), Cancelling())
        await guarded.wait_until_ready()
        return await guarded.is_alive()

    assert run_in_virtual_time(scenario()) is None


def test_a_cancellation_that_is_meant_for_us_ends_the_question_whether_it_is_alive() -> None:
    class Hanging(FakeProvider):
        async def models(self) -> Sequence[str]:
            await asyncio.sleep(9999)
            return []

    async def scenario() -> None:
        guarded = GuardedProvider(Endpoint("e", "fake", "m"), Hanging())
        asking = asyncio.create_task(guarded.is_alive())
        await asyncio.sleep(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run_in_virtual_time(scenario())


def test_an_unlisted_model_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    dispatching(FakeProvider(models=("a", "b")), one)
    assert "does not list the model 'm'; it lists a, b" in caplog.text


def test_a_servers_names_of_models_are_shown_short_and_without_our_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endpoint = Endpoint("e", "fake", "m", api_key=SecretStr("sk-canary"))
    provider = FakeProvider(models=["y" * 500, "sk-canary", "a/sk-canary/b"])
    dispatching(provider, one, endpoint=endpoint)
    (told,) = caplog.messages
    assert told.endswith(f"it lists {'y' * 100}, ***, a/***/b")


def test_nothing_is_sent_again_once_the_run_stops() -> None:
    provider = FakeProvider([RateLimitError("429", retry_after_s=3000.0)] * 99)

    async def scenario(dispatcher: Dispatcher) -> None:
        asyncio.get_running_loop().call_later(1.0, dispatcher.stop)
        await one(dispatcher)

    with pytest.raises(Unsent):
        dispatching(provider, scenario)
    assert len(provider.sent_at_s) == 1


def test_a_transient_failure_while_stopping_leaves_the_row_pending() -> None:
    provider = FakeProvider([ServerError("500")] * 99)

    async def scenario(dispatcher: Dispatcher) -> None:
        asyncio.get_running_loop().call_later(0.005, dispatcher.stop)
        await one(dispatcher)

    with pytest.raises(Unsent):
        dispatching(provider, scenario)
    assert len(provider.sent_at_s) == 1


def test_a_wait_of_a_day_is_not_waited_for() -> None:
    provider = FakeProvider([RateLimitError("429", retry_after_s=86_000.0)] * 9)
    with pytest.raises(RateLimitError):
        dispatching(provider, one)
    assert len(provider.sent_at_s) == 1
    provider = FakeProvider([ServerError("503", retry_after_s=86_000.0)])
    assert dispatching(provider, one) == ANSWER
    assert provider.sent_at_s[1] - provider.sent_at_s[0] < 61


def test_many_bad_rows_in_a_row_do_not_condemn_an_endpoint_that_has_answered() -> None:
    provider = FakeProvider([ANSWER, *[RequestRefusedError("400")] * 50])

    async def scenario(dispatcher: Dispatcher) -> int:
        outcomes = [await one(dispatcher) for _ in range(51)]
        return sum(isinstance(outcome, Failure) for outcome in outcomes)

    assert dispatching(provider, scenario) == 50


def test_a_bug_in_a_provider_costs_the_row_and_is_named() -> None:
    class Buggy(FakeProvider):
        async def complete(self, request: Request) -> Response:
            raise KeyError("oops")

    class Silent(FakeProvider):
        async def complete(self, request: Request) -> Response:
            return None  # type: ignore[return-value]

    for provider, name in ((Buggy(), "KeyError"), (Silent(), "not a Response")):
        outcome = dispatching(provider, one)
        assert isinstance(outcome, Failure)
        assert name in outcome.message


# --- the log of attempts -------------------------------------------------------------------------


def test_every_sending_has_a_name_of_its_own_and_is_logged_before_it_goes() -> None:
    log = RecordingLog()
    provider = FakeProvider([ServerError("500", status_code=500), RateLimitError("429")])
    dispatching(provider, one, log=log)
    worst = 400 + 8 + 10  # a token holds a byte at least; the message's frame; max_tokens
    names = [name for what, name, _ in log.told]
    assert [what for what, _, _ in log.told] == ["sent", "missed", "sent", "missed", "sent"]
    assert names == ["id-3.1", "id-3.1", "id-3.2", "id-3.2", "id-3.3"]
    assert [told for what, _, told in log.told if what == "sent"] == [worst] * 3
    assert log.told[1][2] == Failure(
        "server", "500", 1, status_code=500, retryable=True, may_be_billed=True
    )
    assert [request.attempt_id for request in provider.sent] == ["id-3.1", "id-3.2", "id-3.3"]
    assert all(request.request_id == "id" for request in provider.sent)


class WritingLog(RecordingLog):
    """Writes what it was told at the end of the turn, as the journal does."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.on_written: Callable[[], None] = lambda: None

    def sent(self, request: Request, *, tokens: int) -> None:
        super().sent(request, tokens=tokens)
        asyncio.get_running_loop().call_soon(self._write, request.attempt_id)

    def _write(self, attempt_id: str) -> None:
        self.written.append(attempt_id)
        self.on_written()


def test_a_call_is_written_before_it_goes_out() -> None:
    log = WritingLog()

    class Watching(FakeProvider):
        async def complete(self, request: Request) -> Response:
            assert request.attempt_id in log.written
            return await super().complete(request)

    provider = Watching([ServerError("500", status_code=500)])
    assert dispatching(provider, one, log=log) == ANSWER
    assert len(log.written) == 2


def test_a_call_that_cannot_be_written_does_not_go_out_and_costs_nothing() -> None:
    log, provider, budget = WritingLog(), FakeProvider(), Budget(max_tokens=10_000)

    async def scenario(dispatcher: Dispatcher) -> None:
        log.on_written = dispatcher.stop  # as the engine does when a disk is full
        with pytest.raises(Unsent):
            await one(dispatcher)
        assert dispatcher.admission.in_flight == 0

    dispatching(provider, scenario, log=log, budget=budget)
    assert provider.sent == []
    assert (budget.spent, budget.reserved) == (Cost(), Cost())
    (_, missed) = log.told
    assert missed[:2] == ("missed", "id-3.1")
    assert (missed[2].error, missed[2].may_be_billed) == ("unsent", False)


def test_an_attempt_that_is_cancelled_is_logged_as_sent_and_not_as_missed() -> None:
    log = RecordingLog()

    async def scenario(dispatcher: Dispatcher) -> None:
        task = asyncio.create_task(one(dispatcher))
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert dispatcher.admission.in_flight == 0

    dispatching(FakeProvider(), scenario, log=log)
    assert [what for what, _, _ in log.told] == ["sent"]


def test_a_message_of_any_length_is_kept_short() -> None:
    outcome = dispatching(FakeProvider([RequestRefusedError("x" * 99_999)]), one)
    assert len(outcome.message) == 2000


# --- the budget ----------------------------------------------------------------------------------

PRICE = Price(input_usd=1e-6, output_usd=1e-5)


def test_what_the_endpoint_counted_is_what_is_spent() -> None:
    budget = Budget(max_tokens=10_000, max_usd=1.0)
    dispatching(FakeProvider(), one, budget=budget, price=PRICE)
    assert budget.spent == Cost(51, pytest.approx(50e-6 + 1e-5))
    assert budget.reserved == Cost(0, 0.0)


def test_usage_that_is_not_reported_counts_as_the_worst_case() -> None:
    budget = Budget(max_tokens=10_000)
    dispatching(FakeProvider([Response("x", "stop")]), one, budget=budget)
    assert budget.spent.tokens == 418


@pytest.mark.parametrize(
    ("text", "usage", "tokens"),
    [
        ("x", Usage(0, 0), 418),
        ("x", Usage(0, 7), 418),
        ("x", Usage(50, 0), 418),
        ("", Usage(50, 0), 50),
        ("x", Usage(2**52, 1), 418),
        ("x", Usage(50, 2**52), 418),
        ("x", Usage(4000, 500), 4500),
    ],
)
def test_usage_that_cannot_be_counts_as_the_worst_case(
    text: str, usage: Usage, tokens: int
) -> None:
    budget = Budget(max_tokens=10_000)
    dispatching(FakeProvider([Response(text, "stop", usage=usage)]), one, budget=budget)
    assert budget.spent.tokens == tokens


def test_usage_that_cannot_be_is_journalled_as_unknown_and_warned_about_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def two(dispatcher: Dispatcher) -> list[Response | Failure]:
        return [await one(dispatcher), await one(dispatcher)]

    zeros = Response("x", "stop", usage=Usage(0, 0))
    outcomes = dispatching(FakeProvider([zeros, zeros]), two)
    assert [outcome.usage for outcome in outcomes] == [Usage(), Usage()]
    assert [message[:40] for message in caplog.messages] == [
        "e reports 0 tokens in and 0 out, which c"
    ]


@pytest.mark.parametrize(
    ("error", "tokens"),
    [
        (ConnectError("reset", may_be_billed=True), 418),
        (ConnectError("refused"), 0),
        (DeadlineError("no answer"), 418),
        (BadResponseError("cut short"), 418),
        (ServerError("500", status_code=500), 418),
        (ServerError("503", status_code=503, may_be_billed=False), 0),
        (RateLimitError("429", status_code=429), 0),
    ],
)
def test_an_attempt_that_may_have_been_billed_stays_spent(
    error: ProviderError, tokens: int
) -> None:
    budget = Budget(max_tokens=10_000)
    dispatching(FakeProvider([error]), one, budget=budget)
    assert budget.spent.tokens == tokens + 51


def test_a_spent_budget_ends_the_run_and_no_more_is_sent_than_it_held() -> None:
    budget = Budget(max_tokens=2000)
    provider = FakeProvider([Response("x", "stop")] * 99)

    async def scenario(dispatcher: Dispatcher) -> list[Any]:
        calls = (one(dispatcher) for _ in range(20))
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = dispatching(provider, scenario, budget=budget)
    assert Counter(type(outcome) for outcome in outcomes) == {Response: 4, BudgetError: 16}
    assert len(provider.sent_at_s) == 4


def test_a_budget_in_money_without_a_price_fails_before_anything_is_sent() -> None:
    provider = FakeProvider()
    with pytest.raises(RecipeError, match="price"):
        dispatching(provider, one, budget=Budget(max_usd=1.0))
    assert provider.num_entered == 0


def test_a_budget_needs_a_bound_on_the_answer() -> None:
    unbounded = replace(REQUEST, params=SamplingParams())
    with pytest.raises(RecipeError, match="max_tokens"):
        dispatching(FakeProvider(), lambda d: d.dispatch(unbounded), budget=Budget(max_tokens=1000))


def test_a_row_that_no_minute_has_the_tokens_for_fails_unsent() -> None:
    provider = FakeProvider()
    endpoint = Endpoint("e", "fake", "m", tokens_per_minute=100)
    outcome = dispatching(provider, one, endpoint=endpoint)
    assert outcome.error == "request_too_large"
    assert (outcome.attempts, outcome.retryable) == (0, False)
    assert provider.sent_at_s == []


def test_tenacity_is_not_entered_where_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def entered(**_: Any) -> None:
        raise AssertionError("tenacity was entered, though nothing had failed")

    monkeypatch.setattr("weave_async.flow.retry.AsyncRetrying", entered)
    assert dispatching(FakeProvider(), one) == ANSWER


def test_a_request_that_is_refused_again_and_again_lets_the_others_pass() -> None:
    large = replace(REQUEST, request_id="large")

    class NeverForLarge(FakeProvider):
        async def complete(self, request: Request) -> Response:
            if request.request_id == "large":
                raise RateLimitError("too much at once")
            return await super().complete(request)

    async def scenario(dispatcher: Dispatcher) -> list[Response | Failure]:
        stuck = asyncio.create_task(dispatcher.dispatch(large))
        await asyncio.sleep(0.01)
        async with asyncio.timeout(300):
            outcomes = [await one(dispatcher) for _ in range(20)]
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        return outcomes

    assert dispatching(NeverForLarge(), scenario, max_concurrency=1) == [ANSWER] * 20
