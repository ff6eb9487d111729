"""Tokens of Entra ID (Azure AD), for endpoints that take one in place of a key."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from weave_async.errors import AuthenticationError, RecipeError

from ..endpoint import is_loopback
from ..wire.text import shown

ENVIRONMENT_TOKEN = "AZURE_OPENAI_AD_TOKEN"  # noqa: S105 - its name
ENVIRONMENT_ENDPOINT = "AZURE_OPENAI_ENDPOINT"
AZURE_DOMAINS = (
    *(".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"),
    *(".openai.azure.us", ".cognitiveservices.azure.us", ".openai.azure.cn"),
)
_SCOPE = "https://cognitiveservices.azure.com/.default"


class TokenSource:
    """Asks for a token each time it is called, away from the event loop, as that may wait.

    ``latest`` is the last one it got, which no message may show. Whatever the asking raises refuses
    the endpoint.
    """

    def __init__(self, ask: Callable[[], Any], name: str) -> None:
        self.latest = ""
        self._ask = ask
        self._name = name

    def __repr__(self) -> str:
        return f"<TokenSource {self._name}>"

    async def __call__(self) -> str:
        try:
            if inspect.iscoroutinefunction(self._ask):
                token = await self._ask()
            else:
                token = await asyncio.to_thread(self._ask)
        except Exception as exc:  # somebody else's code
            why = shown(f"{type(exc).__name__}: {exc}")
            raise AuthenticationError(f"{self._name} gave no token: {why}") from exc
        if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
            kind = type(token).__name__
            raise AuthenticationError(f"{self._name} gave no token: it returned {kind}")
        self.latest = token
        return token


def may_have_tokens(base_url: str, environ: Mapping[str, str]) -> bool:
    """Whether an address is Azure's, this machine's, or the one that the environment names.

    It may come from a ``.env`` in a folder of somebody else, and the tokens do not.
    """
    try:
        host = urlsplit(base_url).hostname or ""
        named = urlsplit(environ.get(ENVIRONMENT_ENDPOINT, "").strip())
    except ValueError:
        return False
    is_named = bool(named.netloc) and urlsplit(base_url)[:2] == named[:2]
    return is_named or host.endswith(AZURE_DOMAINS) or is_loopback(host)


def token_source(
    provider: str | None, *, azure_ad: bool, environ: Mapping[str, str]
) -> TokenSource | None:
    """The first there is of: ``package.module:function``, azure-identity, the environment."""
    if provider is not None:
        return TokenSource(_loaded(provider), provider)
    if azure_ad:
        return TokenSource(_of_azure_identity(), "DefaultAzureCredential")
    if token := environ.get(ENVIRONMENT_TOKEN, "").strip():
        return TokenSource(lambda: token, ENVIRONMENT_TOKEN)
    return None


def _loaded(path: str) -> Callable[[], Any]:
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise RecipeError(
            f"azure_ad_token_provider {path!r} cannot be loaded ({exc}); "
            "it is package.module:function"
        ) from exc
    if not callable(function):
        raise RecipeError(f"azure_ad_token_provider {path!r} is no function")
    return function  # type: ignore[no-any-return]


def _of_azure_identity() -> Callable[[], str]:
    try:
        identity = importlib.import_module("azure.identity")
    except ImportError as exc:
        raise RecipeError("azure_ad takes azure-identity: pip install azure-identity") from exc
    credential = identity.DefaultAzureCredential()
    return identity.get_bearer_token_provider(credential, _SCOPE)  # type: ignore[no-any-return]
