"""TLS that cannot work ends the endpoint at once; TLS that was cut short is tried again."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from one_request import KEY, REQUEST, endpoint_at, error_of, use
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import ConnectError, ProviderError, RecipeError, TlsError
from weave_async.testing.scripted_endpoint import ScriptedEndpoint, chat_reply, reset_connection

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


# --- certificates that the options name


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> dict[str, str]:
    """An authority that the machine does not trust, and a client's certificate with its key."""
    client = authority.issue_cert("client@example.org")
    parts = {
        "client_cert_file": b"".join(pem.bytes() for pem in client.cert_chain_pems),
        "client_key_file": client.private_key_pem.bytes(),
        "ca_file": authority.cert_pem.bytes(),
    }
    for name, content in parts.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    return {name: str(tmp_path / f"{name}.pem") for name in parts}


@pytest.fixture
def self_signed(tmp_path: Path) -> tuple[str, str]:
    """The files of a certificate and its key, as ``openssl req -x509`` makes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "own.key").write_bytes(key.private_bytes(*formats, serialization.NoEncryption()))
    (tmp_path / "own.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return str(tmp_path / "own.pem"), str(tmp_path / "own.key")


@pytest.fixture
def untrusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")


def serving(certificate: trustme.LeafCert, *, clients_of: trustme.CA | None = None) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients_of is not None:
        clients_of.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return ScriptedEndpoint(ssl_context=context)


def ask_with(base_url: str, **options: str) -> str:
    return use(base_url, lambda p: p.complete(REQUEST), options=options, timeout_s=5).text


@pytest.mark.usefixtures("untrusted")
def test_ca_file_of_the_options_is_trusted_in_place_of_the_machines(
    authority: trustme.CA, files: dict[str, str]
) -> None:
    with serving(authority.issue_cert("127.0.0.1")) as server:
        error = error_of(lambda: ask(server.base_url))
        assert ask_with(server.base_url, ca_file=files["ca_file"]).startswith("You said: hello")
    assert isinstance(error, TlsError)
    with serving(trustme.CA().issue_cert("127.0.0.1")) as server:
        error = error_of(lambda: ask_with(server.base_url, ca_file=files["ca_file"]))
    assert isinstance(error, TlsError)
    assert "issuer" in str(error)
    assert error.stops_endpoint


@pytest.mark.usefixtures("untrusted")
def test_certificate_that_somebody_signed_for_himself_can_be_trusted(
    tmp_path: Path, self_signed: tuple[str, str]
) -> None:
    """Its authority is itself, which pyreqwest does not take: hence OpenSSL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed)
    with ScriptedEndpoint(ssl_context=context) as server:
        assert ask_with(server.base_url, ca_file=self_signed[0]).startswith("You said: hello")


def test_server_that_demands_a_client_certificate_gets_it(
    authority: trustme.CA, files: dict[str, str]
) -> None:
    with serving(authority.issue_cert("127.0.0.1"), clients_of=authority) as server:
        assert ask_with(server.base_url, **files).startswith("You said: hello")
        both = Path(files["client_cert_file"])
        both.write_bytes(both.read_bytes() + Path(files["client_key_file"]).read_bytes())
        assert ask_with(server.base_url, client_cert_file=str(both)).startswith("You said")


