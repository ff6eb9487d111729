"""What an endpoint's fields mean to whoever speaks HTTP to it: its address, its key, its limits.

All of it is checked when a provider is made, without the network.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pyreqwest.http import Url

from weave_async.errors import RecipeError, RequestRefusedError
from weave_async.records import Endpoint, Request

from .presets import PRESETS
from .transport.faults import Faults
from .transport.interface import Limits
from .wire.errors import ErrorReader

OPENAI_BASE_URL: Final = "https://api.openai.com/v1"
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 10.0
IDLE_CONNECTION_S = 4.0
"""uvicorn and Node close an idle connection after 5 s; we must be first, or meet a reset."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint is: its base URL without the last slash, and whether on this machine."""

    base_url: str
    is_loopback: bool


def secret_of(endpoint: Endpoint) -> str:
    """The key as it goes into a header, empty where there is none."""
    secret = endpoint.api_key.get_secret_value().strip() if endpoint.api_key else ""
    if not (secret.isascii() and secret.isprintable()):
        raise RecipeError("the API key holds characters that no key has: set another")
    return secret


def address_of(endpoint: Endpoint, *, has_key: bool) -> Address:
    """Raises ``RecipeError`` where it cannot be used, or a key would travel to it in clear.

    Without ``base_url`` a key alone means OpenAI itself, as ``OPENAI_API_KEY`` always has.
    """
    if not endpoint.base_url and not has_key:
        raise RecipeError(
            f"endpoint {endpoint.name!r} has neither base_url nor API key: set "
            "WEAVE_ASYNC_BASE_URL or OPENAI_BASE_URL, or, for OpenAI itself, OPENAI_API_KEY"
        )
    base_url = (endpoint.base_url or OPENAI_BASE_URL).strip().rstrip("/")
    parts = _split_url(base_url)
    is_here = is_loopback(parts.hostname or "")
    if has_key and parts.scheme == "http" and not is_here:
        raise RecipeError(
            f"a key would travel in clear to {base_url}: use https, or leave the key out"
        )
    return Address(base_url, is_here)


def proxy_of(proxy: str | None, address: Address, *, has_key: bool) -> str | None:
    """The proxy that an option names. It is never shown: it may hold a password.

    It is used for this machine, too, and so could lead a key away from it that ``address_of`` lets
    travel in clear.
    """
    if proxy is None:
        return None
    try:
        parts = urlsplit(proxy)
        is_proxy = parts.scheme in PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_proxy = False
    if not is_proxy:
        raise RecipeError(f"proxy must be {'://, '.join(PROXY_SCHEMES)}://host:port")
    if has_key and address.base_url.startswith("http:") and not is_loopback(parts.hostname or ""):
        raise RecipeError(
            f"a key for {address.base_url} would travel in clear to the proxy: use https, or leave "
            "the key out"
        )
    return proxy


def error_reader_of(endpoint: Endpoint, secret: str) -> ErrorReader:
    return ErrorReader(
        secret=secret,
        key_advice=f"set {_variable(endpoint, 'API_KEY')} to a key that is valid there",
        address_advice=f"does {_variable(endpoint, 'BASE_URL')} end in /v1, or as it should?",
    )


def faults_of(endpoint: Endpoint, secret: str, *, max_idle: int) -> Faults:
    """The words for what goes wrong with an exchange, and the limits of one."""
    return Faults(
        secret=secret,
        address_advice=f"Its address comes from {_variable(endpoint, 'BASE_URL')}",
        limits=Limits(
            connect_timeout_s=min(CONNECT_TIMEOUT_S, endpoint.timeout_s, endpoint.deadline_s),
            timeout_s=endpoint.timeout_s,
            deadline_s=endpoint.deadline_s,
            idle_s=IDLE_CONNECTION_S,
            max_idle=max_idle,
            max_body_bytes=MAX_BODY_BYTES,
            max_error_bytes=MAX_ERROR_BYTES,
        ),
    )


def attempt_id_of(request: Request) -> str | None:
    """The name of this attempt, for the header that carries it."""
    attempt_id = request.attempt_id
    if attempt_id and not (attempt_id.isascii() and attempt_id.isprintable()):
        raise RequestRefusedError(f"attempt_id {attempt_id!r} cannot stand in a header")
    return attempt_id or None


def _variable(endpoint: Endpoint, name: str) -> str:
    """What sets this of this endpoint: a named one has variables of its own."""
    named = endpoint.name.partition("#")[0]
    known = PRESETS.get(endpoint.preset or "")
    if known is None:
        heeds_openai = endpoint.provider != "local"  # all others that get here do
        theirs: str | None = f"OPENAI_{name}" if heeds_openai else None
    else:
        theirs = known.key_variable if name == "API_KEY" else known.base_url_variable
    if named in (endpoint.provider, endpoint.preset):
        ways = ["--base-url"] if name == "BASE_URL" else []
        ways += [f"WEAVE_ASYNC_{name}", *filter(None, [theirs])]
    else:
        ways = [f"WEAVE_ASYNC_ENDPOINTS__{named.upper()}__{name}"]
        ways += filter(None, [theirs if known and name == "API_KEY" else None])
    return " or ".join(filter(None, [", ".join(ways[:-1]), ways[-1]]))


def _split_url(base_url: str) -> SplitResult:
    """Refuses all but ``http(s)://host[:port][/path]``; a refused URL is shown without secrets."""
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address = is_address and parts.port != 0
        Url(base_url)  # the transport's own opinion
    except ValueError:
        is_address = False
    if not is_address:
        raise RecipeError(
            "base_url must be http(s)://host[:port][/path], such as http://127.0.0.1:8000/v1"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise RecipeError(
            f"base_url for {parts.hostname} must not hold a user, a query or a fragment; "
            "a key belongs into WEAVE_ASYNC_API_KEY"
        )
    if parts.path.endswith("/completions"):
        raise RecipeError(f"base_url {base_url} must end before /chat/completions")
    return parts


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
