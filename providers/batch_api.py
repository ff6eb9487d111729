"""OpenAI's Batch API, through the official SDK: files up, a batch created, files of answers down.

For any provider whose endpoint speaks it: how a client is made, and what a request's body is, are
the provider's. The SDK's own retries are off, as everywhere; it is loaded when it is first needed.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeVar

import orjson

from weave_async.errors import (
    ConnectError,
    DeadlineError,
    ModelNotFoundError,
    ProviderError,
    RequestRefusedError,
    ResponseTooLargeError,
    ServerError,
    TlsError,
)
from weave_async.interfaces import BatchState
from weave_async.records import Api, Endpoint, Request, Response

from .endpoint import CONNECT_TIMEOUT_S
from .wire.errors import ErrorReader
from .wire.fields import first_choice, mapping
from .wire.learning import REFUSALS, Lessons
from .wire.request import request_fields
from .wire.response import parse_answer, response_of
from .wire.text import as_json, parse_json, shown, string

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from .sdk.client import Azure
    from .sdk.tokens import TokenSource

T = TypeVar("T")

COMPLETION_WINDOW: Final = "24h"
URLS: Final[Mapping[Api, Literal["/v1/chat/completions", "/v1/completions"]]] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
}
"""As they stand in the files, wherever the endpoint itself has them."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
MAX_OUTPUT_BYTES = 8 << 30
"""Of one file of answers, which goes to the disk and not into memory."""
CALL_S, TRANSFER_S = 300.0, 3600.0
"""One call at most, and one with a file: a drip outlives any other limit."""
_IDENTITY = {"accept-encoding": "identity"}
PAGE, MAX_PAGES = 100, 100
CLOCKS_APART_S = 3600.0
"""How far a server's clock may be from ours, or a batch of ours would be taken for an older one."""
QUEUE_FULL = frozenset({"token_limit_exceeded"})
"""Codes of a batch that is refused for the others that are out."""
NOT_THERE = frozenset({404, 405, 501})
"""Statuses of an endpoint that takes no files."""
UNSERVED = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests that nobody came to."""


class OpenAIBatchApi:
    """``interfaces.BatchApi`` over the SDK. Enter it once; ``request_line`` needs no entering."""

    max_requests: ClassVar[int] = 50_000
    max_bytes: ClassVar[int] = 200_000_000

    def __init__(
        self,
        new_client: Callable[[], AsyncOpenAI],
        *,
        url: str,
        errors: ErrorReader,
        lessons: Lessons,
        extra_body: Mapping[str, Any],
    ) -> None:
        """``url`` is for messages. What the live endpoint has taught is heeded, and added to."""
        self._new_client = new_client
        self._url = url
        self._errors = errors
        self._lessons = lessons
        self._extra_body = extra_body
        self._client_or_none: AsyncOpenAI | None = None

    def __repr__(self) -> str:
        return f"<OpenAIBatchApi {self._url} {'open' if self._client_or_none else 'closed'}>"

    async def __aenter__(self) -> Self:
        self._client_or_none = self._new_client()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        client, self._client_or_none = self._client_or_none, None
        if client is not None:
            await client.close()

    def request_line(self, request: Request, custom_id: str) -> bytes:
        line = {
            "custom_id": custom_id,
            "method": "POST",
            "url": URLS[request.api],
            "body": self._fields_of(request),
        }
        try:
            return orjson.dumps(line) + b"\n"
        except TypeError as error:
            told = f"request {request.request_id} is not JSON: {error}"
            raise RequestRefusedError(told) from error

    def custom_id_in(self, line: bytes) -> str | None:
        try:
            return string(mapping(parse_json(line)).get("custom_id")) or None
        except ValueError:
            return None

    def response_in(self, line: bytes, request: Request) -> Response:
        document = mapping(parse_json(line))
        reply = mapping(document.get("response"))
        status, body = _status_in(reply), reply.get("body")
        if status is None:
            raise self._unserved(document.get("error"))
        encoded = as_json(body)
        if not 200 <= status < 300:
            error = self._errors.from_reply(status, self._url, lambda name: None, encoded)
            if status in REFUSALS and type(error) is RequestRefusedError:
                error = self._lessons.heard(error, encoded, self._fields_sent(request))
            raise error
        return response_of(
            parse_answer(encoded, self._url, self._errors),
            self._url,
            self._errors,
            num_choices=request.num_choices,
        )

    async def upload(self, path: Path) -> str:
        """Raises ``ModelNotFoundError`` where nobody takes files: there is nothing to try again."""
        try:
            return await self._uploaded(path)
        except ProviderError as error:
            if error.status_code not in NOT_THERE:
                raise
            status = error.status_code
        raise ModelNotFoundError(
            f"{self._url} has no batch API (HTTP {status} for its files): ask it with `mode: live`",
            status_code=status,
        )

    async def _uploaded(self, path: Path) -> str:
        with path.open("rb") as file:
            # A path would be read into memory whole.
            reply = await self._answered(
                self._client.files.with_raw_response.create(
                    file=(path.name, file, "application/jsonl"), purpose="batch"
                ),
                within_s=TRANSFER_S,
            )
        return self._id_in(reply)

    async def create(self, file_id: str, api: Api, metadata: Mapping[str, str]) -> str:
        reply = await self._answered(
            self._client.batches.with_raw_response.create(
                completion_window=COMPLETION_WINDOW,
                endpoint=URLS[api],
                input_file_id=file_id,
                metadata=dict(metadata),
            )
        )
        return self._id_in(reply)

    async def find(self, metadata: Mapping[str, str], *, since: float) -> str | None:
        async for page in self._pages():
            for batch in page:
                if metadata.items() <= mapping(batch.get("metadata")).items():
                    return self._id_in(batch)
            if all(_is_older(batch, since - CLOCKS_APART_S) for batch in page):
                return None  # they come newest first, or all on one page
        return None

    async def state(self, batch_id: str) -> BatchState:
        batch = await self._answered(self._client.batches.with_raw_response.retrieve(batch_id))
        counts = mapping(batch.get("request_counts"))
        status = string(batch.get("status")).lower()
        files = (string(batch.get(key)) for key in ("output_file_id", "error_file_id"))
        return BatchState(
            status=status,
            has_ended=status in ENDED,
            num_requests=_count(counts, "total"),
            num_completed=_count(counts, "completed"),
            num_failed=_count(counts, "failed"),
            files=tuple(file_id for file_id in files if file_id),
            faults=tuple(self._faults(mapping(batch.get("errors")).get("data"))),
        )

    async def download(self, file_id: str, path: Path) -> None:
        with _new_private(path) as file:
            await self._called(self._copy(file_id, file), within_s=TRANSFER_S)
            file.flush()
            os.fsync(file.fileno())

    async def _copy(self, file_id: str, file: IO[bytes]) -> None:
        async with self._client.files.with_streaming_response.content(
            file_id, extra_headers=_IDENTITY
        ) as reply:
            num_bytes = 0
            async for piece in reply.iter_bytes():
                num_bytes += len(piece)
                if num_bytes > MAX_OUTPUT_BYTES:
                    raise ResponseTooLargeError(
                        f"{file_id} at {self._url} has more than {MAX_OUTPUT_BYTES} bytes"
                    )
                file.write(piece)

    def _fields_of(self, request: Request) -> dict[str, Any]:
        capabilities = self._lessons.capabilities
        return request_fields(request, self._extra_body, streamed=False, capabilities=capabilities)

    def _fields_sent(self, request: Request) -> dict[str, Any]:
        """What its line may have held: another line may have taught since that a field is not
        taken.
        """
        plain = request_fields(request, self._extra_body, streamed=False)
        return {**self._fields_of(request), **plain}

    @property
    def _client(self) -> AsyncOpenAI:
        if self._client_or_none is None:
            raise RuntimeError(f"{self!r} is not open: use it inside `async with`")
        return self._client_or_none

    async def _pages(self) -> AsyncIterator[list[Mapping[str, Any]]]:
        """All batches of the account, the newest first with most servers."""
        after: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            listing: Any = self._client.batches.with_raw_response.list(limit=PAGE, **after)
            page = await self._answered(listing)
            listed = page.get("data")
            batches = [mapping(batch) for batch in listed] if isinstance(listed, list) else []
            yield batches
            if not (batches and page.get("has_more")):
                return
            after = {"after": self._id_in(batches[-1])}

    async def _answered(self, call: Awaitable[Any], within_s: float = CALL_S) -> Mapping[str, Any]:
        """The object that was answered. The SDK's own models take anything for one of theirs."""
        body: bytes = (await self._called(call, within_s=within_s)).content
        return parse_answer(body, self._url, self._errors)

    async def _called(self, call: Awaitable[T], *, within_s: float) -> T:
        """What ``call`` gives. Raises our errors as they are, and those of the SDK as ours; those
        of its transport come as they are from files that are read in pieces.

        Outside of the ``except``, without a cause or a context: what they raise holds the request,
        and that the key.
        """
        import httpx2
        import openai

        try:
            async with asyncio.timeout(within_s):
                return await call
        except (openai.OpenAIError, httpx2.HTTPError, TimeoutError) as raised:
            error = self._translated(raised)
        except ValueError as raised:  # the SDK, of an id such as `..`
            told = shown(str(raised), self._errors.secret)
            error = RequestRefusedError(f"{self._url} cannot be asked so: {told}")
        raise error

    def _translated(self, raised: Exception) -> ProviderError:
        import httpx2
        import openai

        if isinstance(raised, openai.APIStatusError):
            reply = raised.response
            body = reply.content if reply.is_closed else b""
            return self._errors.from_reply(reply.status_code, self._url, reply.headers.get, body)
        if isinstance(raised, openai.APITimeoutError | httpx2.TimeoutException | TimeoutError):
            return DeadlineError(f"{self._url} did not answer in time")
        cause = raised.__cause__ or raised
        why = shown(f"{type(cause).__name__}: {cause}", self._errors.secret)
        if "CERTIFICATE_VERIFY_FAILED" in why:
            return TlsError(f"{self._url} cannot be trusted ({why})")
        return ConnectError(f"{self._url} could not be asked ({why})", may_be_billed=True)

    def _unserved(self, complaint: object) -> ProviderError:
        """The error of a request that was not even tried, or whose fate nobody tells."""
        fields = mapping(complaint)
        if string(fields.get("code")) in UNSERVED:
            told = shown(string(fields.get("message")), self._errors.secret)
            return ServerError(f"{self._url}: {told}", may_be_billed=False)
        return self._errors.from_document({"error": complaint}, self._url)

    def _faults(self, listed: object) -> Iterator[tuple[int | None, ProviderError]]:
        for fault in map(mapping, listed if isinstance(listed, list) else ()):
            line = fault.get("line")
            body = as_json({"error": {key: fault.get(key) for key in ("code", "message")}})
            status = 429 if string(fault.get("code")) in QUEUE_FULL else 400
            error = self._errors.from_reply(status, self._url, lambda name: None, body)
            yield line if type(line) is int else None, error

    def _id_in(self, document: Mapping[str, Any]) -> str:
        if found := string(document.get("id")):
            return found
        raise self._errors.bad_response(self._url, "answered without an id", as_json(document))


