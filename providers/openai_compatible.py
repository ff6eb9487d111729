"""Any endpoint that speaks the OpenAI HTTP API: vLLM, llama.cpp, Ollama, OpenAI and their kin.

Plain http goes over a transport of our own, https and whatever takes a proxy over pyreqwest, and
what needs certificates from files over httpx2; see ``transport``. None follows redirects, inflates
bodies or retries. Where the options name no proxy, the environment (``HTTPS_PROXY``, ``NO_PROXY``
and kin) does as the provider is entered, and never for an endpoint on this machine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar, Self

from pyreqwest.http import Url

from weave_async.errors import ProviderError, RequestRefusedError, ResponseTooLargeError
from weave_async.records import Chunk, Endpoint, EndpointFacts, Request, Response

from .batch_api import OpenAIBatchApi, new_client
from .endpoint import (
    MAX_BODY_BYTES,
    OPENAI_BASE_URL,
    address_of,
    attempt_id_of,
    error_reader_of,
    faults_of,
    proxy_of,
    secret_of,
)
from .options import options_of
from .transport.http1 import Http1Transport
from .transport.interface import OpenReply, Reply, Transport, is_one_document
from .transport.proxies import goes_through_proxy, proxy_for
from .transport.reqwest import ReqwestTransport
from .transport.tls import TRUSTING_OPTIONS, ConnectionOptions, tls_context
from .wire.inspection import facts_of
from .wire.learning import REFUSALS, Lessons, capabilities_of
from .wire.oddities import Oddities
from .wire.rate_limits import rate_limits
from .wire.request import PATHS, request_body
from .wire.response import parse_models, parse_response
from .wire.stream import ChunkReader, as_chunk

logger = logging.getLogger(__name__)

DRAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Options(ConnectionOptions):
    """``extra_body`` is merged into every request's JSON, over what we would send ourselves.

    ``capabilities`` says what the endpoint takes, where that is known: ``max_tokens_field``,
    ``response_format``, ``lacks``. What is not said is learned when the endpoint refuses a field.
    """

    extra_body: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)


class OpenAICompatibleProvider:
    """One attempt per call over HTTP/1.1; enter it once, then call it from many tasks."""

    default_max_concurrency: ClassVar[int] = 32
    default_model: ClassVar[str | None] = None
    environment_fallback: ClassVar[str | None] = "OPENAI"
    default_base_url: ClassVar[str | None] = OPENAI_BASE_URL
    trusting_options: ClassVar[tuple[str, ...]] = TRUSTING_OPTIONS

    def __init__(self, endpoint: Endpoint) -> None:
        """Check all that can be checked without the network; raise ``RecipeError`` if it fails."""
        self._endpoint = endpoint
        secret = secret_of(endpoint)
        address = address_of(endpoint, has_key=bool(secret))
        self._base_url, self._is_loopback = address.base_url, address.is_loopback
        options = options_of(endpoint, Options)
        self._extra_body = options.extra_body
        self._lessons = Lessons(
            capabilities_of(endpoint, options.capabilities),
            endpoint=endpoint.name,
            logger=logger,
            kept=options.extra_body,
        )
        self._oddities = Oddities(endpoint.name, logger)
        self._tls = tls_context(options)
        self._proxy = proxy_of(options.proxy, address, has_key=bool(secret))
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
        body = self._body(request, streamed=False)
        transport = self._entered_transport()
        started = perf_counter()
        reply = await transport.fetch(url, body, attempt_id_of(request))
        e2e_s = perf_counter() - started
        answer = self._checked_body(reply, url, body)
        response = parse_response(
            answer,
            url,
            self._errors,
            e2e_s=e2e_s,
            limits=rate_limits(reply.header),
            num_choices=request.num_choices,
        )
        self._oddities.look_at(request, response, len(body))
        return response

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        url = self._urls[request.api]
        body = self._body(request, streamed=True)
        chunks = ChunkReader(url, self._errors, MAX_BODY_BYTES)
        async with self._entered_transport().open(url, body, attempt_id_of(request)) as reply:
            if is_one_document(reply.status, reply.header("content-type")):
                answer = self._checked_body(await reply.whole(), url, body)
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

    async def inspect(self) -> EndpointFacts:
        url = f"{self._base_url}/models"
        reply = await self._entered_transport().fetch(url, None)
        body = self._checked_body(reply, url)
        return facts_of(body, reply.header, url, self._errors, self._lessons.capabilities)

    def batch_api(self) -> OpenAIBatchApi:
        """Requests as files, at the same address, with the same key and bodies."""
        proxy = proxy_for(self._base_url, self._proxy, is_loopback=self._is_loopback)
        return OpenAIBatchApi(
            lambda: new_client(
                self._endpoint,
                self._base_url,
                secret=secret_of(self._endpoint),
                tls=self._tls,
                proxy=proxy,
            ),
            url=self._base_url,
            errors=self._errors,
            lessons=self._lessons,
            extra_body=self._extra_body,
        )

    def _body(self, request: Request, *, streamed: bool) -> bytes:
        return request_body(
            request, self._extra_body, streamed=streamed, capabilities=self._lessons.capabilities
        )

    def _new_transport(self) -> Transport:
        if self._tls is not None:
            # Imported here: whoever names no certificate does not wait for httpx2.
            from .transport.httpx_client import HttpxTransport

            proxy = proxy_for(self._base_url, self._proxy, is_loopback=self._is_loopback)
            return HttpxTransport(self._headers, self._faults, tls=self._tls, proxy=proxy)
        if not self._proxy and _goes_over_http1(self._base_url, is_loopback=self._is_loopback):
            return Http1Transport(self._base_url, self._headers, self._faults)
        return ReqwestTransport(
            self._base_url,
            self._headers,
            self._faults,
            is_loopback=self._is_loopback,
            proxy=self._proxy,
        )

    def _entered_transport(self) -> Transport:
        if self._transport is None:
            raise RuntimeError(f"{self!r} is not open: use it inside `async with`")
        return self._transport

    def _checked_body(self, reply: Reply, url: str, sent: bytes = b"{}") -> bytes | memoryview:
        """The body of a success, at most 16 MiB; any other reply is raised as what it means.

        ``sent`` is the request's own body, which tells whether a refused field was in it.
        """
        body = reply.body
        if not 200 <= reply.status < 300:
            error = self._errors.from_reply(reply.status, url, reply.header, bytes(body))
            if reply.status in REFUSALS and type(error) is RequestRefusedError:
                error = self._lessons.heard(error, bytes(body), sent)
            raise error
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


def _headers(secret: str) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    if secret:
        headers["authorization"] = f"Bearer {secret}"
    return headers
