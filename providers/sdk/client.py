"""The official SDK as we use it. Importing this imports the SDK, which takes a second."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI, AsyncStream

from weave_async.errors import ConnectError, ProviderError, RequestRefusedError
from weave_async.records import Api

from ..endpoint import OPENAI_BASE_URL
from ..transport.httpx_pool import HttpxPool, ascii_header
from ..wire.durations import Header
from ..wire.errors import ErrorReader, holds_error
from ..wire.learning import REFUSALS, Lessons
from ..wire.response import parse_answer
from ..wire.text import shown
from .carrier import WATCH, Carrier, StreamWatch
from .tokens import TokenSource

_IDENTITY = {"accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Azure:
    """What makes an address one of Azure OpenAI's."""

    api_version: str
    deployment: str | None = None


class SdkClient:
    """The SDK's clients for whole answers and for streams, over one pool of connections."""

    def __init__(
        self,
        base_url: str,
        pool: HttpxPool,
        errors: ErrorReader,
        lessons: Lessons,
        *,
        secret: str,
        token: TokenSource | None,
        azure: Azure | None,
    ) -> None:
        self._pool = pool
        self._errors = errors
        self._token = token
        self._lessons = lessons
        # Without a key the SDK has to be told that none is meant, each time.
        self._headers = {} if secret or token else {"Authorization": openai.Omit()}
        self._whole, self._streamed = (
            new_sdk(
                base_url,
                httpx2.AsyncClient(
                    transport=Carrier(pool, streamed=streamed),
                    trust_env=False,
                    follow_redirects=False,
                    timeout=None,  # the pool has its own
                ),
                secret=secret,
                token=token,
                azure=azure,
            )
            for streamed in (False, True)
        )

    @property
    def errors(self) -> ErrorReader:
        """Which shows neither the key nor the token that went out last."""
        return replace(self._errors, secret=self._token.latest) if self._token else self._errors

    async def close(self) -> None:
        # Not the clients, which hold nothing else, and would answer whoever is late in their words.
        await self._pool.close()

    async def complete(
        self, api: Api, fields: Mapping[str, Any], attempt_id: str | None, url: str
    ) -> tuple[Mapping[str, Any], Header]:
        """The document that answers ``fields``, and the headers that came with it."""
        raw = await self._create(self._whole, api, fields, attempt_id, url)
        return self._read(raw, url), _header(raw.http_response)

    def _read(self, raw: Any, url: str) -> Mapping[str, Any]:
        try:
            document = _document(raw.parse())
        except (ValueError, RecursionError):
            document = None
        if document is None:  # not what the SDK reads; it may be what we do
            return parse_answer(raw.content, url, self.errors)
        return self.checked(document, url)

    async def stream(
        self, api: Api, fields: Mapping[str, Any], attempt_id: str | None, url: str
    ) -> SdkStream:
        return SdkStream(
            self, await self._create(self._streamed, api, fields, attempt_id, url), url
        )

    async def models(self, url: str) -> bytes:
        """The list as it came: servers send it in more shapes than the SDK knows."""
        listed: Any = self._whole.models.with_raw_response.list(extra_headers=self._headers)
        return bytes((await self._called(listed, url)).content)

    def checked(self, document: Mapping[str, Any], url: str) -> Mapping[str, Any]:
        """``document``, unless it is an error after all."""
        if holds_error(document):
            raise self.errors.from_document(document, url)
        return document

    async def _create(
        self,
        client: AsyncOpenAI,
        api: Api,
        fields: Mapping[str, Any],
        attempt_id: str | None,
        url: str,
    ) -> Any:
        resource: Any = client.chat.completions if api == "chat" else client.completions
        call = resource.with_raw_response.create(
            **_arguments(fields), extra_headers=self._headers | _named(attempt_id)
        )
        return await self._called(call, url, fields)

    async def _called(
        self, call: Awaitable[Any], url: str, sent: Mapping[str, Any] | None = None
    ) -> Any:
        """What ``call`` gives. Raises our errors as they are, and those of the SDK as ours.

        Outside of the ``except``, without a cause or a context: what the SDK raises holds the
        request, and that the key.
        """
        try:
            return await call
        except openai.OpenAIError as exc:
            error = self.translated(exc, url, sent or {})
        raise error

    def translated(
        self, exc: openai.OpenAIError, url: str, sent: Mapping[str, Any]
    ) -> ProviderError:
        if isinstance(exc, openai.APIStatusError):
            reply = exc.response
            error = self.errors.from_reply(reply.status_code, url, _header(reply), reply.content)
            if reply.status_code in REFUSALS and type(error) is RequestRefusedError:
                error = self._lessons.heard(error, reply.content, sent)
            return error
        if isinstance(exc, openai.APIError) and exc.body is not None:
            return self.errors.from_document({"error": exc.body}, url)
        why = shown(f"{type(exc).__name__}: {exc}", self.errors.secret)
        return ConnectError(f"{url} could not be asked ({why})", may_be_billed=True)


