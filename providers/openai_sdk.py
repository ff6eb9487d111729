"""The official OpenAI SDK, for Azure OpenAI, tokens of Entra ID, and whoever wants the SDK.

It sends and parses; its retries, timeouts and redirects are off, and its connections are ours
(``transport.httpx_pool``). What comes of an answer is what ``openai_compatible`` makes of it, at
some fifty times the CPU: 1.5 ms a request with few in flight, 3 ms with 256. Proxies come from the
environment as they do there.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

import orjson

from weave_async.errors import RecipeError
from weave_async.records import Chunk, Endpoint, Request, Response

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
from .sdk.tokens import (
    ENVIRONMENT_ENDPOINT,
    ENVIRONMENT_TOKEN,
    TokenSource,
    may_have_tokens,
    token_source,
)
from .transport.proxies import proxy_for
from .transport.tls import TRUSTING_OPTIONS, ConnectionOptions, tls_context
from .wire.errors import ErrorReader
from .wire.learning import Lessons, capabilities_of
from .wire.oddities import Oddities
from .wire.rate_limits import rate_limits
from .wire.request import PATHS, request_body
from .wire.response import parse_models, parse_response, response_of
from .wire.stream import ChunkReader, as_chunk

if TYPE_CHECKING:
    from .sdk.client import SdkClient, SdkStream

logger = logging.getLogger(__name__)

MAX_IDLE = 1_024
"""As many connections as there may be requests in flight where their number adapts."""


@dataclass(frozen=True, slots=True)
class Options(ConnectionOptions):
    """``extra_body`` and ``capabilities`` are as for ``openai_compatible``.

    ``api_version`` makes the endpoint one of Azure OpenAI; ``azure_deployment`` is the deployment
    where it is not called as the model. In place of a key, a token of Entra ID: by
    ``azure_ad_token_provider`` (``package.module:function``), by ``azure_ad: true`` (with
    azure-identity), or from ``AZURE_OPENAI_AD_TOKEN``; the latter two go to Azure's hosts and to
    ``AZURE_OPENAI_ENDPOINT``.
    """

    extra_body: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    api_version: str | None = None
    azure_deployment: str | None = None
    azure_ad: bool = False
    azure_ad_token_provider: str | None = None


class OpenAISdkProvider:
    """One attempt per call by the SDK; enter it once, then call it from many tasks."""

    default_max_concurrency: ClassVar[int] = 32
    default_model: ClassVar[str | None] = None
    environment_fallback: ClassVar[str | None] = "OPENAI"
    default_base_url: ClassVar[str | None] = OPENAI_BASE_URL
    trusting_options: ClassVar[tuple[str, ...]] = (
        *TRUSTING_OPTIONS,
        "azure_ad",
        "azure_ad_token_provider",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        """Check all that can be checked without the network; raise ``RecipeError`` if it fails."""
        self._options = options = options_of(endpoint, Options)
        self._endpoint = endpoint
        secret = secret_of(endpoint)
        self._token = _token_source(endpoint, options, has_key=bool(secret))
        self._secret = "" if self._token else secret
        has_key = bool(self._secret or self._token)
        address = address_of(endpoint, has_key=has_key)
        _check_azure(endpoint, options, has_key=has_key)
        self._base_url, self._is_loopback = address.base_url, address.is_loopback
        self._urls = {api: self._base_url + path for api, path in PATHS.items()}
        self._lessons = Lessons(
            capabilities_of(endpoint, options.capabilities),
            endpoint=endpoint.name,
            logger=logger,
            kept=options.extra_body,
        )
        self._oddities = Oddities(endpoint.name, logger)
        self._errors = error_reader_of(endpoint, self._secret)
        self._faults = faults_of(
            endpoint, self._secret, max_idle=endpoint.max_concurrency or MAX_IDLE
        )
        self._tls = tls_context(options)
        self._proxy = proxy_of(options.proxy, address, has_key=has_key)
        self._sdk: SdkClient | None = None

    def __repr__(self) -> str:
        return f"<OpenAISdkProvider {self._base_url} {'ready' if self._sdk else 'closed'}>"

    async def __aenter__(self) -> Self:
        if self._sdk is not None:
            raise RuntimeError(f"{self!r} is entered already")
        # Imported here: whoever only checks a recipe does not wait for the SDK.
        from .sdk.client import Azure, SdkClient
        from .transport.httpx_pool import HttpxPool

        proxy = proxy_for(self._base_url, self._proxy, is_loopback=self._is_loopback)
        version, deployment = self._options.api_version, self._options.azure_deployment
        self._sdk = SdkClient(
            self._base_url,
            HttpxPool(self._faults, tls=self._tls or ssl.create_default_context(), proxy=proxy),
            self._errors,
            self._lessons,
            secret=self._secret,
            token=self._token,
            azure=Azure(version, deployment) if version else None,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        sdk, self._sdk = self._sdk, None
        if sdk is not None:
            await sdk.close()

    def batch_api(self) -> OpenAIBatchApi:
        """Requests as files, at the same address, with the same key or token and bodies."""
        from .sdk.client import Azure

        proxy = proxy_for(self._base_url, self._proxy, is_loopback=self._is_loopback)
        version, deployment = self._options.api_version, self._options.azure_deployment
        return OpenAIBatchApi(
            lambda: new_client(
                self._endpoint,
                self._base_url,
                secret=self._secret,
                tls=self._tls,
                proxy=proxy,
                token=self._token,
                azure=Azure(version, deployment) if version else None,
            ),
            url=self._base_url,
            errors=self._errors,
            lessons=self._lessons,
            extra_body=self._options.extra_body,
        )

    async def complete(self, request: Request) -> Response:
        url = self._urls[request.api]
        body = self._body(request, streamed=False)
        sdk = self._entered_sdk()
        started = perf_counter()
        document, header = await sdk.complete(
            request.api, orjson.loads(body), attempt_id_of(request), url
        )
        response = response_of(
            document,
            url,
            sdk.errors,
            e2e_s=perf_counter() - started,
            limits=rate_limits(header),
            num_choices=request.num_choices,
        )
        self._oddities.look_at(request, response, len(body))
        return response

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        url = self._urls[request.api]
        body = self._body(request, streamed=True)
        sdk = self._entered_sdk()
        stream = await sdk.stream(request.api, orjson.loads(body), attempt_id_of(request), url)
        try:
            if stream.is_one_document:
                yield as_chunk(parse_response(await stream.whole(), url, sdk.errors))
                return
            async with aclosing(_chunks(stream, url, sdk.errors)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await stream.close()

    async def models(self) -> Sequence[str]:
        url = f"{self._base_url}/models"
        sdk = self._entered_sdk()
        return parse_models(await sdk.models(url), url, sdk.errors)

    def _body(self, request: Request, *, streamed: bool) -> bytes:
        """What the other provider would send, too; refused here where it is no JSON."""
        return request_body(
            request,
            self._options.extra_body,
            streamed=streamed,
            capabilities=self._lessons.capabilities,
        )

    def _entered_sdk(self) -> SdkClient:
        if self._sdk is None:
            raise RuntimeError(f"{self!r} is not open: use it inside `async with`")
        return self._sdk


async def _chunks(stream: SdkStream, url: str, errors: ErrorReader) -> AsyncGenerator[Chunk, None]:
    reader = ChunkReader(url, errors, MAX_BODY_BYTES)
    while (document := await stream.event(is_finished=reader.finished)) is not None:
        for chunk in reader.read(document):
            yield chunk
    reader.done = stream.done
    for chunk in reader.close():
        yield chunk


def _token_source(endpoint: Endpoint, options: Options, *, has_key: bool) -> TokenSource | None:
    """What the options name goes before a key, which may be one that the environment has for all.

    The token of the environment is Azure's: it goes nowhere else, and nowhere beside a key. Nor
    does one of azure-identity: both are this person's, whoever has written the address.
    """
    is_azures = may_have_tokens(endpoint.base_url or OPENAI_BASE_URL, os.environ)
    if options.azure_ad and not (options.azure_ad_token_provider or is_azures):
        raise RecipeError(
            f"endpoint {endpoint.name!r} has azure_ad and an address that is not known as Azure's: "
            "set AZURE_OPENAI_ENDPOINT to it, in the environment, if it is"
        )
    environ = os.environ if options.api_version and is_azures and not has_key else {}
    return token_source(options.azure_ad_token_provider, azure_ad=options.azure_ad, environ=environ)


def _check_azure(endpoint: Endpoint, options: Options, *, has_key: bool) -> None:
    if options.api_version and not endpoint.base_url:
        raise RecipeError(
            f"endpoint {endpoint.name!r} has an api_version, as Azure's have, and no base_url: "
            "set it to https://RESOURCE.openai.azure.com"
        )
    if options.api_version and not has_key:
        raise RecipeError(
            f"endpoint {endpoint.name!r} needs an API key, azure_ad_token_provider, azure_ad or "
            f"{ENVIRONMENT_TOKEN}, which is for Azure's hosts and {ENVIRONMENT_ENDPOINT}"
        )
    if options.azure_deployment and not options.api_version:
        raise RecipeError(
            f"endpoint {endpoint.name!r} has an azure_deployment and no api_version: set both"
        )
