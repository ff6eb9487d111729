"""Any endpoint that speaks the OpenAI HTTP API: vLLM, llama.cpp, Ollama, OpenAI and their kin.

Plain http goes over a transport of our own, https and whatever takes a proxy over pyreqwest; see
``transport``. Neither follows redirects, inflates bodies or retries. Proxies come from the
environment (``HTTPS_PROXY``, ``NO_PROXY`` and kin) when the provider is entered, and are never used
for an endpoint on this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from time import perf_counter
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult, urlsplit

from pyreqwest.http import Url

from weave_async.errors import (
    ProviderError,
    RecipeError,
    RequestRefusedError,
    ResponseTooLargeError,
)
from weave_async.records import Chunk, Endpoint, Request, Response

from .batch_api import OpenAIBatchApi, sdk_client
from .transport.faults import Faults
from .transport.http1 import Http1Transport
from .transport.interface import Limits, OpenReply, Reply, Transport
from .transport.proxies import goes_through_proxy
from .transport.reqwest import ReqwestTransport
from .wire.errors import ErrorReader
from .wire.rate_limits import rate_limits
from .wire.request import PATHS, request_body, request_fields
from .wire.response import parse_models, parse_response
from .wire.stream import ChunkReader

DEFAULT_BASE_URL = "https://api.openai.com/v1"
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 10.0
IDLE_CONNECTION_S = 4.0
"""uvicorn and Node close an idle connection after 5 s; we must be first, or meet a reset."""
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
    default_base_url: ClassVar[str | None] = DEFAULT_BASE_URL

    def __init__(self, endpoint: Endpoint) -> None:
        """Check all that can be checked without the network; raise ``RecipeError`` if it fails.

        Without ``base_url`` a key alone means OpenAI itself, as ``OPENAI_API_KEY`` always has.
        """
        secret = endpoint.api_key.get_secret_value().strip() if endpoint.api_key else ""
        self._endpoint = endpoint
        self._extra_body = _options(endpoint).extra_body
        self._base_url, self._is_loopback = _checked_base_url(endpoint, secret)
        self._urls = {api: self._base_url + path for api, path in PATHS.items()}
        self._headers = _headers(secret)
        self._errors = ErrorReader(
            secret=secret,
            key_advice=f"set {_variable(endpoint, 'API_KEY')} to a key that is valid there",
            address_advice=f"does {_variable(endpoint, 'BASE_URL')} end in /v1, or as it should?",
        )
        self._faults = Faults(
            secret=secret,
            address_advice=f"Its address is {_variable(endpoint, 'BASE_URL')}",
            limits=Limits(
                connect_timeout_s=min(CONNECT_TIMEOUT_S, endpoint.timeout_s, endpoint.deadline_s),
                timeout_s=endpoint.timeout_s,
                deadline_s=endpoint.deadline_s,
                idle_s=IDLE_CONNECTION_S,
                max_idle=endpoint.max_concurrency or self.default_max_concurrency,
                max_body_bytes=MAX_BODY_BYTES,
                max_error_bytes=MAX_ERROR_BYTES,
            ),
        )
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
        reply = await transport.fetch(url, body, _attempt_id(request))
        e2e_s = perf_counter() - started
        answer = self._checked_body(reply, url)
        limits = rate_limits(reply.header)
        return parse_response(answer, url, self._errors, e2e_s=e2e_s, limits=limits)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        url = self._urls[request.api]
        body = request_body(request, self._extra_body, streamed=True)
        chunks = ChunkReader(url, self._errors, MAX_BODY_BYTES)
        async with self._entered_transport().open(url, body, _attempt_id(request)) as reply:
            if _is_one_document(reply):
                answer = self._checked_body(await reply.whole(), url)
                yield _as_chunk(parse_response(answer, url, self._errors))
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

    def batch_api(self) -> OpenAIBatchApi:
        """Requests as files, at the same address with the same key and body."""
        secret = self._endpoint.api_key.get_secret_value().strip() if self._endpoint.api_key else ""
        is_direct = self._is_loopback
        return OpenAIBatchApi(
            lambda: sdk_client(self._base_url, secret, self._endpoint, is_direct=is_direct),
            url=self._base_url,
            errors=self._errors,
            fields_of=lambda request: request_fields(request, self._extra_body, streamed=False),
        )

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


def _attempt_id(request: Request) -> str | None:
    attempt_id = request.attempt_id
    if attempt_id and not (attempt_id.isascii() and attempt_id.isprintable()):
        raise RequestRefusedError(f"attempt_id {attempt_id!r} cannot stand in a header")
    return attempt_id


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


def _variable(endpoint: Endpoint, name: str) -> str:
    """The variable that sets this of this endpoint: a named one has variables of its own."""
    if endpoint.name.partition("#")[0] == endpoint.provider:
        return f"WEAVE_ASYNC_{name} or OPENAI_{name}"
    return f"WEAVE_ASYNC_ENDPOINTS__{endpoint.name.partition('#')[0].upper()}__{name}"


def _is_one_document(reply: OpenReply) -> bool:
    """An error, or a server that does not stream. Some stream without any content type."""
    content_type = (reply.header("content-type") or "").lower()
    return reply.status != 200 or "json" in content_type or "html" in content_type


def _as_chunk(response: Response) -> Chunk:
    return Chunk(
        text=response.text,
        reasoning=response.reasoning,
        finish_reason=response.finish_reason,
        raw_finish_reason=response.raw_finish_reason,
        usage=response.usage,
        model=response.model,
    )


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
        if not (secret.isascii() and secret.isprintable()):
            raise RecipeError("the API key holds characters that no key has: set another")
        headers["authorization"] = f"Bearer {secret}"
    return headers


def _checked_base_url(endpoint: Endpoint, secret: str) -> tuple[str, bool]:
    """The base URL without its last slash, and whether it is on this machine."""
    if not endpoint.base_url and not secret:
        raise RecipeError(
            f"endpoint {endpoint.name!r} has neither base_url nor API key: set "
            "WEAVE_ASYNC_BASE_URL or OPENAI_BASE_URL, or, for OpenAI itself, OPENAI_API_KEY"
        )
    base_url = (endpoint.base_url or DEFAULT_BASE_URL).strip().rstrip("/")
    parts = _split_url(base_url)
    is_loopback = _is_loopback(parts.hostname or "")
    if secret and parts.scheme == "http" and not is_loopback:
        raise RecipeError(
            f"a key would travel in clear to {base_url}: use https, or leave the key out"
        )
    return base_url, is_loopback


def _split_url(base_url: str) -> SplitResult:
    """Refuses all but ``http(s)://host[:port][/path]``; a refused URL is shown without secrets."""
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address = is_address and parts.port != 0
        Url(base_url)  # the transport's own opinion
    except ValueError:
        is_address = False
    if not is_address:
        raise RecipeError(
            "base_url must be http(s)://host[:port][/path], such as http://127.0.0.1:8000/v1"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise RecipeError(
            f"base_url for {parts.hostname} must not hold a user, a query or a fragment; "
            "a key belongs into WEAVE_ASYNC_API_KEY"
        )
    if parts.path.endswith("/completions"):
        raise RecipeError(f"base_url {base_url} must end before /chat/completions")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
