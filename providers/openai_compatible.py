"""Any endpoint that speaks the OpenAI HTTP API: vLLM, llama.cpp, Ollama, OpenAI and their kin.

Plain http goes over a transport of our own, https and whatever takes a proxy over pyreqwest; see
``transport``. Neither follows redirects, inflates bodies or retries. Proxies come from the
environment (``HTTPS_PROXY``, ``NO_PROXY`` and kin) when the provider is entered, and are never used
for an endpoint on this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from time import perf_counter
from typing import Any, ClassVar, Self

from pyreqwest.http import Url

from weave_async.errors import ProviderError, RecipeError, ResponseTooLargeError
from weave_async.records import Chunk, Endpoint, Request, Response

from .endpoint import (
    MAX_BODY_BYTES,
    OPENAI_BASE_URL,
    address_of,
    attempt_id_of,
    error_reader_of,
    faults_of,
    secret_of,
)
from .transport.http1 import Http1Transport
from .transport.interface import OpenReply, Reply, Transport
from .transport.proxies import goes_through_proxy
from .transport.reqwest import ReqwestTransport
from .wire.rate_limits import rate_limits
from .wire.request import PATHS, request_body
from .wire.response import parse_models, parse_response
from .wire.stream import ChunkReader, as_chunk

DRAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Options:
    """``extra_body`` is merged into every request's JSON, over what we would send ourselves."""

    extra_body: Mapping[str, Any] = field(default_factory=dict)


class OpenAICompatibleProvider:
    """One attempt per call over HTTP/1.1; enter it once, then call it from many tasks."""

    default_max_concurrency: ClassVar[int] = 32
    default_model: ClassVar[str | None] = None
    environment_fallback: ClassVar[str | None] = "OPENAI"
    default_base_url: ClassVar[str | None] = OPENAI_BASE_URL

    def __init__(self, endpoint: Endpoint) -> None:
        """Check all that can be checked without the network; raise ``RecipeError`` if it fails."""
        secret = secret_of(endpoint)
        address = address_of(endpoint, has_key=bool(secret))
        self._base_url, self._is_loopback = address.base_url, address.is_loopback
        self._extra_body = _options(endpoint).extra_body
        self._urls = {api: self._base_url + path for api, path in PATHS.items()}
        self._headers = _headers(secret)
        self._errors = error_reader_of(endpoint, secret)
        max_idle = endpoint.max_concurrency or self.default_max_concurrency
        self._faults = faults_of(endpoint, secret, max_idle=max_idle)
        self._transport: Transport | None = None

    def __repr__(self) -> str:
        state = "ready" if self._transport else "closed"
        return f"<OpenAICompatibleProvider {self._base_url} {state}>"

    async def __aenter__(self) -> Self:
        if self._transport is not None:
            raise RuntimeError(f"{self!r} is entered already")
        self._transport = self._new_transport()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def complete(self, request: Request) -> Response:
        url = self._urls[request.api]
        body = request_body(request, self._extra_body, streamed=False)
        transport = self._entered_transport()
        started = perf_counter()
        reply = await transport.fetch(url, body, attempt_id_of(request))
        e2e_s = perf_counter() - started
        answer = self._checked_body(reply, url)
        limits = rate_limits(reply.header)
        return parse_response(answer, url, self._errors, e2e_s=e2e_s, limits=limits)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        url = self._urls[request.api]
        body = request_body(request, self._extra_body, streamed=True)
        chunks = ChunkReader(url, self._errors, MAX_BODY_BYTES)
        async with self._entered_transport().open(url, body, attempt_id_of(request)) as reply:
            if _is_one_document(reply):
                answer = self._checked_body(await reply.whole(), url)
                yield as_chunk(parse_response(answer, url, self._errors))
                return
            while not chunks.done and (piece := await _piece(reply, chunks)):
                for chunk in chunks.feed(piece):
                    yield chunk
            await _drain(reply)
        for chunk in chunks.close():
            yield chunk

    async def models(self) -> Sequence[str]:
        url = f"{self._base_url}/models"
        reply = await self._entered_transport().fetch(url, None)
        return parse_models(self._checked_body(reply, url), url, self._errors)

    def _new_transport(self) -> Transport:
        if _goes_over_http1(self._base_url, is_loopback=self._is_loopback):
            return Http1Transport(self._base_url, self._headers, self._faults)
        return ReqwestTransport(
            self._base_url, self._headers, self._faults, is_loopback=self._is_loopback
        )

    def _entered_transport(self) -> Transport:
        if self._transport is None:
            raise RuntimeError(f"{self!r} is not open: use it inside `async with`")
        return self._transport

    def _checked_body(self, reply: Reply, url: str) -> bytes | memoryview:
        """The body of a success, at most 16 MiB; any other reply is raised as what it means."""
        body = reply.body
        if not 200 <= reply.status < 300:
            raise self._errors.from_reply(reply.status, url, reply.header, bytes(body))
        if len(body) > MAX_BODY_BYTES:
            raise ResponseTooLargeError(
                f"{url} answered with more than {MAX_BODY_BYTES} bytes; lower max_tokens",
                status_code=reply.status,
            )
        return body


def _goes_over_http1(base_url: str, *, is_loopback: bool) -> bool:
    """Whether neither TLS nor a proxy is needed, by the environment as it is now."""
    url = Url(base_url)
    is_direct = is_loopback or not goes_through_proxy(url.host_str or "")
    return url.scheme == "http" and is_direct


async def _piece(reply: OpenReply, chunks: ChunkReader) -> bytes:
    try:
        return await reply.piece()
    except ProviderError:
        if chunks.finished:  # a connection that breaks after the answer breaks nothing
            return b""
        raise


async def _drain(reply: OpenReply) -> None:
    """Read the end of a finished stream, so that its connection can be used again.

    Some servers keep the socket open after ``[DONE]``; those lose the connection instead.
    """
    with suppress(TimeoutError, ProviderError):
        async with asyncio.timeout(DRAIN_S):
            while await reply.piece():
                pass


def _is_one_document(reply: OpenReply) -> bool:
    """An error, or a server that does not stream. Some stream without any content type."""
    content_type = (reply.header("content-type") or "").lower()
    return reply.status != 200 or "json" in content_type or "html" in content_type


def _options(endpoint: Endpoint) -> Options:
    known = [option.name for option in fields(Options)]
    for name in endpoint.options:
        if name not in known:
            raise RecipeError(
                f"unknown option {name!r} of endpoint {endpoint.name!r}; known: {', '.join(known)}"
            )
    options = Options(**endpoint.options)
    if not isinstance(options.extra_body, Mapping):
        raise RecipeError(f"extra_body of endpoint {endpoint.name!r} must be a mapping")
    return options


def _headers(secret: str) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    if secret:
        headers["authorization"] = f"Bearer {secret}"
    return headers