class SdkStream:
    """Events of one answer, or a whole answer where the server does not stream. Close it."""

    def __init__(self, client: SdkClient, raw: Any, url: str) -> None:
        self._client = client
        self._url = url
        self._response: httpx2.Response = raw.http_response
        self._watch: StreamWatch | None = self._response.extensions[WATCH]
        self._events: AsyncStream[Any] | None = raw.parse() if self._watch is not None else None

    @property
    def is_one_document(self) -> bool:
        return self._events is None

    @property
    def done(self) -> bool:
        """Whether ``[DONE]`` has come."""
        return self._watch is not None and self._watch.done

    async def whole(self) -> bytes:
        return await self._response.aread()

    async def event(self, *, is_finished: bool) -> Mapping[str, Any] | None:
        """The next event's document; ``None`` at the end, however it comes once that matters no
        more.
        """
        parsed: object = _END
        error: ProviderError | None = None
        try:
            parsed = await anext(self._events, _END) if self._events else _END
        except ProviderError:  # of the connection
            if not (is_finished or self.done):
                raise
        except openai.OpenAIError as exc:
            error = self._client.translated(exc, self._url, {})
        except (ValueError, RecursionError):
            error = self._bad("streamed an event that is not JSON")
        if error is not None:  # raised out here for the reason that `SdkClient._called` gives
            raise error
        if parsed is _END:
            return None
        document = _document(parsed)
        if document is None:
            raise self._bad("streamed an event that is not an object")
        return self._client.checked(document, self._url)

    async def close(self) -> None:
        await self._response.aclose()

    def _bad(self, fault: str) -> ProviderError:
        return self._client.errors.bad_response(self._url, fault)


_END = object()


def new_sdk(
    base_url: str,
    http_client: httpx2.AsyncClient,
    *,
    secret: str,
    token: TokenSource | None,
    azure: Azure | None,
    timeout: httpx2.Timeout | None = None,
) -> AsyncOpenAI:
    """Its own retries are off: whoever calls us retries. Without ``timeout``, ``http_client`` has
    its own.
    """
    sdk = _made(
        base_url,
        http_client,
        secret=secret,
        token=token,
        azure=azure,
        max_retries=0,
        timeout=timeout,
    )
    if urlsplit(base_url)[:2] != urlsplit(OPENAI_BASE_URL)[:2]:
        _forget_the_environment(sdk)
    return sdk


def _forget_the_environment(sdk: AsyncOpenAI) -> None:
    """Leave out what the SDK takes from ``OPENAI_ORG_ID``, ``OPENAI_PROJECT_ID`` and
    ``OPENAI_CUSTOM_HEADERS``, which may hold a key: it would send them to any address.
    """
    sdk.organization = sdk.project = None
    sdk._custom_headers = _IDENTITY  # it has no other way to be rid of them


def _made(
    base_url: str,
    http_client: httpx2.AsyncClient,
    *,
    secret: str,
    token: TokenSource | None,
    azure: Azure | None,
    **options: Any,
) -> AsyncOpenAI:
    options |= {"http_client": http_client, "default_headers": _IDENTITY}
    if azure is None:
        return AsyncOpenAI(base_url=base_url, api_key=secret or token or "none", **options)
    options["api_version"] = azure.api_version
    # Of a key and a token only one is given: the SDK takes no more, and asks the environment
    # only where neither is.
    options |= {"api_key": secret} if secret else {"azure_ad_token_provider": token}
    # Without a version an address ends in /openai/v1; with one, the SDK knows what comes after it.
    root = base_url.removesuffix("/v1").removesuffix("/openai")
    if "/openai" in urlsplit(root).path:
        return AsyncAzureOpenAI(base_url=base_url, **options)
    return AsyncAzureOpenAI(azure_endpoint=root, azure_deployment=azure.deployment, **options)


def _arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` as the SDK takes them: what it must know by name, and the rest as it stands."""
    named = {name: fields[name] for name in ("model", "messages", "prompt") if name in fields}
    named["stream"] = bool(fields.get("stream"))
    return {**named, "extra_body": {k: v for k, v in fields.items() if k not in named}}


def _named(attempt_id: str | None) -> dict[str, str]:
    return {"x-client-request-id": attempt_id} if attempt_id else {}


def _document(parsed: object) -> dict[str, Any] | None:
    """What the SDK made of an object; ``None`` for what was none."""
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]  # Gemini wraps its errors in a list
    if isinstance(parsed, openai.BaseModel):
        return parsed.to_dict(mode="python", warnings=False)
    return parsed if isinstance(parsed, dict) else None


def _header(response: httpx2.Response) -> Header:
    return lambda name: ascii_header(response, name)
