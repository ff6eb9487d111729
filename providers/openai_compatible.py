"""Any endpoint that speaks the OpenAI HTTP API: vLLM, llama.cpp, Ollama, OpenAI and their kin.

The transport is pyreqwest (Rust's reqwest): about 70 µs of CPU for a request. Redirects, referers,
cookies, decompression and retries are off. Proxies come from the environment (``HTTPS_PROXY``,
``NO_PROXY``) when the provider is entered, and are never used for an endpoint on this machine.
A cancelled call ends at once, but what it sent does not: the transport (0.15.1) hangs up on a
server that has not begun to answer only at the timeout.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult, urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, PyreqwestError
from pyreqwest.http import Url
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response as Reply

from weave_async.errors import RecipeError, ResponseTooLargeError
from weave_async.records import Chunk, Endpoint, Request, Response

from .wire.errors import ErrorReader
from .wire.faults import FaultReader
from .wire.rate_limits import rate_limits
from .wire.request import PATHS, request_body
from .wire.response import parse_models, parse_response
from .wire.stream import ChunkReader

DEFAULT_BASE_URL = "https://api.openai.com/v1"
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 10.0
IDLE_CONNECTION_S = 4.0
"""uvicorn and Node close an idle connection after 5 s; we must be first, or meet a reset."""
DRAIN_S = 0.1
SETTLE_S = 0.02


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
        self._faults = FaultReader(
            secret=secret,
            address_advice=f"Its address is {_variable(endpoint, 'BASE_URL')}",
            connect_timeout_s=min(CONNECT_TIMEOUT_S, endpoint.timeout_s),
            timeout_s=endpoint.timeout_s,
            deadline_s=endpoint.deadline_s,
        )
        self._client: Client | None = None

    def __repr__(self) -> str:
        state = "ready" if self._client else "closed"
        return f"<OpenAICompatibleProvider {self._base_url} {state}>"

    async def __aenter__(self) -> Self:
        if self._client is not None:
            raise RuntimeError(f"{self!r} is entered already")
        try:
            self._client = self._new_client()
        except BuilderError as exc:  # no certificates to trust on this machine
            raise self._faults.read(exc, self._base_url) from exc
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
            # A thread of the transport may still be dropping its last objects; when the
            # interpreter ends meanwhile, the process aborts (PyGILState_Release, exit 134).
            await asyncio.sleep(SETTLE_S)

    async def complete(self, request: Request) -> Response:
        url = self._urls[request.api]
        post = self._post(request, streamed=False)
        started = perf_counter()
        try:
            async with post.build_streamed() as reply:
                answer = await self._whole_body(reply, url)
                limits = rate_limits(partial(_header, reply))
        except PyreqwestError as exc:
            raise self._faults.read(exc, url, perf_counter() - started) from exc
        e2e_s = perf_counter() - started
        return parse_response(answer, url, self._errors, e2e_s=e2e_s, limits=limits)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        url = self._urls[request.api]
        # With its default buffer pyreqwest keeps even the head back until 64 kB are here.
        post = self._post(request, streamed=True).streamed_read_buffer_limit(1)
        chunks = ChunkReader(url, self._errors, MAX_BODY_BYTES)
        started = perf_counter()
        try:
            async with post.build_streamed() as reply:
                if _is_one_document(reply):
                    answer = await self._whole_body(reply, url)
                    yield _as_chunk(parse_response(answer, url, self._errors))
                    return
                while not chunks.done and (piece := await reply.body_reader.read_chunk()):
                    for chunk in chunks.feed(bytes(piece)):
                        yield chunk
                await _drain(reply)
        except PyreqwestError as exc:
            if not chunks.finished:  # a connection that breaks after the answer breaks nothing
                raise self._faults.read(exc, url, perf_counter() - started) from exc
        for chunk in chunks.close():
            yield chunk

    async def models(self) -> Sequence[str]:
        url = f"{self._base_url}/models"
        get = self._entered_client().get(url)
        started = perf_counter()
        try:
            async with get.build_streamed() as reply:
                body = await self._whole_body(reply, url)
        except PyreqwestError as exc:
            raise self._faults.read(exc, url, perf_counter() - started) from exc
        return parse_models(body, url, self._errors)

    def _post(self, request: Request, *, streamed: bool) -> RequestBuilder:
        body = request_body(request, self._extra_body, streamed=streamed)
        post = self._entered_client().post(self._urls[request.api]).body_bytes(body)
        if request.attempt_id:
            post = post.header("x-client-request-id", request.attempt_id)
        return post

    def _new_client(self) -> Client:
        endpoint = self._endpoint
        builder = (
            ClientBuilder()
            .http1_only()
            .default_headers(self._headers)
            .follow_redirects(False)
            .referer(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .pool_idle_timeout(timedelta(seconds=IDLE_CONNECTION_S))
            .pool_max_idle_per_host(endpoint.max_concurrency or self.default_max_concurrency)
            .connect_timeout(timedelta(seconds=self._faults.connect_timeout_s))
            .read_timeout(timedelta(seconds=endpoint.timeout_s))
            .timeout(timedelta(seconds=endpoint.deadline_s))
        )
        if self._is_loopback:
            builder = builder.no_proxy()
            if self._base_url.startswith("http:"):
                # No TLS is spoken, and so a machine without any certificates will do.
                builder = builder.danger_accept_invalid_certs(True)
        return builder.build()

    def _entered_client(self) -> Client:
        if self._client is None:
            raise RuntimeError(f"{self!r} is not open: use it inside `async with`")
        return self._client

    async def _whole_body(self, reply: Reply, url: str) -> memoryview:
        """The body of a success, at most 16 MiB; any other reply is raised as what it means."""
        succeeded = 200 <= reply.status < 300
        limit = MAX_BODY_BYTES if succeeded else MAX_ERROR_BYTES
        body = memoryview(await reply.body_reader.read(limit + 1) or b"")
        if not succeeded:
            raise self._errors.from_reply(reply.status, url, partial(_header, reply), bytes(body))
        if len(body) > limit:
            raise ResponseTooLargeError(
                f"{url} answered with more than {limit} bytes; lower max_tokens",
                status_code=reply.status,
            )
        return body


def _header(reply: Reply, name: str) -> str | None:
    """A header that is text; what is not (stray bytes) is as if it were not there."""
    try:
        return reply.get_header(name)
    except ValueError:
        return None


async def _drain(reply: Reply) -> None:
    """Read the end of a finished stream, so that its connection can be used again.

    Some servers keep the socket open after ``[DONE]``; those lose the connection instead.
    """
    with suppress(TimeoutError, PyreqwestError):
        async with asyncio.timeout(DRAIN_S):
            while await reply.body_reader.read_chunk():
                pass


def _variable(endpoint: Endpoint, name: str) -> str:
    """The variable that sets this of this endpoint: a named one has variables of its own."""
    if endpoint.name.partition("#")[0] == endpoint.provider:
        return f"WEAVE_ASYNC_{name} or OPENAI_{name}"
    return f"WEAVE_ASYNC_ENDPOINTS__{endpoint.name.partition('#')[0].upper()}__{name}"


def _is_one_document(reply: Reply) -> bool:
    """An error, or a server that does not stream. Some stream without any content type."""
    content_type = (_header(reply, "content-type") or "").lower()
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
