"""The simulated provider: it keeps a provider's promises, and depends on the request alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from providers.simulated import SimulatedProvider
from weave_async.errors import RateLimitError, RecipeError, ServerError
from weave_async.records import Endpoint, Message, Request, Response, SamplingParams
from weave_async.testing.conformance import SLOW_DEADLINE_S, Check, EndpointKind, checks
from weave_async.testing.virtual_time import run_in_virtual_time


def simulated(deadline_s: float = 600.0, **options: Any) -> SimulatedProvider:
    return SimulatedProvider(
        Endpoint("sim", "simulated", "m", deadline_s=deadline_s, options=options)
    )


def request(number: int, **params: Any) -> Request:
    asked = (Message("user", f"Question {number} about transfers and refunds"),)
    return Request(f"request-{number}", "m", asked, SamplingParams(**params))


def of_kind(kind: EndpointKind) -> SimulatedProvider:
    return {
        "healthy": simulated(),
        "slow": simulated(deadline_s=SLOW_DEADLINE_S, latency_s=30.0),
        "failing": simulated(error_rate=1.0, errors_in_a_row=1000),
    }[kind]


@pytest.mark.parametrize("check", checks("healthy", "slow", "failing"), ids=str)
def test_it_conforms(check: Check) -> None:
    asyncio.run(check(of_kind))


async def outcomes(provider: SimulatedProvider, numbers: range) -> list[Response | str]:
    async def one(number: int) -> Response | str:
        try:
            return await provider.complete(request(number))
        except ServerError as error:
            return str(error)

    return await asyncio.gather(*(one(number) for number in numbers))


def test_an_answer_depends_on_the_request_and_on_nothing_else() -> None:
    options = {"latency_s": 0.1, "latency_spread": 1.0, "error_rate": 0.3, "empty_rate": 0.2}
    forwards = run_in_virtual_time(outcomes(simulated(**options), range(200)))
    backwards = run_in_virtual_time(outcomes(simulated(**options), range(199, -1, -1)))
    assert forwards == backwards[::-1]


def test_shares_of_errors_and_empty_answers_are_as_asked() -> None:
    found = run_in_virtual_time(outcomes(simulated(error_rate=0.3, empty_rate=0.5), range(2000)))
    kinds = Counter("error" if isinstance(o, str) else bool(o.text) for o in found)
    assert kinds["error"] / 2000 == pytest.approx(0.3, abs=0.04)
    assert kinds[False] / 1400 == pytest.approx(0.5, abs=0.05)


def test_an_error_goes_away_after_as_many_tries_as_asked() -> None:
    provider = simulated(error_rate=1.0, errors_in_a_row=3)

    async def tries() -> list[Response | str]:
        return [(await outcomes(provider, range(1)))[0] for _ in range(4)]

    found = run_in_virtual_time(tries())
    assert [isinstance(outcome, Response) for outcome in found] == [False, False, False, True]


def test_latency_takes_its_time() -> None:
    async def timed() -> float:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        await simulated(latency_s=2.0).complete(request(1))
        return loop.time() - started_s

    assert run_in_virtual_time(timed()) == pytest.approx(2.0, abs=0.01)


def test_above_the_limit_it_says_429_and_when_to_come_back() -> None:
    async def burst() -> list[float | None]:
        provider = simulated(rpm=120)
        waits: list[float | None] = []
        for number in range(4):
            try:
                await provider.complete(request(number))
            except RateLimitError as error:
                waits.append(error.retry_after_s)
        await asyncio.sleep(1.0)
        await provider.complete(request(9))
        return waits

    waits = run_in_virtual_time(burst())
    assert len(waits) == 2
    assert all(wait_s is not None and 0 < wait_s <= 1.0 for wait_s in waits)


def test_max_tokens_cuts_the_answer_off() -> None:
    response = run_in_virtual_time(simulated().complete(request(1, max_tokens=10)))
    assert response.finish_reason == "length"
    assert response.usage.output_tokens is not None
    assert response.usage.output_tokens <= 10


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"latency": 1}, "unknown option 'latency'"), ({"latency_s": "long"}, "latency_s")],
)
def test_a_bad_option_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        simulated(**options)
