"""The local model server as a provider: starts one as a child, or attaches to one that runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import ClassVar, Self

from weave_async.errors import ConnectError, EndpointGoneError
from weave_async.records import Chunk, Endpoint, EndpointFacts, Request, Response

from ..openai_compatible import OpenAICompatibleProvider
from ..options import options_of
from .child import ServerProcess
from .memory import GB, resident_bytes
from .pool import LocalOptions, WantedServer, pool_of_this_loop

DEFAULT_MODEL = "smollm2-135m"


class LocalProvider:
    """A model on this machine. With a ``base_url`` it attaches to the server there instead."""

    default_max_concurrency: ClassVar[int] = 64
    """Where our server is fastest. Each of them takes a share of the KV cache, which is memory."""
    default_model: ClassVar[str | None] = DEFAULT_MODEL
    environment_fallback: ClassVar[str | None] = None

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._options = options_of(endpoint, LocalOptions)
        self._stack = AsyncExitStack()
        self._server: ServerProcess | None = None
        self._wire: OpenAICompatibleProvider | None = None

    def __repr__(self) -> str:
        return f"<LocalProvider {self._endpoint.model} {self._server or 'not started'}>"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            base_url = self._endpoint.base_url
            if base_url is None:
                server = pool_of_this_loop().server(self._wanted_server())
                self._server = await stack.enter_async_context(server)
                base_url = self._server.base_url
            wire = OpenAICompatibleProvider(self._reached_at(base_url))
            self._wire = await stack.enter_async_context(wire)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._wire = None
        await self._stack.aclose()

    async def complete(self, request: Request) -> Response:
        with self._noticing_a_dead_server():
            return await self._entered_wire().complete(self._as_served(request))

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        with self._noticing_a_dead_server():
            async with contextlib.aclosing(
                self._entered_wire().stream(self._as_served(request))
            ) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def models(self) -> Sequence[str]:
        with self._noticing_a_dead_server():
            return [self._as_asked(name) for name in await self._entered_wire().models()]

    async def inspect(self) -> EndpointFacts:
        with self._noticing_a_dead_server():
            facts = await self._entered_wire().inspect()
        if self._server is None:
            return facts
        models = {self._as_asked(name): size for name, size in facts.models.items()}
        return replace(facts, models=models, runs_on=_surroundings_of(self._server))

    def _reached_at(self, base_url: str) -> Endpoint:
        """The endpoint for the wire. A server that we started wants no key, and gets none."""
        api_key = None if self._server else self._endpoint.api_key
        return replace(self._endpoint, base_url=base_url, api_key=api_key, options={})

    def _as_served(self, request: Request) -> Request:
        """A server that we started calls a folder or a file by its last name."""
        if self._server is None:
            return request
        return replace(request, model=self._server.served_model)

    def _as_asked(self, served_model: str) -> str:
        if self._server is None or served_model != self._server.served_model:
            return served_model
        return self._endpoint.model

    def _entered_wire(self) -> OpenAICompatibleProvider:
        if self._wire is None:
            raise RuntimeError(f"{self!r} is not open: use it inside `async with`")
        return self._wire

    @contextlib.contextmanager
    def _noticing_a_dead_server(self) -> Iterator[None]:
        """A refused connection to a child that has died will be refused for ever.

        It is not started again: what ended it once, mostly a lack of memory, would do so again, and
        the same command goes on where the run was.
        """
        if self._server is not None:
            self._server.require_alive()
        try:
            yield
        except ConnectError as error:
            if self._server is not None and self._server.has_exited:
                raise EndpointGoneError(self._server.last_words()) from error
            raise

    def _wanted_server(self) -> WantedServer:
        concurrency = self._endpoint.max_concurrency or self.default_max_concurrency
        return WantedServer(self._endpoint.model, self._options, concurrency)


def _surroundings_of(server: ServerProcess) -> str:
    """``cpu, bfloat16, 2 threads, 0.9 GB of memory``, as far as it is known."""
    said = server.loaded
    parts = [str(said[name]) for name in ("device", "dtype") if name in said]
    if "threads" in said:
        parts.append(f"{said['threads']} threads")
    if server.pid is not None and (held := resident_bytes(server.pid)) is not None:
        parts.append(f"{held / GB:.1f} GB of memory")
    return ", ".join(parts)
