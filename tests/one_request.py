"""One question to an OpenAI-compatible provider, for the tests of what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import ProviderError
from weave_async.records import Chunk, Endpoint, Message, Request, Response, SamplingParams
from weave_async.testing.scripted_endpoint import Script, ScriptedEndpoint

T = TypeVar("T")

KEY = "sk-canary-0123456789abcdef"
REQUEST = Request("r1", "scripted-model", (Message("user", "hello"),), SamplingParams(seed=1))


def endpoint_at(base_url: str | None, **fields: Any) -> Endpoint:
    return Endpoint("test", "openai_compatible", "scripted-model", base_url, **fields)


def use(base_url: str, act: Callable[[OpenAICompatibleProvider], Awaitable[T]], **fields: Any) -> T:
    """Run ``act`` with an entered provider."""

    async def scenario() -> T:
        async with OpenAICompatibleProvider(endpoint_at(base_url, **fields)) as provider:
            return await act(provider)

    return asyncio.run(scenario())


def complete(script: Script, **fields: Any) -> Response:
    with ScriptedEndpoint(script) as server:
        return use(server.base_url, lambda provider: provider.complete(REQUEST), **fields)


def stream(script: Script, **fields: Any) -> list[Chunk]:
    with ScriptedEndpoint(script) as server:
        return use(server.base_url, lambda provider: collect(provider.stream(REQUEST)), **fields)


async def collect(chunks: AsyncIterator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in chunks]


def error_of(ask: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask()
    return caught.value


BOTH = pytest.mark.parametrize("ask", [complete, stream])