@contextmanager
def demanding(certificate: trustme.LeafCert, clients_of: trustme.CA) -> Iterator[str]:
    """A server that says why it refuses a client; asyncio's would hang up without a word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    clients_of.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    def refuse() -> None:
        connection, _ = listener.accept()
        encrypted = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with encrypted:
            with suppress(ssl.SSLError):
                encrypted.do_handshake()
            with suppress(OSError):  # what is left unread would reset the connection
                while os.read(encrypted.fileno(), 65_536):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join()


@pytest.mark.parametrize("shown", [True, False], ids=["another's", "none"])
def test_server_that_refuses_our_certificate_stops_the_endpoint(
    authority: trustme.CA, files: dict[str, str], *, shown: bool
) -> None:
    if not shown:
        files = {"ca_file": files["ca_file"]}
    with demanding(authority.issue_cert("127.0.0.1"), trustme.CA()) as base_url:
        error = error_of(lambda: ask_with(base_url, **files))
    assert isinstance(error, TlsError)
    assert ("UNKNOWN CA" if shown else "CERTIFICATE REQUIRED") in str(error)


def locked_key(key: bytes) -> bytes:
    loaded = serialization.load_pem_private_key(key, None)
    how = serialization.BestAvailableEncryption(b"secret")
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return loaded.private_bytes(*formats, how)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda files: Path(files["ca_file"]).unlink(), "ca_file.*No such file"),
        (lambda files: Path(files["ca_file"]).write_text("hello"), "ca_file.*is it PEM"),
        (lambda files: Path(files["client_key_file"]).unlink(), "client_cert_file.*No such file"),
        (
            lambda files: Path(files["client_cert_file"]).write_text("hello"),
            "client_cert_file.*is it PEM",
        ),
        (
            lambda files: Path(files["client_key_file"]).write_bytes(
                trustme.CA().issue_cert("x@example.org").private_key_pem.bytes()
            ),
            "client_cert_file.*mismatch",
        ),
        (
            lambda files: Path(files["client_key_file"]).write_bytes(
                locked_key(Path(files["client_key_file"]).read_bytes())
            ),
            "client_cert_file.*unlocked",
        ),
        (lambda files: files.pop("client_cert_file"), "client_cert_file is not"),
    ],
    ids=["no file", "no PEM", "no key", "no certificate", "another's key", "locked", "key alone"],
)
def test_certificates_that_cannot_be_used_are_refused_before_anything_is_asked(
    files: dict[str, str], spoil: Callable[[dict[str, str]], object], told: str
) -> None:
    spoil(files)
    with pytest.raises(RecipeError, match=told) as caught:
        OpenAICompatibleProvider(endpoint_at("https://host/v1", options=files))
    assert caught.value.exit_code == 78


# --- proxies that the options name


@pytest.mark.parametrize("named", [(), ("ca_file",)], ids=["pyreqwest", "httpx2"])
def test_proxy_of_the_options_is_used_even_on_this_machine(
    files: dict[str, str], named: tuple[str, ...]
) -> None:
    options = {name: files[name] for name in named}
    with ScriptedEndpoint(lambda request: chat_reply("through the proxy")) as proxy:
        address = proxy.base_url.removesuffix("/v1").replace("//", "//user:pw@")
        answer = ask_with("http://127.0.0.1:9/v1", proxy=address, **options)
    assert answer == "through the proxy"
    assert proxy.requests[0].path == "http://127.0.0.1:9/v1/chat/completions"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwdw=="


@pytest.mark.parametrize("proxy", ["", "host:1", "ftp://user:pw@host", "http://", "socks5://h:x"])
def test_proxy_that_is_none_is_refused_unseen(proxy: str) -> None:
    with pytest.raises(RecipeError, match="proxy must be http://") as caught:
        OpenAICompatibleProvider(endpoint_at("https://host/v1", options={"proxy": proxy}))
    assert "pw" not in str(caught.value)


def test_key_does_not_travel_in_clear_to_a_proxy_elsewhere() -> None:
    for proxy, base_url in (
        ("http://127.0.0.1:9", "http://127.0.0.1:1/v1"),
        ("http://proxy.example:9", "https://host/v1"),
    ):
        options = {"proxy": proxy}
        OpenAICompatibleProvider(endpoint_at(base_url, api_key=SecretStr(KEY), options=options))
    here = endpoint_at("http://127.0.0.1:1/v1", api_key=SecretStr(KEY), options=options)
    with pytest.raises(RecipeError, match="in clear to the proxy"):
        OpenAICompatibleProvider(here)


def test_socks_proxy_beside_certificates_says_what_it_takes(files: dict[str, str]) -> None:
    options = {"ca_file": files["ca_file"], "proxy": "socks5://127.0.0.1:9"}
    with pytest.raises(RecipeError, match="pip install socksio"):
        use("https://host/v1", lambda p: p.complete(REQUEST), options=options)
