"""Rows 43 to 46: connections that end early, that are too few, or that lead elsewhere."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from one_request import REQUEST, error_of, use
from providers.endpoint import IDLE_CONNECTION_S
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import TlsError
from weave_async.records import Response
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_reply,
)


async def text_of(provider: OpenAICompatibleProvider) -> str:
    return (await provider.complete(REQUEST)).text


def test_quirk_43_a_connection_that_the_server_ended_while_idle_is_replaced_uncounted() -> None:
    async def act(provider: OpenAICompatibleProvider) -> list[str]:
        return [await text_of(provider) for _ in range(50)]

    headers = {"keep-alive": "timeout=5, max=100"}
    with ScriptedEndpoint(lambda _: chat_reply("hi", headers=headers, close_after=True)) as server:
        assert use(server.base_url, act) == ["hi"] * 50
    assert len(server.requests) == 50


def test_quirk_43_an_idle_connection_is_let_go_before_servers_do() -> None:
    assert IDLE_CONNECTION_S < 5.0  # of uvicorn and Node


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Trusted on this machine, as far as a test can tell."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "trusted.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    return authority


def behind_tls(authority: trustme.CA, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def test_quirk_44_http_1_1_is_spoken_to_a_server_that_would_rather_have_2(
    authority: trustme.CA,
) -> None:
    def script(request: RecordedRequest) -> Reply:
        return chat_reply(f"{request.method} in text")

    with ScriptedEndpoint(script, ssl_context=behind_tls(authority, "h2", "http/1.1")) as server:
        assert use(server.base_url, text_of) == "POST in text"


def test_quirk_45_as_many_connections_as_requests_in_flight() -> None:
    together = 150  # beyond the 100 that other clients stop at

    async def act(provider: OpenAICompatibleProvider) -> list[Response]:
        async with asyncio.timeout(60):
            return await asyncio.gather(*(provider.complete(REQUEST) for _ in range(together)))

    def held_until_all_are_here() -> Any:
        while len(server.requests) < together:
            yield 0.02
        yield b'{"choices": [{"message": {"content": "hi"}}]}'

    with ScriptedEndpoint(lambda _: Reply(body=held_until_all_are_here())) as server:
        responses = use(server.base_url, act, max_concurrency=together)
        while server.num_open_connections:  # it sees them close before it ends itself
            time.sleep(0.01)
    assert {response.text for response in responses} == {"hi"}
    assert server.num_connections == together


def test_quirk_46_a_proxy_of_the_environment_is_used_for_other_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ScriptedEndpoint(lambda _: chat_reply("through the proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        assert use("http://models.invalid/v1", text_of) == "through the proxy"
    assert proxy.requests[0].path == "http://models.invalid/v1/chat/completions"


def test_quirk_46_a_proxy_of_the_environment_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ScriptedEndpoint(lambda _: chat_reply("direct")) as server:
        assert use(server.base_url, text_of) == "direct"


def test_quirk_46_a_certificate_that_nobody_signed_stops_the_endpoint_and_says_what_to_set(
    authority: trustme.CA,
) -> None:
    with ScriptedEndpoint(ssl_context=behind_tls(trustme.CA())) as server:
        error = error_of(lambda: use(server.base_url, text_of))
    assert isinstance(error, TlsError)
    assert error.stops_endpoint
    assert "SSL_CERT_FILE" in str(error)
    with ScriptedEndpoint(ssl_context=behind_tls(authority)) as server:
        assert use(server.base_url, text_of)


def test_quirk_46_localhost_is_found_though_its_first_address_is_deaf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **more: Any) -> list[Any]:
        addresses = ("::1", "127.0.0.1") if host == "localhost" else (host,)
        return [info for address in addresses for info in real(address, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with ScriptedEndpoint(lambda _: chat_reply("hi")) as server:  # on 127.0.0.1 alone
        assert use(server.base_url.replace("127.0.0.1", "localhost"), text_of) == "hi"
