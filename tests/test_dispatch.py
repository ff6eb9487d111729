"""Dispatch: what is tried again, what ends a row, what ends a run. On virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import pytest

from weave_async.dispatch import Dispatcher, TokenEstimate, Unsent, code_of
from weave_async.errors import (
    AuthenticationError,
    ConnectError,
    ContextLengthError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
)
from weave_async.flow.retry import Backoff
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
        self._models = models
        self.sent_at_s: list[float] = []
        self.num_entered = 0

    async def __aenter__(self) -> FakeProvider:
        self.num_entered += 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.num_entered -= 1

    async def complete(self, request: Request) -> Response:
        self.sent_at_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.01)
        outcome = next(self._script, ANSWER)
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield

    async def models(self) -> Sequence[str]:
        if isinstance(self._models, ProviderError):
            raise self._models
        return list(self._models)


def dispatching(
    provider: FakeProvider,
    scenario: Callable[[Dispatcher], Awaitable[Any]],
    *,
    attempts: int = 4,
    retries: Counter[str] | None = None,
) -> Any:
    async def run() -> Any:
        counted = Counter[str]() if retries is None else retries
        async with Dispatcher(
            Endpoint("e", "fake", "m"),
            provider,
            max_concurrency=8,
            backoff=Backoff(attempts=attempts),
            on_retry=lambda code: counted.update([code]),
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


def test_a_row_fails_when_its_attempts_are_spent() -> None:
    provider = FakeProvider([ServerError(f"no {i}", status_code=503) for i in range(9)])
    outcome = dispatching(provider, one, attempts=4)
    assert outcome == Failure("server", "no 3", attempts=4, status_code=503, retryable=True)


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


def test_an_unlisted_model_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    dispatching(FakeProvider(models=("a", "b")), one)
    assert "does not list the model 'm'; it lists a, b" in caplog.text


def test_the_token_estimate_learns_from_usage() -> None:
    estimate = TokenEstimate()
    assert estimate.tokens(REQUEST) == 1 + 100 + 10
    for _ in range(50):
        estimate.learn(REQUEST, ANSWER)
    assert estimate.tokens(REQUEST) == pytest.approx(1 + 50 + 10, abs=2)


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


def test_absurd_usage_does_not_stall_the_token_limit() -> None:
    estimate = TokenEstimate()
    absurd = Response("x", "stop", usage=Usage(input_tokens=10**9))
    for _ in range(50):
        estimate.learn(REQUEST, absurd)
    assert estimate.tokens(REQUEST) <= 1 + 2 * 400 + 10
