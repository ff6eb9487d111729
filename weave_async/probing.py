"""Tiny questions to one endpoint, each of which ends in time and as it should.

The dispatcher asks for a run, and waits, repeats and counts. A probe asks once, to see what comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Self, TypeVar

from weave_async.errors import (
    DeadlineError,
    EndpointGoneError,
    FieldRefusedError,
    RequestRefusedError,
    WeaveError,
)
from weave_async.interfaces import Inspectable, Provider
from weave_async.records import (
    Endpoint,
    EndpointFacts,
    Message,
    Request,
    Response,
    SamplingParams,
)

T = TypeVar("T")

ANSWER_WITHIN_S = 30.0
TOKENS_PER_REQUEST = 32
MOST_LESSONS = 8
"""Fields that an endpoint may refuse, one after the other, before it is taken to refuse all."""

_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """What was seen of a stream. ``ttft_s`` is ``None`` where no text came at all."""

    ttft_s: float | None
    has_ended: bool
    has_usage: bool


class Probe:
    """Asks through one provider; a context manager. Whatever goes wrong is a ``WeaveError``.

    ``learned`` tells of the fields that the endpoint has refused on the way, ``num_requests`` of
    what was sent that may cost something.
    """

    def __init__(self, endpoint: Endpoint, provider: Provider) -> None:
        self.learned: list[str] = []
        self.num_requests = 0
        self._provider = provider
        self._ready_within_s = max(ANSWER_WITHIN_S, endpoint.timeout_s)

    async def __aenter__(self) -> Self:
        """Make the provider ready: a server of our own may take its time to load a model."""
        async with _bounded(self._ready_within_s):
            await self._provider.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with suppress(WeaveError):  # all has been seen: no reason to say that it is not there
            async with _bounded():
                await self._provider.__aexit__(None, None, None)

    async def facts(self) -> EndpointFacts:
        """What it says of itself, for free: at the least, which models it has."""
        async with _bounded():
            if isinstance(self._provider, Inspectable):
                return await self._provider.inspect()
            return EndpointFacts(dict.fromkeys(await self._provider.models()))

    async def answer(self, model: str) -> Response:
        request = _request("whole", model, "Say OK.")
        return await self._taught(lambda: self._provider.complete(request))

    async def answer_in_json(self, model: str) -> Response:
        request = _request("json", model, 'Reply with this JSON: {"ok": true}', schema=_SCHEMA)
        return await self._taught(lambda: self._provider.complete(request))

    async def streamed_answer(self, model: str) -> StreamedAnswer:
        request = _request("streamed", model, "Say OK.")
        return await self._taught(lambda: self._streamed(request))

    async def _streamed(self, request: Request) -> StreamedAnswer:
        started_s = perf_counter()
        ttft_s: float | None = None
        has_ended = has_usage = False
        async with aclosing(self._provider.stream(request)) as chunks:
            async for chunk in chunks:
                if ttft_s is None and (chunk.text or chunk.reasoning):
                    ttft_s = perf_counter() - started_s
                has_ended = has_ended or chunk.finish_reason is not None
                if chunk.usage is not None:
                    has_usage = chunk.usage.output_tokens is not None
        return StreamedAnswer(ttft_s, has_ended, has_usage)

    async def _taught(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and again for each field that the endpoint has refused and the provider learned."""
        for _ in range(MOST_LESSONS):
            self.num_requests += 1
            try:
                async with _bounded():
                    return await ask()
            except FieldRefusedError as error:
                self.learned.append(str(error))
        raise RequestRefusedError(f"refuses one field after another: {'; '.join(self.learned)}")


@asynccontextmanager
async def _bounded(within_s: float | None = None) -> AsyncIterator[None]:
    """Whatever a provider does in here, it ends in time, and as a ``WeaveError`` if badly."""
    within_s = within_s or ANSWER_WITHIN_S
    try:
        async with asyncio.timeout(within_s):
            yield
    except WeaveError:
        raise
    except TimeoutError as error:
        raise DeadlineError(f"no answer within {within_s:g} s") from error
    except Exception as error:  # a provider of somebody else's may raise anything
        raise EndpointGoneError(f"the provider raised {type(error).__name__}: {error}") from error


def _request(
    name: str, model: str, question: str, *, schema: Mapping[str, Any] | None = None
) -> Request:
    return Request(
        request_id=f"probe-{name}",
        model=model,
        messages=(Message("user", question),),
        params=SamplingParams(max_tokens=TOKENS_PER_REQUEST),
        attempt_id=f"probe-{name}",
        schema=schema,
    )
