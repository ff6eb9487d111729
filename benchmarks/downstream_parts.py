"""A part of the recipes of ``downstream.py``: an endpoint that says what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar, Self

from weave_async.records import Chunk, Endpoint, Request, Response


class EchoProvider:
    """Answers with what was asked: noise then makes variants of the seeds themselves."""

    default_max_concurrency: ClassVar[int] = 16
    default_model: ClassVar[str | None] = "echo"
    environment_fallback: ClassVar[str | None] = None

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def complete(self, request: Request) -> Response:
        return Response(request.messages[-1].content, "stop")

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        yield Chunk(text=request.messages[-1].content, finish_reason="stop")

    async def models(self) -> Sequence[str]:
        return ["echo"]
