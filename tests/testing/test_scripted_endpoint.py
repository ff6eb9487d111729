"""The test double, looked at through a bare socket: what it claims to send is what it sends."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest
import trustme

from weave_async.interfaces import Provider
from weave_async.records import Endpoint, Request, Response
from weave_async.testing.conformance import Check, checks, over_http
from weave_async.testing.scripted_endpoint import (
    Reply,
    ScriptedEndpoint,
    chat_reply,
    dripped,
    error_reply,
    sse_reply,
)


@contextmanager
def connected(endpoint: ScriptedEndpoint) -> Iterator[socket.socket]:
    port = int(endpoint.base_url.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        yield client


def ask(client: socket.socket, body: bytes = b"{}", path: str = "/v1/chat/completions") -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Mine: 1\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65_536), b""))


def read_reply(client: socket.socket) -> bytes:
    """One reply with a content-length, and no byte more."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(65_536)
    return head + body


def talk(reply: Reply) -> bytes:
    """All that a client gets for one request until the server hangs up."""
    with ScriptedEndpoint([reply]) as endpoint, connected(endpoint) as client:
        ask(client)
        client.settimeout(0.5)
        received = b""
        try:
            while piece := client.recv(65_536):
                received += piece
        except TimeoutError:
            pass
        return received


def test_requests_are_logged_as_they_arrive() -> None:
    before_s = time.monotonic()
    with ScriptedEndpoint() as endpoint, connected(endpoint) as client:
        ask(client, b'{"messages": []}')
        client.recv(10)
    (request,) = endpoint.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["x-mine"] == "1"
    assert request.body == {"messages": []}
    assert before_s <= request.arrived_s <= time.monotonic()


def test_replies_are_given_in_order_and_then_the_echo() -> None:
    with ScriptedEndpoint([error_reply(429), error_reply(500)]) as endpoint:
        with connected(endpoint) as client:
            statuses = []
            for _ in range(3):
                ask(client, json.dumps({"messages": [{"content": "ping"}]}).encode())
                answer = read_reply(client)
                statuses.append(answer.split()[1])
    assert statuses == [b"429", b"500", b"200"]
    assert b"You said: ping" in answer
    assert endpoint.num_connections == 1


def test_content_length_is_true_unless_it_is_told_to_lie() -> None:
    assert b"content-length: 3\r\n\r\nabc" in talk(Reply(body=b"abc"))
    assert b"content-length: 9\r\n\r\nabc" in talk(Reply(body=b"abc", content_length=9))


