"""The local model server as a provider: starts one as a child, or attaches to one that runs.

The child lives in a session of its own, so that Ctrl-C in the terminal is ours to handle, and holds
the other end of a pipe, so that it ends when this process does, even by SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import orjson

from weave_async.errors import ConnectError, EndpointGoneError, RecipeError
from weave_async.records import Chunk, Endpoint, Request, Response

from ..openai_compatible import OpenAICompatibleProvider
from ..options import options_of

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "smollm2-135m"
_SECRETS = re.compile(r"WEAVE_ASYNC_.*|(?!HF_|HUGGING_FACE_).*_(?:KEY|TOKEN|SECRET|PASSWORD)")
"""What the child is not told: a key is for the endpoint it was set for, and on loopback, behind a
port that nobody else knows, it needs none. Those of the Hugging Face Hub let it load a model."""
LONGEST_START_S = 600.0
STILL_LOADING_EVERY_S = 10.0
LONGEST_STOP_S = 5.0
_STDERR_LINES_KEPT = 20


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Options of the server that is started; see ``weave-async serve --help``."""

    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    max_context: int | None = None
    kv_tokens: int | None = None


class LocalProvider:
    """A model on this machine. With a ``base_url`` it attaches to the server there instead."""

    default_max_concurrency: ClassVar[int] = 32
    default_model: ClassVar[str | None] = DEFAULT_MODEL
    environment_fallback: ClassVar[str | None] = None

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._options = options_of(endpoint, LocalOptions)
        self._stack = AsyncExitStack()
        self._server: ServerProcess | None = None
        self._served_model: str | None = None
        self._wire: OpenAICompatibleProvider | None = None

    def __repr__(self) -> str:
        return f"<LocalProvider {self._endpoint.model} {self._server or 'not started'}>"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            base_url = self._endpoint.base_url
            if base_url is None:
                self._server = ServerProcess(self._arguments())
                await stack.enter_async_context(self._server)
                base_url, self._served_model = await self._server.wait_until_ready()
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
        if self._served_model is not None:
            return [self._endpoint.model]
        with self._noticing_a_dead_server():
            return await self._entered_wire().models()

    def _reached_at(self, base_url: str) -> Endpoint:
        """The endpoint for the wire. A server that we started wants no key, and gets none."""
        api_key = None if self._server else self._endpoint.api_key
        return replace(self._endpoint, base_url=base_url, api_key=api_key, options={})

    def _as_served(self, request: Request) -> Request:
        """A server that we started calls a folder or a file by its last name."""
        if self._served_model is None:
            return request
        return replace(request, model=self._served_model)

    def _entered_wire(self) -> OpenAICompatibleProvider:
        if self._wire is None:
            raise RuntimeError(f"{self!r} is not open: use it inside `async with`")
        return self._wire

    @contextlib.contextmanager
    def _noticing_a_dead_server(self) -> Iterator[None]:
        """A refused connection to a child that has died will be refused for ever."""
        try:
            yield
        except ConnectError as error:
            if self._server is not None and self._server.has_exited:
                raise EndpointGoneError(self._server.last_words()) from error
            raise

    def _arguments(self) -> list[str]:
        concurrency = self._endpoint.max_concurrency or self.default_max_concurrency
        chosen = {
            "model": self._endpoint.model,
            "max_concurrency": concurrency,
            **{field.name: getattr(self._options, field.name) for field in fields(LocalOptions)},
        }
        return [
            f"--{name.replace('_', '-')}={value}"
            for name, value in chosen.items()
            if value is not None
        ]


class ServerProcess:
    """The child process: started on a free port, watched while it loads, and ended with us."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._process: Process | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES_KEPT)
        self._reading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        process = self._process
        if process is None:
            return "<ServerProcess not started>"
        state = "running" if process.returncode is None else f"exited {process.returncode}"
        return f"<ServerProcess {process.pid} {state}>"

    async def __aenter__(self) -> Self:
        # -P: a folder `providers` in the working directory must not hide the installed one.
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "providers.local.server"),
            *(*self._arguments, "--port=0", "--json-events", "--exit-on-stdin-close"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            env={n: value for n, value in os.environ.items() if not _SECRETS.fullmatch(n)},
        )
        self._reading = asyncio.create_task(self._read_stderr(), name="local server stderr")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._process is not None
        assert self._reading is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(LONGEST_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._reading

    @property
    def has_exited(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    async def wait_until_ready(self) -> tuple[str, str]:
        """Base URL and model name, once it is loaded. Says at INFO how far it is meanwhile."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        while loop.time() - started_s < LONGEST_START_S:
            try:
                async with asyncio.timeout(STILL_LOADING_EVERY_S):
                    event = await self._next_event()
            except TimeoutError:
                logger.info("local server: still loading (%.0f s)", loop.time() - started_s)
                continue
            if event["event"] == "ready":
                logger.info("local server: ready after %.1f s", loop.time() - started_s)
                return f"{event['url']}/v1", event["model"]
            if event["event"] == "error":
                raise _START_ERRORS.get(event["exit_code"], ConnectError)(
                    f"the local server cannot start: {event['message']}"
                )
            logger.info("local server: %s", _described(event))
        raise ConnectError(f"the local server was not ready within {LONGEST_START_S:.0f} s")

    def last_words(self) -> str:
        """Why the process ended, as far as it said."""
        code = None if self._process is None else self._process.returncode
        said = "\n  ".join(self._stderr) or "it said nothing"
        return f"the local server has ended with exit code {code}:\n  {said}"

    async def _next_event(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._reading is not None
        line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            await self._reading
            raise ConnectError(self.last_words())
        event: dict[str, Any] = orjson.loads(line)
        return event

    async def _read_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._stderr.append(line.decode(errors="replace").rstrip()[:500])


_START_ERRORS: dict[int, type[RecipeError]] = {78: RecipeError}


def _described(event: dict[str, Any]) -> str:
    if event["event"] == "loading":
        return f"loading {event['model']}"
    if event["event"] == "loaded":
        return f"loaded on {event['device']} as {event['dtype']}, {event['threads']} threads"
    return str(event["event"])
