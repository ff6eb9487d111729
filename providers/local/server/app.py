"""The HTTP side: a Starlette app over an `Engine`. Knows OpenAI's endpoints, not torch."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, TypeVar

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .answer import Answer
from .errors import ApiError, BodyTooLarge, InvalidRequest, Unauthorized
from .generation import GenerationGroup, GenerationRequest
from .protocol import ChatRequest, CompletionRequest, parse_chat, parse_completion
from .replies import ChatReply, CompletionReply, Reply
from .service import ServedModel, Service
from .text import TextReader

MAX_BODY_BYTES = 4 * 1024 * 1024

T = TypeVar("T")


def build_app(service: Service, *, api_key: str | None, allowed_hosts: Sequence[str]) -> Starlette:
    """`allowed_hosts`: the Host headers answered ("*": any)."""
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts)]
    if api_key is not None:
        middleware.append(Middleware(_RequireKey, api_key=api_key))
    return Starlette(
        routes=[
            Route("/v1/chat/completions", _ChatEndpoint(service), methods=["POST"]),
            Route("/v1/completions", _CompletionEndpoint(service), methods=["POST"]),
            Route("/v1/models", partial(_models, service)),
            Route("/v1/models/{name:path}", partial(_model, service)),
            Route("/health", partial(_health, service)),
            Route("/metrics", partial(_metrics, service)),
        ],
        middleware=middleware,
        exception_handlers={
            ApiError: _answer_api_error,
            HTTPException: _answer_http_error,
            Exception: _answer_bug,
        },
    )


class _GenerateEndpoint:
    """One generating endpoint, as an ASGI app: its `with` then covers the response being sent."""

    reply_type: type[Reply]

    def __init__(self, service: Service) -> None:
        self._service = service

    def parse(self, body: bytes) -> Any:
        raise NotImplementedError

    def num_prompts(self, asked: Any) -> int:
        raise NotImplementedError

    def encode(self, asked: Any) -> list[Sequence[int]]:
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asked = self.parse(await _read_body(Request(scope, receive)))
            service = self._service
            service.require_model(asked.model)
            service.require_room(self.num_prompts(asked) * asked.params.n)
            prompts = await service.encode(partial(self.encode, asked))
            delivery = asked.delivery
            # Whoever needs no news before the end costs the event loop nothing until then.
            incremental = delivery.stream or bool(asked.params.stops)
            requests = service.plan(prompts, asked.params, incremental=incremental)
            with service.generate(requests) as group:
                answer = self._answer(asked, requests, group, sum(map(len, prompts)))
                if delivery.stream:
                    sending = _send_events(send, answer, include_usage=delivery.include_usage)
                    await _unless_client_leaves(receive, sending)
                else:
                    body = await _unless_client_leaves(receive, answer.whole())
                    await _json(body)(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to be told anything; leaving the `with` cancelled the rest
        except ApiError as exc:
            self._service.metrics.answered_with_error(exc.status_code)
            raise

    def _answer(
        self,
        asked: Any,
        requests: Sequence[GenerationRequest],
        group: GenerationGroup,
        input_tokens: int,
    ) -> Answer:
        model, params = self._service.model, asked.params
        vocabulary = model.codec.vocabulary
        return Answer(
            reply=self.reply_type(model.name, model.fingerprint, vocabulary),
            group=group,
            readers=[TextReader(vocabulary, params.stops, r.end_ids) for r in requests],
            input_tokens=input_tokens,
            with_logprobs=params.sampling.num_logprobs is not None,
        )


class _ChatEndpoint(_GenerateEndpoint):
    reply_type = ChatReply

    def parse(self, body: bytes) -> ChatRequest:
        return parse_chat(body)

    def num_prompts(self, asked: ChatRequest) -> int:
        return 1

    def encode(self, asked: ChatRequest) -> list[Sequence[int]]:
        return [self._service.model.codec.encode_chat(asked.messages)]


class _CompletionEndpoint(_GenerateEndpoint):
    reply_type = CompletionReply

    def parse(self, body: bytes) -> CompletionRequest:
        return parse_completion(body)

    def num_prompts(self, asked: CompletionRequest) -> int:
        return len(asked.prompts)

    def encode(self, asked: CompletionRequest) -> list[Sequence[int]]:
        codec = self._service.model.codec
        return [codec.encode(p) if isinstance(p, str) else p for p in asked.prompts]


async def _send_events(send: Send, answer: Answer, *, include_usage: bool) -> None:
    async def write(events: bytes) -> None:
        await send({"type": "http.response.body", "body": events, "more_body": True})

    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await answer.write_events(write, include_usage=include_usage)
    await send({"type": "http.response.body"})


async def _models(service: Service, request: Request) -> Response:
    return _json({"object": "list", "data": [_model_body(service.model)]})


async def _model(service: Service, request: Request) -> Response:
    service.require_model(request.path_params["name"])
    return _json(_model_body(service.model))


def _model_body(model: ServedModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "local",
        "max_model_len": model.context_tokens,
    }


async def _health(service: Service, request: Request) -> Response:
    state = service.engine.state()
    body = {
        "status": "ok" if state.failure is None else "failed",
        "model": service.model.name,
        "running": state.num_running,
        "waiting": state.num_waiting,
        "generated_tokens": state.generated_tokens,
        "failure": state.failure,
    }
    return _json(body, status_code=200 if state.failure is None else 503)


async def _metrics(service: Service, request: Request) -> Response:
    text = service.metrics.render(service.engine.state())
    return Response(text, media_type="text/plain; version=0.0.4")


async def _read_body(request: Request) -> bytes:
    """The body up to its limit. Past it, read on for a while so that the client hears the 413."""
    chunks, size = [], 0
    if int(request.headers.get("content-length") or 0) <= 4 * MAX_BODY_BYTES:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= MAX_BODY_BYTES:
                chunks.append(chunk)
            elif size > 4 * MAX_BODY_BYTES:
                break
        if size <= MAX_BODY_BYTES:
            return b"".join(chunks)
    raise BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes; send less at once")


async def _unless_client_leaves(receive: Receive, work: Awaitable[T]) -> T:
    """Wait for `work`, or raise `ClientDisconnect` and cancel it when the client is gone."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_client_leaves(receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _RequireKey:
    """401 without `Authorization: Bearer <key>`. /health stays open: it tells no text."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if scope["path"] == "/health" or hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
        else:
            error = Unauthorized("a valid key is needed: send 'Authorization: Bearer <key>'")
            await _answer(error)(scope, receive, send)


async def _answer_api_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ApiError)
    return _answer(exc)


async def _answer_http_error(request: Request, exc: Exception) -> Response:
    """Starlette's own: no such route, or not with this method."""
    assert isinstance(exc, HTTPException)
    error = InvalidRequest(f"{request.method} {request.url.path}: {exc.detail}", code="not_found")
    return _json(error.body(), status_code=exc.status_code, headers=exc.headers)


async def _answer_bug(request: Request, exc: Exception) -> Response:
    """An error nobody foresaw: the client learns its kind, the log has the traceback."""
    return _answer(ApiError(f"unexpected {type(exc).__name__}; see the server's log"))


def _answer(error: ApiError) -> Response:
    return _json(error.body(), status_code=error.status_code, headers=error.headers)


def _json(body: Any, *, status_code: int = 200, headers: Any = None) -> Response:
    return Response(orjson.dumps(body), status_code, headers, media_type="application/json")
