"""Tokens of Entra ID (Azure AD), for endpoints that take one in place of a key."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from weave_async.errors import AuthenticationError, RecipeError

from ..wire.text import shown

TokenSource = Callable[[], Awaitable[str]]

ENVIRONMENT_TOKEN = "AZURE_OPENAI_AD_TOKEN"  # noqa: S105 - its name
_SCOPE = "https://cognitiveservices.azure.com/.default"


def token_source(
    provider: str | None, *, azure_ad: bool, environ: Mapping[str, str]
) -> TokenSource | None:
    """The first there is of: ``package.module:function``, azure-identity, the environment."""
    if provider is not None:
        return _guarded(_loaded(provider), provider)
    if azure_ad:
        return _guarded(_of_azure_identity(), "DefaultAzureCredential")
    if token := environ.get(ENVIRONMENT_TOKEN, "").strip():
        return _guarded(lambda: token, ENVIRONMENT_TOKEN)
    return None


def _guarded(ask: Callable[[], Any], name: str) -> TokenSource:
    """``ask`` away from the event loop, as it may wait; whatever it raises refuses the endpoint."""

    async def token() -> str:
        try:
            if inspect.iscoroutinefunction(ask):
                answer = await ask()
            else:
                answer = await asyncio.to_thread(ask)
        except Exception as exc:  # somebody else's code
            why = shown(f"{type(exc).__name__}: {exc}")
            raise AuthenticationError(f"{name} gave no token: {why}") from exc
        if not isinstance(answer, str) or not (answer.isascii() and answer.isprintable()):
            raise AuthenticationError(f"{name} gave no token: it returned {type(answer).__name__}")
        return answer

    return token


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
