"""TLS that cannot work ends the endpoint at once; TLS that was cut short is tried again."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from asking import REQUEST, endpoint_at, error_of, use
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import ConnectError, ProviderError, TlsError
from weave_async.testing.scripted_endpoint import ScriptedEndpoint, reset_connection

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LONG_AGO = {
    "not_before": datetime(2019, 1, 1, tzinfo=UTC),
    "not_after": datetime(2020, 1, 1, tzinfo=UTC),
}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def trusted_authority(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "trusted.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))


def ask(base_url: str) -> str:
    return use(base_url, lambda p: p.complete(REQUEST), timeout_s=5).text


def ask_behind(certificate: trustme.LeafCert) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with ScriptedEndpoint(ssl_context=context) as server:
        return ask(server.base_url)


def error_from(behaviour: Behaviour) -> tuple[ProviderError, int]:
    """How a question ends at a server that does this with its connections, and how many came."""
    num_connections = 0

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_connections
        num_connections += 1
        await reader.read(100)
        await behaviour(reader, writer)
        writer.close()

    async def scenario() -> ProviderError:
        async with await asyncio.start_server(on_connection, "127.0.0.1", 0) as server:
            address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with OpenAICompatibleProvider(endpoint_at(address)) as provider:
                with pytest.raises(ProviderError) as caught:
                    await provider.complete(REQUEST)
                return caught.value

    return asyncio.run(scenario()), num_connections


def sends(data: bytes) -> Behaviour:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return behaviour


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset_connection(writer)


def test_authority_named_by_the_environment_is_trusted(authority: trustme.CA) -> None:
    assert ask_behind(authority.issue_cert("127.0.0.1")).startswith("You said: hello")


@pytest.mark.parametrize(
    ("issue", "why"),
    [
        (lambda authority: authority.issue_cert("127.0.0.1", **LONG_AGO), "expired"),
        (lambda authority: authority.issue_cert("other.example"), "not valid for name"),
        (lambda authority: trustme.CA().issue_cert("127.0.0.1"), "UnknownIssuer"),
    ],
    ids=["expired", "of another name", "of an unknown authority"],
)
def test_bad_certificate_stops_the_endpoint_and_names_the_settings(
    authority: trustme.CA, issue: Callable[[trustme.CA], trustme.LeafCert], why: str
) -> None:
    error = error_of(lambda: ask_behind(issue(authority)))
    assert isinstance(error, TlsError)
    assert (error.stops_endpoint, error.retryable, error.may_be_billed) == (True, False, False)
    for text in (why, "SSL_CERT_FILE", "WEAVE_ASYNC_ENDPOINTS__TEST__BASE_URL"):
        assert text in str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        bytes.fromhex("15030300020228"),  # the alert handshake_failure
        bytes.fromhex("15030300020246"),  # the alert protocol_version
    ],
    ids=["http", "ssh", "handshake_failure", "protocol_version"],
)
def test_server_that_does_not_speak_our_tls_is_asked_once(data: bytes) -> None:
    error, num_connections = error_from(sends(data))
    assert isinstance(error, TlsError)
    assert "does it speak https" in str(error)
    assert num_connections == 1


@pytest.mark.parametrize(
    "behaviour",
    [resets, sends(b""), sends(bytes.fromhex("160303007a0200"))],
    ids=["reset", "end", "end in the middle"],
)
def test_handshake_cut_short_may_be_tried_again(behaviour: Behaviour) -> None:
    error, _ = error_from(behaviour)
    assert type(error) is ConnectError
    assert error.retryable
    assert not error.may_be_billed


def test_alert_of_a_server_in_trouble_may_be_tried_again() -> None:
    error, _ = error_from(sends(bytes.fromhex("15030300020250")))  # the alert internal_error
    assert error.retryable


def test_machine_without_certificates_reaches_loopback_and_says_what_https_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    with ScriptedEndpoint() as server:
        assert ask(server.base_url)
    error = error_of(lambda: ask("https://models.invalid/v1"))
    assert isinstance(error, TlsError)
    assert "SSL_CERT_FILE" in str(error)
