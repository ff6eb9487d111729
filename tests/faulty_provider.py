"""A provider that fails as a test says, for whoever dispatches to it on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from weave_async.errors import ProviderError
from weave_async.records import (
    Chunk,
    Failure,
    Message,
    Request,
    Response,
    SamplingParams,
    Usage,
)

ANSWER = Response("fine", "stop", usage=Usage(input_tokens=5, output_tokens=1))
Fault = Callable[[Request, float], ProviderError | None]


class FaultyProvider:
    """Asks ``fault`` of each request, and the time, whether it fails and how.

    ``latency_s`` may depend on the time, too. ``listing_fault`` is asked when its models are to be
    listed.
    """

    def __init__(
        self,
        fault: Fault,
        *,
        listing_fault: Callable[[float], Exception | None] = lambda now_s: None,
        latency_s: float | Callable[[float], float] = 0.5,
        failure_latency_s: float = 0.05,
    ) -> None:
        self._fault = fault
        self._listing_fault = listing_fault
        self._latency_s = latency_s if callable(latency_s) else lambda now_s: latency_s
        self._failure_latency_s = failure_latency_s
        self.sent_at_s: list[float] = []
        self.sent: list[Request] = []
        self.answered_at_s: list[float] = []

    async def __aenter__(self) -> FaultyProvider:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def complete(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        self.sent_at_s.append(loop.time())
        self.sent.append(request)
        error = self._fault(request, loop.time())
        await asyncio.sleep(self._failure_latency_s if error else self._latency_s(loop.time()))
        if error is not None:
            raise error
        self.answered_at_s.append(loop.time())
        return ANSWER

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield

    async def models(self) -> Sequence[str]:
        if (error := self._listing_fault(asyncio.get_running_loop().time())) is not None:
            raise error
        return []

    def num_sent_between(self, since_s: float, until_s: float) -> int:
        return sum(since_s <= at_s < until_s for at_s in self.sent_at_s)


class NoLog:
    def sent(self, request: Request, *, tokens: int) -> None:
        pass

    def missed(self, request: Request, failure: Failure) -> None:
        pass


def row(number: int) -> Request:
    return Request(f"row {number}", "m", (Message("user", "hi"),), SamplingParams(max_tokens=9))
