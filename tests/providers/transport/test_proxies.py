"""We and pyreqwest are of one mind about which requests take a proxy."""

from __future__ import annotations

import asyncio
import os

import pytest

from one_request import REQUEST, endpoint_at
from providers.openai_compatible import OpenAICompatibleProvider
from providers.transport.http1 import Http1Transport
from providers.transport.proxies import goes_through_proxy
from providers.transport.reqwest import ReqwestTransport
from weave_async.errors import ConnectError
from weave_async.testing.scripted_endpoint import ScriptedEndpoint, chat_reply


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        (None, "models.invalid"),
        ("", "models.invalid"),
        ("models.invalid", "models.invalid"),
        ("Models.Invalid", "MODELS.invalid"),
        ("invalid", "models.invalid"),
        (".invalid", "models.invalid"),
        (".models.invalid", "models.invalid"),
        ("dels.invalid", "models.invalid"),
        ("models.invalid.", "models.invalid"),
        ("*.invalid", "models.invalid"),
        ("*", "models.invalid"),
        ("models.invalid:80", "models.invalid"),
        ("other.invalid, models.invalid", "models.invalid"),
        ("other.invalid models.invalid", "models.invalid"),
        (",,", "models.invalid"),
        (".", "models.invalid"),
        ("*", "0.0.0.0"),
        ("0.0.0.0", "0.0.0.0"),
        ("0.0.0.0/8", "0.0.0.0"),
        ("0.0.0.9/8", "0.0.0.0"),
        ("0.0.0.1/32", "0.0.0.0"),
        ("0.0.0", "0.0.0.0"),
        (".0", "0.0.0.0"),
        ("::/0", "0.0.0.0"),
        ("::/64", "[::]"),
        ("::", "[::]"),
        ("[::]", "[::]"),
        ("0.0.0.0/0", "[::]"),
    ],
)
def test_exceptions_are_those_of_pyreqwest(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str | None, host: str
) -> None:
    async def reached_through_reqwest() -> bool:
        provider = OpenAICompatibleProvider(endpoint_at(f"http://{host}:9/v1"))
        reqwest = ReqwestTransport(
            provider._base_url, provider._headers, provider._faults, is_loopback=False
        )
        try:
            reply = await reqwest.fetch(f"http://{host}:9/v1/models", None)
        except ConnectError:  # it went there itself, where nobody is
            return False
        finally:
            await reqwest.close()
        return reply.status == 200

    with ScriptedEndpoint(lambda request: chat_reply("through the proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        if no_proxy is not None:
            monkeypatch.setenv("NO_PROXY", no_proxy)
        assert goes_through_proxy(host.lower()) == asyncio.run(reached_through_reqwest())


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_proxy_for_plain_http_is_named_by(name: str) -> None:
    assert goes_through_proxy("models.invalid", {name: "http://127.0.0.1:9"})
    assert not goes_through_proxy("models.invalid", {name: ""})


def test_other_variables_name_none() -> None:
    assert not goes_through_proxy("models.invalid", {"HTTPS_PROXY": "http://127.0.0.1:9"})
    hostile = {"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://127.0.0.1:9"}
    assert not goes_through_proxy("models.invalid", hostile)


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("http://models.invalid/v1", ReqwestTransport),
        ("http://excepted.invalid/v1", Http1Transport),
        ("http://localhost/v1", Http1Transport),
        ("http://127.9.9.9/v1", Http1Transport),
        ("HTTP://[::1]/v1", Http1Transport),
        ("https://excepted.invalid/v1", ReqwestTransport),
        ("https://localhost/v1", ReqwestTransport),
    ],
)
def test_transport_is_chosen_by_scheme_and_proxy(
    monkeypatch: pytest.MonkeyPatch, base_url: str, kind: type[object]
) -> None:
    async def entered() -> object:
        async with OpenAICompatibleProvider(endpoint_at(base_url)) as provider:
            return provider._transport

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "excepted.invalid")
    assert isinstance(asyncio.run(entered()), kind)


def test_socks_proxy_of_the_options_resolves_and_carries() -> None:
    asked = bytearray()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS 5 without a password (RFC 1928); what it should connect to answers here."""
        _, num_methods = await reader.readexactly(2)
        await reader.readexactly(num_methods)
        writer.write(b"\x05\x00")
        _, _, _, _, length = await reader.readexactly(5)
        asked.extend(await reader.readexactly(length + 2))
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"choices": [{"text": "by way of a proxy"}]}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async def scenario() -> str:
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
            address = f"socks5h://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            endpoint = endpoint_at("http://models.invalid:80/v1", options={"proxy": address})
            async with OpenAICompatibleProvider(endpoint) as provider:
                return (await provider.complete(REQUEST)).text

    assert asyncio.run(scenario()) == "by way of a proxy"
    assert bytes(asked) == b"models.invalid\x00\x50"