def new_client(
    endpoint: Endpoint,
    base_url: str,
    *,
    secret: str,
    tls: ssl.SSLContext | None,
    proxy: str | None,
    token: TokenSource | None = None,
    azure: Azure | None = None,
) -> AsyncOpenAI:
    """The SDK for one address. It follows no redirect, so that the key stays here."""
    import httpx2

    from .sdk.client import new_sdk

    timeout = httpx2.Timeout(endpoint.timeout_s, connect=min(CONNECT_TIMEOUT_S, endpoint.timeout_s))
    http_client = httpx2.AsyncClient(
        follow_redirects=False,
        timeout=timeout,
        trust_env=False,
        proxy=proxy,
        verify=True if tls is None else tls,
    )
    return new_sdk(base_url, http_client, secret=secret, token=token, azure=azure, timeout=timeout)


def _new_private(path: Path) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _status_in(reply: Mapping[str, Any]) -> int | None:
    """The status of one answer, a number or its text; ``None`` where there was no answer.

    Without one, an answer that has choices is an answer nevertheless: it has been paid for.
    """
    status = reply.get("status_code")
    if isinstance(status, int | float | str) and re.fullmatch(r"[1-5]\d\d(\.0)?", str(status)):
        return int(float(status))
    return 200 if first_choice(mapping(reply.get("body"))) is not None else None


def _is_older(batch: Mapping[str, Any], moment: float) -> bool:
    created_at = batch.get("created_at")
    return isinstance(created_at, int | float) and created_at < moment


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if type(value) is int and value >= 0 else 0
