"""What is let in: our own page, opened by who has a link, and nothing else.

The server listens on loopback, where every page of the browser and every user of the machine can
reach it. So each request must name our own host (DNS rebinding), a change must come from our own
origin as JSON (cross-site requests; other ports of this host are the same *site*, so that a
SameSite cookie alone does not keep them out), and all but the opening of a link need a cookie.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weave_async.review.sessions import Sessions

MAX_BODY_BYTES = 1_000_000
_OWN_SITES = {"same-origin", "none"}
_JSON = {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Refusal:
    status: HTTPStatus
    why: str


class Access:
    """The outermost layer: refuses before anything of the application runs, and puts the headers
    on every response that keep a browser from doing anything else with it.

    ``hosts`` are the values of the Host header that are ours, as ``127.0.0.1:8400``. A request that
    is let in has its reviewer in ``scope["reviewer"]``, ``None`` while a link is being opened.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        sessions: Sessions,
        cookie_name: str,
        headers: Mapping[str, str],
    ) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._sessions = sessions
        self._cookie_name = cookie_name
        self._headers = [(name.lower().encode(), text.encode()) for name, text in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        if scope["type"] != "http":
            return  # no WebSocket, and nothing to start
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            scope = {**scope, "reviewer": self._reviewer(headers)}
            if scope["reviewer"] is None and not _link_token(scope):
                refusal = Refusal(
                    HTTPStatus.UNAUTHORIZED,
                    "Open this page by the link that `weave-async review` has printed: each works "
                    "once, and a new one is printed when one was used.",
                )
        if refusal is not None:
            told = PlainTextResponse(f"{refusal.why}\n", refusal.status)
            await told(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Refusal | None:
        if scope["http_version"] != "1.1":
            return Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 only.")
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return Refusal(HTTPStatus.MISDIRECTED_REQUEST, "That host is not this server's.")
        if scope["method"] not in ("GET", "POST"):
            return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "GET or POST only.")
        # A link may stand on another page, as on one that shows a terminal: it has its own secret.
        sites = headers.getlist("sec-fetch-site")
        if not _link_token(scope) and any(site not in _OWN_SITES for site in sites):
            return Refusal(HTTPStatus.FORBIDDEN, "Requests of other pages are refused.")
        if "prefetch" in headers.get("sec-purpose", headers.get("purpose", "")):
            return Refusal(HTTPStatus.FORBIDDEN, "Not ahead of time: a link works once.")
        if scope["method"] == "POST":
            return _refusal_of_change(headers, hosts[0])
        return None

    def _reviewer(self, headers: Headers) -> str | None:
        return self._sessions.reviewer_of(_cookies_named(self._cookie_name, headers))


def _refusal_of_change(headers: Headers, host: str) -> Refusal | None:
    if headers.getlist("origin") != [f"http://{host}"]:
        return Refusal(HTTPStatus.FORBIDDEN, "Changes of other origins are refused.")
    if [kind.lower() for kind in headers.getlist("content-type")] not in [[j] for j in _JSON]:
        return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send application/json.")
    lengths = headers.getlist("content-length")
    if len(lengths) != 1 or not lengths[0].isdecimal():
        return Refusal(HTTPStatus.LENGTH_REQUIRED, "Say how long the body is.")
    if int(lengths[0]) > MAX_BODY_BYTES:
        return Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {MAX_BODY_BYTES:,} bytes at a time."
        )
    return None


def _link_token(scope: Scope) -> str | None:
    """The token, where the request opens a link."""
    if scope["method"] != "GET" or scope["path"] != "/":
        return None
    given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
    return given[0] if given and len(given) == 1 else None


def _cookies_named(name: str, headers: Headers) -> Iterator[str]:
    """Every value: a cookie of the same name may have been set from another port."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                yield value
