"""Settings from the environment and from ``.env``. Nothing else in weave_async reads either.

Flag > environment > ``.env`` > recipe > default. A key belongs to the base URL that stands beside
it, under the same prefix, and is sent nowhere else.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from weave_async.errors import RecipeError
from weave_async.log_redaction import keep_out_of_logs
from weave_async.records import Endpoint
from weave_async.registry import unknown

logger = logging.getLogger(__name__)

PREFIX = "WEAVE_ASYNC_"
ENDPOINTS_PREFIX = "WEAVE_ASYNC_ENDPOINTS__"
OPTIONS_INFIX = "OPTIONS__"
DEFAULT_TIMEOUT_S, DEFAULT_DEADLINE_S = 120.0, 600.0


class EndpointSettings(BaseModel):
    """The variables of one endpoint: ``WEAVE_ASYNC_X``, or ``WEAVE_ASYNC_ENDPOINTS__NAME__X``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str | None = Field(None, description="adapter: local, openai_compatible, simulated")
    model: str | None = Field(None, description="model id")
    base_url: str | None = Field(None, description="address, up to and including /v1")
    api_key: SecretStr | None = Field(None, description="key for that address, and for no other")
    rpm: float | None = Field(None, gt=0, description="requests per minute")
    tpm: float | None = Field(None, gt=0, description="tokens per minute")
    max_concurrency: int | None = Field(None, ge=1, description="requests in flight")
    timeout_s: float | None = Field(
        None, gt=0, description="seconds for one wait (first byte, next chunk)"
    )
    deadline_s: float | None = Field(None, gt=0, description="seconds for one whole request")
    options: dict[str, str] = Field({}, description="the provider's own, as ..._OPTIONS__NAME")


_KEYS = [name for name in EndpointSettings.model_fields if name != "options"]
FOREIGN_VARIABLES = {"WEAVE_ASYNC_SERVER_API_KEY"}
"""Ours, but read elsewhere: the local model server stands alone and reads its own key."""
_FOR_ALL_ENDPOINTS = ("model", "rpm", "tpm", "max_concurrency", "timeout_s", "deadline_s")
FALLBACK_PROVIDER = "openai_compatible"
"""The adapter of an endpoint that the environment names without saying which."""
FALLBACK_VARIABLES = ("BASE_URL", "API_KEY", "MODEL")
"""What a provider with an ``environment_fallback`` also heeds under that prefix."""


@dataclass(frozen=True, slots=True)
class ProviderTraits:
    """What settings need to know of a provider's class: see ``interfaces.Provider``."""

    default_model: str | None
    environment_fallback: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """One reading of the environment, with the command line's flags on top (``with_flags``)."""

    default: EndpointSettings = field(default_factory=EndpointSettings)
    endpoints: Mapping[str, EndpointSettings] = field(default_factory=dict)
    sources: tuple[Mapping[str, str | None], ...] = field(default=(), repr=False)
    """All variables as they were found, the lower source first: for providers' fallbacks."""

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")
    ) -> Settings:
        """Read ``environ`` (the process's by default) over a ``.env`` file, if there is one.

        ``.env`` is parsed, never executed: no expansion of ``$NAME``. Raises ``RecipeError`` for a
        variable that is ours by its prefix and unknown by its name, or that has a bad value.
        """
        environ = os.environ if environ is None else environ
        stored = dotenv_values(dotenv, interpolate=False) if dotenv and dotenv.is_file() else {}
        _warn_of_readers(dotenv, stored)
        lower, higher = _scopes_in(stored), _scopes_in(environ)
        scopes = {
            scope: _joined(scope, lower.get(scope, {}), higher.get(scope, {}))
            for scope in lower | higher
        }
        return cls(
            default=_validated(PREFIX, scopes.pop(PREFIX, {})),
            endpoints={
                scope.removeprefix(ENDPOINTS_PREFIX)[:-2].lower(): _validated(scope, found)
                for scope, found in scopes.items()
            },
            sources=(stored, environ),
        )

    def with_flags(self, **flags: Any) -> Settings:
        """The same settings with those flags on top that are not ``None``."""
        given = {name: value for name, value in flags.items() if value is not None}
        everywhere = {name: value for name, value in given.items() if name in _FOR_ALL_ENDPOINTS}
        meant = given.get("provider", self.default.provider)
        return replace(
            self,
            default=_updated(self.default, given),
            endpoints={
                name: _updated(found, {**given, "provider": None} if name == meant else everywhere)
                for name, found in self.endpoints.items()
            },
        )

    def without_swap(self) -> Settings:
        """The same settings, but every name means what it names."""
        return replace(self, default=self.default.model_copy(update={"provider": None}))

    def provider_of(self, endpoint: str) -> str:
        """The provider behind an endpoint's name in a recipe, once the environment has its say."""
        name = self._name_of(endpoint)
        found = self.endpoints.get(name)
        return name if found is None else found.provider or FALLBACK_PROVIDER

    def endpoint(
        self, name: str, *, model: str | None, options: Mapping[str, Any], traits: ProviderTraits
    ) -> Endpoint:
        """The endpoint a recipe calls ``name``: its provider, address, key, model and limits."""
        swapped = self._name_of(name) != name
        name = self._name_of(name)
        provider = self.provider_of(name)
        is_named = name in self.endpoints
        found = self.endpoints[name] if is_named else self.default
        if not is_named:
            found = self._with_fallback(found, traits.environment_fallback)
        model = found.model or model or traits.default_model
        if model is None:
            raise RecipeError(
                f"endpoint '{name}' needs a model: name one with --model, WEAVE_ASYNC_MODEL, or "
                "generate.mix in the recipe"
            )
        if found.api_key is not None:
            keep_out_of_logs(found.api_key.get_secret_value().strip())
        return Endpoint(
            name=name,
            provider=provider,
            model=model,
            base_url=found.base_url,
            api_key=found.api_key,
            max_concurrency=found.max_concurrency,
            requests_per_minute=found.rpm,
            tokens_per_minute=found.tpm,
            timeout_s=found.timeout_s or self.default.timeout_s or DEFAULT_TIMEOUT_S,
            deadline_s=found.deadline_s or self.default.deadline_s or DEFAULT_DEADLINE_S,
            options={**({} if swapped else options), **found.options},
        )

    def _name_of(self, endpoint: str) -> str:
        return self.default.provider or endpoint

    def _with_fallback(self, found: EndpointSettings, prefix: str | None) -> EndpointSettings:
        """Fill gaps from ``<PREFIX>_BASE_URL`` and kin. Address and key come from one place."""
        if prefix is None:
            return found
        theirs: dict[str, Any] = {}
        for source in self.sources:
            named = {name.lower(): source.get(f"{prefix}_{name}") for name in FALLBACK_VARIABLES}
            theirs = _joined(f"{prefix}_", theirs, {k: v for k, v in named.items() if v})
        update: dict[str, Any] = {"model": found.model or theirs.get("model")}
        their_url, their_key = theirs.get("base_url"), theirs.get("api_key")
        if found.api_key is None and (
            found.base_url is None or _same_address(found.base_url, their_url)
        ):
            update["base_url"] = their_url
            update["api_key"] = SecretStr(their_key) if their_key else None
        return found.model_copy(update=update)


