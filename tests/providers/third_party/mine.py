"""A provider as somebody else would write it: this file, and one line of an entry point."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from weave_async.errors import (
    AuthenticationError,
    BadResponseError,
    ConnectError,
    DeadlineError,
    RequestRefusedError,
    ServerError,
)
from weave_async.records import Chunk, Endpoint, Request, Response, Usage


class MyProvider:
    """One connection per request, whole answers only: simple, and all that a run needs."""

    default_max_concurrency: ClassVar[int] = 8
    default_model: ClassVar[str | None] = "my-model"
    environment_fallback: ClassVar[str | None] = None

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def complete(self, request: Request) -> Response:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        asked = {"model": request.model, "messages": messages, **request.params.as_dict()}
        answer = await self._ask("POST", "/chat/completions", asked)
        usage = Usage(answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])
        text = answer["choices"][0]["message"]["content"]
        return Response(text, "stop", usage=usage, model=answer["model"])

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        answer = await self.complete(request)
        yield Chunk(answer.text, finish_reason=answer.finish_reason, usage=answer.usage)

    async def models(self) -> Sequence[str]:
        listed = await self._ask("GET", "/models")
        return [model["id"] for model in listed["data"]]

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        try:
            async with asyncio.timeout(self._endpoint.deadline_s):
                status, answer = await self._exchange(method, path, body)
        except TimeoutError as exc:
            raise DeadlineError("no answer in time") from exc
        except OSError as exc:
            raise ConnectError(f"cannot reach {self._endpoint.base_url}: {exc}") from exc
        if status in (401, 403):
            raise AuthenticationError(f"HTTP {status}", status_code=status)
        if status != 200:
            kind = ServerError if status >= 500 else RequestRefusedError
            raise kind(f"HTTP {status}", status_code=status)
        try:
            return json.loads(answer)
        except ValueError as exc:
            raise BadResponseError("the answer is no JSON") from exc

    async def _exchange(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        address = urlsplit(self._endpoint.base_url or "")
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            content = b"" if body is None else json.dumps(body).encode()
            head = [
                f"{method} {address.path}{path} HTTP/1.1",
                f"host: {address.netloc}",
                f"content-length: {len(content)}",
                "connection: close",
            ]
            if self._endpoint.api_key is not None:
                head.append(f"authorization: Bearer {self._endpoint.api_key.get_secret_value()}")
            writer.write("\r\n".join([*head, "", ""]).encode() + content)
            replied = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(replied.partition("content-length:")[2].split("\r\n")[0])
            return int(replied.split()[1]), await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ValueError) as exc:
            raise ServerError("the connection ended too early") from exc
        finally:
            writer.close()
