"""Who is let in: FAULTS S12 as requests on the wire, each refused with nothing changed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.made_runs import make_run, row

from .serving import Browser, Server, serving

REFUSALS = range(400, 506)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("review") / "run", [row("a-0", "An answer.")])


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    with serving(run, "-r", "ana") as server:
        yield server


@pytest.fixture(scope="module")
def browser(server: Server) -> Iterator[Browser]:
    with Browser(server.links[0]) as browser:
        server.next_link()
        yield browser


def sent(server: Server, request: bytes) -> tuple[int, str]:
    """The status, and the whole head of the answer."""
    host, _, port = server.host.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer and (block := connection.recv(65536)):
            answer += block
    head = answer.partition(b"\r\n\r\n")[0].decode()
    return int(head.split()[1]), head.lower()


HOST, COOKIE = "Host: {host}\n", "Cookie: {cookie}\n"
ORIGIN, JSON = "Origin: {origin}\n", "Content-Type: application/json\n"
POST = "POST /verdict HTTP/1.1\n"
LENGTH = "Content-Length: {length}\n"

REQUESTS = {
    "without a cookie": "GET / HTTP/1.1\n" + HOST,
    "with a made-up cookie": "GET / HTTP/1.1\n" + HOST + "Cookie: {name}=made-up\n",
    "with the cookie of another name": "GET / HTTP/1.1\n" + HOST + "Cookie: other={value}\n",
    "with the cookie as a token": "GET /?token={value} HTTP/1.1\n" + HOST,
    "with a made-up token": "GET /?token=made-up HTTP/1.1\n" + HOST,
    "with an empty token": "GET /?token= HTTP/1.1\n" + HOST,
    "with a used token": "GET /?token={used} HTTP/1.1\n" + HOST,
    "with two tokens": "GET /?token={unused}&token={unused} HTTP/1.1\n" + HOST,
    "a link ahead of time": "GET /?token={unused} HTTP/1.1\n" + HOST + "Sec-Purpose: prefetch\n",
    "a token elsewhere": "GET /row/a-0?token={unused} HTTP/1.1\n" + HOST,
    "without a host": "GET / HTTP/1.1\n" + COOKIE,
    "HTTP/1.0 without a host": "GET / HTTP/1.0\n" + COOKIE,
    "HTTP/1.0": "GET / HTTP/1.0\n" + HOST + COOKIE,
    "of a rebound name": "GET / HTTP/1.1\nHost: evil.example:{port}\n" + COOKIE,
    "of a name that begins with ours": "GET / HTTP/1.1\nHost: {host}.evil.example\n" + COOKIE,
    "of our address without its port": "GET / HTTP/1.1\nHost: 127.0.0.1\n" + COOKIE,
    "of another port": "GET / HTTP/1.1\nHost: 127.0.0.1:1\n" + COOKIE,
    "of two hosts": "GET / HTTP/1.1\n" + HOST + "Host: evil.example\n" + COOKIE,
    "of another site": "GET / HTTP/1.1\n" + HOST + COOKIE + "Sec-Fetch-Site: cross-site\n",
    "of another port's page": "GET / HTTP/1.1\n" + HOST + COOKIE + "Sec-Fetch-Site: same-site\n",
    "a row of another site's frame": "GET /row/a-0 HTTP/1.1\n"
    + HOST
    + COOKIE
    + "Sec-Fetch-Site: cross-site\n",
    "a change without a cookie": POST + HOST + ORIGIN + JSON + LENGTH,
    "a change without an origin": POST + HOST + COOKIE + JSON + LENGTH,
    "a change of the origin null": POST + HOST + COOKIE + "Origin: null\n" + JSON + LENGTH,
    "a change of a foreign origin": POST
    + HOST
    + COOKIE
    + "Origin: http://evil.example\n"
    + JSON
    + LENGTH,
    "a change of another port": POST
    + HOST
    + COOKIE
    + "Origin: http://127.0.0.1:1\n"
    + JSON
    + LENGTH,
    "a change of https": POST + HOST + COOKIE + "Origin: https://{host}\n" + JSON + LENGTH,
    "a change of our other name": POST
    + "Host: localhost:{port}\n"
    + COOKIE
    + ORIGIN
    + JSON
    + LENGTH,
    "a change of two origins": POST + HOST + COOKIE + ORIGIN + ORIGIN + JSON + LENGTH,
    "a change as text": POST + HOST + COOKIE + ORIGIN + "Content-Type: text/plain\n" + LENGTH,
    "a change as a form": POST
    + HOST
    + COOKIE
    + ORIGIN
    + "Content-Type: application/x-www-form-urlencoded\n"
    + LENGTH,
    "a change as text that mentions JSON": POST
    + HOST
    + COOKIE
    + ORIGIN
    + "Content-Type: text/plain; application/json\n"
    + LENGTH,
    "a change of no type": POST + HOST + COOKIE + ORIGIN + LENGTH,
    "a change of no length": POST + HOST + COOKIE + ORIGIN + JSON + "Transfer-Encoding: chunked\n",
    "a change of two lengths": POST
    + HOST
    + COOKIE
    + ORIGIN
    + JSON
    + LENGTH
    + "Content-Length: 1\n",
    "a change that is too large": POST
    + HOST
    + COOKIE
    + ORIGIN
    + JSON
    + "Content-Length: 1000001\n",
    "a change by GET": "GET /verdict HTTP/1.1\n" + HOST + COOKIE,
    "a change by PUT": "PUT /verdict HTTP/1.1\n" + HOST + COOKIE + ORIGIN + JSON + LENGTH,
    "an undo by DELETE": "DELETE /undo HTTP/1.1\n" + HOST + COOKIE + ORIGIN,
    "a question whether others may": "OPTIONS /verdict HTTP/1.1\n"
    + HOST
    + "Origin: http://evil.example\nAccess-Control-Request-Method: POST\n",
    "TRACE": "TRACE / HTTP/1.1\n" + HOST + COOKIE,
    "a file of the machine": "GET /row/..%2f..%2freview.jsonl HTTP/1.1\n" + HOST + COOKIE,
}


def test_there_are_thirty_requests_and_more() -> None:
    assert len(REQUESTS) >= 30


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_it_is_refused_and_nothing_changes(
    request_: str, server: Server, browser: Browser, run: Path
) -> None:
    told = {"sample_id": "a-0", "text_sha256": "", "decision": "accept"}
    shown = browser.row()
    assert shown is not None
    told["text_sha256"] = shown[1]
    body = json.dumps(told).encode()
    name, _, value = browser.cookie.partition("=")
    head = request_.format(
        host=server.host,
        port=server.host.rpartition(":")[2],
        origin=server.origin,
        cookie=browser.cookie,
        name=name,
        value=value,
        used=server.links[0].rpartition("=")[2],
        unused=server.links[-1].rpartition("=")[2],
        length=len(body),
    )
    status, answer = sent(server, head.replace("\n", "\r\n").encode() + b"\r\n" + body)
    assert status in REFUSALS, answer
    assert "access-control" not in answer
    assert "set-cookie" not in answer
    assert (run / "review.jsonl").read_bytes() == b""


def test_what_is_refused_there_is_taken_from_our_own_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [row("a-0", "An answer."), row("b-0", "Another.")])
    with serving(run) as server, Browser(server.links[0]) as browser:
        name, _, value = browser.cookie.partition("=")
        [cookie] = browser.opened.headers.get_list("set-cookie")
        assert cookie == f"{name}={value}; HttpOnly; Path=/; SameSite=strict"
        assert len(value) >= 43  # 256 bits
        assert "token" not in browser.client.get("/").text
        assert browser.decide("accept").status_code == 200
        tossed = {"Origin": browser.origin, "Cookie": f"{name}=of-another-port; {browser.cookie}"}
        again = browser.client.post("/undo", json={}, headers=tossed)
        assert again.status_code == 200


def test_every_answer_keeps_the_browser_from_loading_anything(
    server: Server, browser: Browser
) -> None:
    for path in ("/", "/row/a-0", "/row/none", "/none"):
        headers = browser.client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