def variables() -> list[str]:
    """The names this module reads for one endpoint, and the one that is read elsewhere."""
    own = [PREFIX + name.upper() for name in _KEYS]
    return [*own, *sorted(FOREIGN_VARIABLES), *(f"OPENAI_{name}" for name in FALLBACK_VARIABLES)]


def _warn_of_readers(dotenv: Path | None, stored: Mapping[str, str | None]) -> None:
    """Others on this machine should not be able to read a key."""
    holds_key = any(value and name.endswith("_API_KEY") for name, value in stored.items())
    if dotenv is not None and holds_key and dotenv.stat().st_mode & 0o077:
        logger.warning("%s holds a key, and others may read it: chmod 600 %s", dotenv, dotenv)


def _scopes_in(source: Mapping[str, str | None]) -> dict[str, dict[str, Any]]:
    """The variables of one source, by the prefix they share: that of the default, or of a name."""
    scopes: dict[str, dict[str, Any]] = {}
    for variable, value in source.items():
        scope, key = _scope_of(variable)
        if not value or scope is None:
            continue
        found = scopes.setdefault(scope, {})
        if key.startswith(OPTIONS_INFIX):
            found.setdefault("options", {})[key.removeprefix(OPTIONS_INFIX).lower()] = value
        elif key.lower() in _KEYS:
            found[key.lower()] = value.strip()
        else:
            names = [scope + name.upper() for name in _KEYS]
            raise RecipeError(unknown("environment variable", variable, names))
    return scopes


def _scope_of(variable: str) -> tuple[str | None, str]:
    """``WEAVE_ASYNC_ENDPOINTS__FAST__RPM`` → its prefix up to the last ``__``, and ``RPM``."""
    if variable in FOREIGN_VARIABLES:
        return None, ""
    if variable.startswith(ENDPOINTS_PREFIX):
        name, _, key = variable.removeprefix(ENDPOINTS_PREFIX).partition("__")
        return f"{ENDPOINTS_PREFIX}{name}__", key
    if variable.startswith(PREFIX):
        return PREFIX, variable.removeprefix(PREFIX)
    return None, ""


def _joined(scope: str, lower: dict[str, Any], higher: dict[str, Any]) -> dict[str, Any]:
    """Two sources, the higher on top. A key goes only to an address of its own source.

    A ``.env`` that came with somebody's project must not direct a key of the environment.
    """
    merged = {**lower, **higher}
    if "api_key" not in merged or "base_url" not in merged:
        return merged
    of_key = higher if "api_key" in higher else lower
    if not _same_address(of_key.get("base_url"), merged["base_url"]):
        logger.warning(
            "%sAPI_KEY is not sent to %sBASE_URL: one is in the environment, the other in .env; "
            "put both in one place",
            scope,
            scope,
        )
        del merged["api_key"]
    return merged


def _over(lower: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Flags on top of settings, but for a key whose address a flag has replaced."""
    merged = {**lower, **flags}
    address = lower.get("base_url")
    if address is not None and not _same_address(address, merged["base_url"]):
        merged.pop("api_key", None)
    return merged


def _same_address(one: str | None, other: str | None) -> bool:
    return (one or "").rstrip("/") == (other or "").rstrip("/")


def _updated(found: EndpointSettings, flags: Mapping[str, Any]) -> EndpointSettings:
    known = found.model_dump(exclude_unset=True)
    provider = flags.get("provider") or known.get("provider")
    return found.model_construct(**{**_over(known, dict(flags)), "provider": provider})


def _validated(prefix: str, found: dict[str, Any]) -> EndpointSettings:
    try:
        return EndpointSettings.model_validate(found)
    except ValidationError as error:
        problem = error.errors()[0]
        name = prefix + "__".join(str(step) for step in problem["loc"]).upper()
        value = str(problem["input"])
        may_be_a_key = "api_key" in problem["loc"] or len(value) > 20
        shown = "***" if may_be_a_key else repr(value)
        raise RecipeError(f"{name}: {problem['msg']} (got {shown})") from None