def test_pieces_are_sent_chunked_and_end_with_a_zero_chunk() -> None:
    assert talk(Reply(body=[b"ab", 0.01, b"c"])).endswith(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


def test_body_may_be_ended_by_closing() -> None:
    with ScriptedEndpoint([Reply(body=b"abc", framing="close")]) as endpoint:
        with connected(endpoint) as client:
            ask(client)
            answer = read_all(client)
    assert answer.endswith(b"\r\n\r\nabc")
    assert b"content-length" not in answer


def test_body_is_cut_where_the_script_says() -> None:
    answer = talk(Reply(body=b"abcdef", cut_after=4))
    assert answer.endswith(b"content-length: 6\r\n\r\nabcd")


def test_reset_is_a_reset() -> None:
    with ScriptedEndpoint([Reply(body=[b"abc", 0.05], reset=True)]) as endpoint:
        with connected(endpoint) as client, pytest.raises(ConnectionResetError):
            ask(client)
            read_all(client)


def test_delays_are_kept() -> None:
    reply = Reply(body=dripped(b"abc", 0.05), head_delay_s=0.1, body_delay_s=0.6, framing="close")
    with ScriptedEndpoint([reply]) as endpoint, connected(endpoint) as client:
        started = time.monotonic()
        ask(client)
        assert client.recv(9) == b"HTTP/1.1 "
        assert 0.1 <= time.monotonic() - started < 0.7
        assert read_all(client).endswith(b"abc")
        assert time.monotonic() - started >= 0.85


def test_raw_bytes_are_sent_as_they_stand() -> None:
    assert talk(Reply(raw=b"garbage")) == b"garbage"


def test_connection_is_closed_unannounced_after_a_whole_reply() -> None:
    with ScriptedEndpoint([chat_reply("a", close_after=True)]) as endpoint:
        with connected(endpoint) as client:
            ask(client)
            answer = read_all(client)
    assert b"connection: close" not in answer.lower()
    assert json.loads(answer.split(b"\r\n\r\n")[1])["choices"][0]["message"]["content"] == "a"


def test_events_end_with_done() -> None:
    answer = talk(sse_reply([{"a": 1}, "plain", b"\xff"], framing="close"))
    assert answer.endswith(b'data: {"a":1}\n\ndata: plain\n\ndata: \xff\n\ndata: [DONE]\n\n')


def test_client_that_leaves_is_noticed_while_a_reply_hangs() -> None:
    with ScriptedEndpoint([Reply(head_delay_s=60)]) as endpoint:
        with connected(endpoint) as client:
            ask(client)
            until(lambda: len(endpoint.requests) == 1)
            assert endpoint.num_open_connections == 1
        until(lambda: endpoint.num_open_connections == 0)


def test_next_request_sent_early_is_not_lost() -> None:
    with ScriptedEndpoint([chat_reply("a", head_delay_s=0.1), chat_reply("b")]) as endpoint:
        with connected(endpoint) as client:
            ask(client)
            ask(client)
            until(lambda: len(endpoint.requests) == 2)


def test_leaving_ends_hanging_replies_and_the_thread() -> None:
    before = threading.active_count()
    started = time.monotonic()
    with ScriptedEndpoint([Reply(head_delay_s=60)]) as endpoint, connected(endpoint) as client:
        ask(client)
        until(lambda: len(endpoint.requests) == 1)
    assert threading.active_count() == before
    assert time.monotonic() - started < 5


def test_mistake_in_the_script_is_raised_on_leaving() -> None:
    with pytest.raises(ZeroDivisionError):
        with ScriptedEndpoint(lambda request: Reply(status=1 // 0)) as endpoint:
            with connected(endpoint) as client:
                ask(client)
                assert client.recv(10) == b""


def test_unknown_path_is_404() -> None:
    with ScriptedEndpoint() as endpoint, connected(endpoint) as client:
        ask(client, path="/v1/what")
        assert client.recv(65_536).startswith(b"HTTP/1.1 404 Not Found")


class _Careless:
    """A provider that breaks each promise: the suite must see it."""

    default_max_concurrency = 1
    default_model = None
    environment_fallback = None

    def __init__(self, endpoint: Endpoint) -> None:
        pass

    async def __aenter__(self) -> _Careless:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    async def complete(self, request: Request) -> Response:
        return Response(text=None, finish_reason="stop")  # type: ignore[arg-type]

    async def stream(self, request: Request):  # type: ignore[no-untyped-def]
        if request is None:
            yield

    async def models(self) -> list[str]:
        return []


@pytest.mark.parametrize("check", checks(), ids=str)
def test_conformance_suite_can_fail(check: Check) -> None:
    careless: type[Provider] = _Careless  # type: ignore[assignment]
    with over_http(careless) as provider_for, pytest.raises((AssertionError, BaseExceptionGroup)):
        asyncio.run(check(provider_for))


def test_checks_can_be_limited_to_some_kinds() -> None:
    assert {check.kind for check in checks("healthy", "slow")} == {"healthy", "slow"}


def until(condition: object, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


FLOOD = Reply(body=b"x" * 8_000_000)


@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize("request_line", [b"", b"GET /v1/models HTTP/1.1\r\n\r\n"])
def test_leaving_closes_the_connections_of_clients_that_stay(
    secured: bool, request_line: bytes, recwarn: pytest.WarningsRecorder
) -> None:
    """Those just taken, those with a handshake to come, those that leave an answer unread."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if secured else None
    if context is not None:
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with ExitStack() as clients:
        for wait_s in (0.0, 0.05):
            with ScriptedEndpoint(lambda request: FLOOD, ssl_context=context) as endpoint:
                address = ("127.0.0.1", urlsplit(endpoint.base_url).port)
                for number in range(30):
                    client = clients.enter_context(socket.create_connection(address))
                    client.settimeout(5)
                    if secured and number % 2:
                        client = clients.enter_context(_unverified().wrap_socket(client))
                    client.sendall(request_line)
                time.sleep(wait_s)
        gc.collect()
    assert not [str(warning.message) for warning in recwarn]


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_a_body_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    """A delayed ACK takes 40 ms; of twenty replies on one connection, none should wait for it."""
    reply = Reply(body=[b"begin", b"end"])
    with ScriptedEndpoint(lambda request: reply) as endpoint, connected(endpoint) as client:
        begun_s = time.monotonic()
        for _ in range(20):
            client.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += client.recv(65536)
        assert time.monotonic() - begun_s < 20 * 0.04
