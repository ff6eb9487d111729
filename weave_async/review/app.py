"""The page over HTTP: a Starlette application over a ``Review``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from weave_async.errors import WeaveError
from weave_async.review.access import MAX_BODY_BYTES, Access
from weave_async.review.pages import Pages
from weave_async.review.queue import ShownRow
from weave_async.review.reviewing import Decided, RefusedDecision, Review
from weave_async.review.sessions import Sessions

_DECIDED = TypeAdapter(Decided)


@dataclass(frozen=True, slots=True)
class Door:
    """Where the page is, and who may come in. ``cookie_name`` has the port in it: cookies know no
    ports, and two reviews may be open at once. ``on_opened`` is told whose link was used.
    """

    hosts: Collection[str]
    cookie_name: str
    sessions: Sessions
    on_opened: Callable[[str], None]


def build_app(review: Review, door: Door) -> Starlette:
    pages = Pages()
    handlers = _Handlers(review, door, pages)
    return Starlette(
        routes=[
            Route("/", handlers.next_row, methods=["GET"]),
            Route("/row/{sample_id}", handlers.row, methods=["GET"]),
            Route("/results", handlers.results, methods=["GET"]),
            Route("/verdict", handlers.verdict, methods=["POST"]),
            Route("/undo", handlers.undo, methods=["POST"]),
        ],
        middleware=[
            Middleware(
                Access,
                hosts=door.hosts,
                sessions=door.sessions,
                cookie_name=door.cookie_name,
                headers=pages.headers,
            )
        ],
        exception_handlers={
            RefusedDecision: _say_why(HTTPStatus.UNPROCESSABLE_ENTITY),
            WeaveError: _say_why(HTTPStatus.INTERNAL_SERVER_ERROR),
        },
    )


class _Handlers:
    """Decisions are taken one after another: each reads what the last has written."""

    def __init__(self, review: Review, door: Door, pages: Pages) -> None:
        self._review = review
        self._door = door
        self._pages = pages
        self._turn = asyncio.Lock()

    async def next_row(self, request: Request) -> Response:
        reviewer = request.scope["reviewer"]
        if reviewer is None or "token" in request.query_params:
            return self._open_link(request)
        frame = self._review.frame(reviewer)
        is_enough = frame.progress.done >= frame.progress.planned
        given = await asyncio.to_thread(self._review.next_for, reviewer)
        if given is None:
            words = "All rows that this review can show you were decided or skipped."
            page = self._pages.done(frame, title="That was all", words=words, can_go_on=False)
        elif is_enough and "more" not in request.query_params:
            words = "As many as were planned are decided. More make the intervals narrower."
            page = self._pages.done(frame, title="Done", words=words, can_go_on=True)
        else:
            return self._shown(reviewer, given)
        return HTMLResponse(page)

    async def row(self, request: Request) -> Response:
        given = await asyncio.to_thread(self._review.find, request.path_params["sample_id"])
        if given is None:
            return PlainTextResponse("There is no such row here.\n", HTTPStatus.NOT_FOUND)
        return self._shown(request.scope["reviewer"], given)

    async def results(self, request: Request) -> Response:
        reviewer = request.scope["reviewer"]
        async with self._turn:  # nothing is decided while it is counted
            found = await asyncio.to_thread(self._review.results)
        frame = self._review.frame(reviewer)
        return HTMLResponse(self._pages.results(frame, found, self._review.latest_of(reviewer)))

    async def verdict(self, request: Request) -> Response:
        try:
            decided = _DECIDED.validate_json(await _body(request))
        except ValidationError as error:
            raise RefusedDecision(f"That is no decision: {_first_of(error)}.") from error
        async with self._turn:
            await asyncio.to_thread(self._review.decide, request.scope["reviewer"], decided)
        return _json({"next": "/"})

    async def undo(self, request: Request) -> Response:
        async with self._turn:
            sample_id = await asyncio.to_thread(self._review.undo, request.scope["reviewer"])
        if sample_id is None:
            raise RefusedDecision("There is nothing to take back.")
        return _json({"next": f"/row/{quote(sample_id, safe='')}"})

    def _open_link(self, request: Request) -> Response:
        opened = self._door.sessions.redeem(request.query_params["token"])
        if opened is None and request.scope["reviewer"] is not None:  # their own, loaded again
            return HTMLResponse(self._pages.opened())
        if opened is None:
            words = "This link was used, or was never one: take the newest of the terminal.\n"
            return PlainTextResponse(words, HTTPStatus.UNAUTHORIZED)
        reviewer, cookie = opened
        response = HTMLResponse(self._pages.opened())
        response.set_cookie(self._door.cookie_name, cookie, httponly=True, samesite="strict")
        self._door.on_opened(reviewer)
        return response

    def _shown(self, reviewer: str, given: ShownRow) -> Response:
        review = self._review
        page = self._pages.row(
            review.frame(reviewer),
            given,
            mine=review.standing(reviewer, given),
            repeats=review.repeated_by(given),
            reasons=review.reasons,
        )
        return HTMLResponse(page)


async def _body(request: Request) -> bytes:
    """A server may send more than it said, but not more than we take."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise ClientDisconnect
    return bytes(body)


def _json(told: object) -> Response:
    return Response(orjson.dumps(told), media_type="application/json")


def _say_why(status: HTTPStatus) -> Callable[[Request, Exception], Response]:
    return lambda request, error: PlainTextResponse(f"{error}\n", status)


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
