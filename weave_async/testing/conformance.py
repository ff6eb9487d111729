"""What every provider promises, as checks that any implementation can call.

A provider that speaks HTTP is tested against scripted endpoints, in six lines::

    @pytest.mark.parametrize("check", checks(), ids=str)
    def test_mine_conforms(check):
        with over_http(MyProvider) as provider_for:
            asyncio.run(check(provider_for))

A provider in this process brings a function from a kind of endpoint to a new provider, and names
the kinds it can make: ``checks("healthy", "slow")``. A check that fails raises ``AssertionError``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

from weave_async.errors import ConnectError, DeadlineError, ProviderError
from weave_async.interfaces import Provider
from weave_async.records import Chunk, Endpoint, Message, Request, Response, SamplingParams

from .scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    echo,
    error_reply,
)

EndpointKind = Literal["healthy", "slow", "failing", "rejecting", "unreachable"]
"""Answers; takes longer than its deadline; breaks down; refuses the key; is not there."""

ProviderFactory = Callable[[EndpointKind], Provider]

SLOW_DEADLINE_S = 0.3
"""A provider for the "slow" kind has this deadline, and an endpoint that takes far longer."""
NUM_CONCURRENT = 16
REQUEST = Request(
    request_id="conformance",
    model="scripted-model",
    messages=(Message("user", "Say something short."),),
    params=SamplingParams(max_tokens=64, temperature=0.0, seed=7),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: the kind of endpoint it needs, and the coroutine that tries it."""

    kind: EndpointKind
    attempt: Callable[[Provider, Request], Awaitable[None]]

    def __str__(self) -> str:
        return f"{self.kind}-{self.attempt.__name__}"

    async def __call__(self, provider_for: ProviderFactory, request: Request = REQUEST) -> None:
        await self.attempt(provider_for(self.kind), request)


def checks(*kinds: EndpointKind) -> list[Check]:
    """The checks for these kinds of endpoint; for all kinds when none is named."""
    return [check for check in CHECKS if check.kind in (kinds or get_args(EndpointKind))]


@contextmanager
def over_http(provider_class: type[Provider]) -> Iterator[ProviderFactory]:
    """Providers of ``provider_class``, each in front of a scripted endpoint of its kind."""
    with ExitStack() as stack:

        def provider_for(kind: EndpointKind) -> Provider:
            if kind == "unreachable":
                base_url = _closed_address()
            else:
                base_url = stack.enter_context(ScriptedEndpoint(_SCRIPTS[kind])).base_url
            deadline_s = SLOW_DEADLINE_S if kind == "slow" else 20.0
            endpoint = Endpoint(
                kind, "conformance", REQUEST.model, base_url=base_url, deadline_s=deadline_s
            )
            return provider_class(endpoint)

        yield provider_for


async def complete_is_typed(provider: Provider, request: Request) -> None:
    async with provider:
        response = await provider.complete(request)
    _require_typed(response)


async def stream_adds_up_to_complete(provider: Provider, request: Request) -> None:
    async with provider:
        response = await provider.complete(request)
        chunks = [chunk async for chunk in provider.stream(request)]
    _require("".join(c.text for c in chunks) == response.text, "streamed text differs")
    _require("".join(c.reasoning for c in chunks) == response.reasoning, "reasoning differs")
    reasons = [chunk.finish_reason for chunk in chunks if chunk.finish_reason]
    _require(reasons == [response.finish_reason], f"finish reasons of the stream: {reasons}")
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    _require(not usages or usages[-1] == response.usage, "streamed usage differs")


async def requests_run_concurrently(provider: Provider, request: Request) -> None:
    async with provider, asyncio.TaskGroup() as group:
        tasks = [group.create_task(provider.complete(request)) for _ in range(NUM_CONCURRENT)]
    for task in tasks:
        _require_typed(task.result())


async def models_are_names(provider: Provider, request: Request) -> None:
    async with provider:
        names = await provider.models()
    _require(bool(names), "models() is empty")
    _require(all(isinstance(name, str) and name for name in names), f"models() gave {names!r}")


async def can_be_entered_again(provider: Provider, request: Request) -> None:
    for _ in range(2):
        async with provider as entered:
            _require_typed(await entered.complete(request))


async def survives_cancellation(provider: Provider, request: Request) -> None:
    """Waves of requests are cancelled at different moments; then it must serve as if new."""
    async with provider:
        for wave in range(10):
            tasks = [asyncio.create_task(provider.complete(request)) for _ in range(8)]
            await asyncio.sleep(0.001 * wave)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            strange = [o for o in outcomes if not isinstance(o, Response | asyncio.CancelledError)]
            _require(not strange, f"a cancelled request ended as {strange[:1]!r}")
        await _serve_many(provider, request)


async def survives_abandoned_streams(provider: Provider, request: Request) -> None:
    """Closing a stream after its first chunk gives up the request and nothing else."""
    async with provider:
        for _ in range(NUM_CONCURRENT):
            stream = provider.stream(request)
            async for _chunk in stream:
                break
            await _close(stream)
        await _serve_many(provider, request)


async def deadline_ends_a_slow_answer(provider: Provider, request: Request) -> None:
    loop = asyncio.get_running_loop()
    async with provider:
        started = loop.time()
        for error in await _errors(provider, request):
            _require(isinstance(error, DeadlineError), f"a late answer ended as {error!r}")
            _require(error.may_be_billed, "a late answer may still be billed")
    _require(loop.time() - started < 10 * SLOW_DEADLINE_S, "the deadline came late")


async def cancelling_a_slow_answer_is_prompt(provider: Provider, request: Request) -> None:
    async with provider:
        task = asyncio.create_task(provider.complete(request))
        await asyncio.sleep(SLOW_DEADLINE_S / 3)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=SLOW_DEADLINE_S * 2 / 3)
    _require(bool(done) and task.cancelled(), "cancelling did not end the request")


async def breakdown_is_retryable(provider: Provider, request: Request) -> None:
    async with provider:
        errors = await _errors(provider, request)
    for error in errors:
        _require(error.retryable, f"a breakdown of the server is not retryable: {error!r}")
        _require(not error.stops_endpoint, f"a breakdown stops the endpoint: {error!r}")
        _require(error.may_be_billed, f"a breakdown may be billed all the same: {error!r}")
        _require(bool(str(error)), "the error says nothing")


async def rejection_stops_the_endpoint(provider: Provider, request: Request) -> None:
    async with provider:
        errors = await _errors(provider, request)
    for error in errors:
        _require(error.stops_endpoint, f"a refused key does not stop the endpoint: {error!r}")
        _require(not error.retryable, f"a refused key is retryable: {error!r}")
        _require(not error.may_be_billed, f"a refused request is never billed: {error!r}")


async def absence_is_a_connect_error(provider: Provider, request: Request) -> None:
    async with provider:
        for error in [*await _errors(provider, request), await _error_of(provider.models())]:
            _require(isinstance(error, ConnectError), f"no server ended as {error!r}")
            _require(not error.may_be_billed, f"what was not sent is not billed: {error!r}")


CHECKS: tuple[Check, ...] = (
    Check("healthy", complete_is_typed),
    Check("healthy", stream_adds_up_to_complete),
    Check("healthy", requests_run_concurrently),
    Check("healthy", models_are_names),
    Check("healthy", can_be_entered_again),
    Check("healthy", survives_cancellation),
    Check("healthy", survives_abandoned_streams),
    Check("slow", deadline_ends_a_slow_answer),
    Check("slow", cancelling_a_slow_answer_is_prompt),
    Check("failing", breakdown_is_retryable),
    Check("rejecting", rejection_stops_the_endpoint),
    Check("unreachable", absence_is_a_connect_error),
)


def _answer_late(request: RecordedRequest) -> Reply:
    return Reply(head_delay_s=100 * SLOW_DEADLINE_S)


def _break_down(request: RecordedRequest) -> Reply:
    return error_reply(500)


def _reject(request: RecordedRequest) -> Reply:
    return error_reply(401, "invalid key", "invalid_api_key")


_SCRIPTS: dict[EndpointKind, Callable[[RecordedRequest], Reply]] = {
    "healthy": echo,
    "slow": _answer_late,
    "failing": _break_down,
    "rejecting": _reject,
}


def _closed_address() -> str:
    """An address where nobody listens: it was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


async def _serve_many(provider: Provider, request: Request) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks = [group.create_task(provider.complete(request)) for _ in range(20)]
    for task in tasks:
        _require_typed(task.result())


async def _errors(provider: Provider, request: Request) -> list[ProviderError]:
    return [
        await _error_of(provider.complete(request)),
        await _error_of(_consume(provider.stream(request))),
    ]


async def _error_of(attempt: Awaitable[object]) -> ProviderError:
    """The error that ``attempt`` ends with; another exception passes through, and so shows."""
    try:
        outcome = await attempt
    except ProviderError as error:
        return error
    raise AssertionError(f"expected a ProviderError, got {outcome!r}")


async def _consume(stream: AsyncIterator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in stream]


async def _close(stream: AsyncIterator[Chunk]) -> None:
    close = getattr(stream, "aclose", None)
    _require(close is not None, "stream() must return an iterator that can be closed: aclose()")
    await close()  # type: ignore[misc]


def _require_typed(response: Response) -> None:
    _require(isinstance(response, Response), f"complete() gave {response!r}")
    _require(isinstance(response.text, str), f"text is {response.text!r}")
    response.text.encode()  # a lone surrogate must not leave a provider
    counts = (response.usage.input_tokens, response.usage.output_tokens)
    _require(
        all(count is None or (isinstance(count, int) and count >= 0) for count in counts),
        f"usage is {response.usage!r}",
    )
    _require(bool(response.finish_reason), "finish_reason is empty")


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise AssertionError(complaint)
