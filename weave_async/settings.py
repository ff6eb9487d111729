"""Settings from the environment and from ``.env``. Nothing else in weave_async reads either.

Flag > environment > ``.env`` > recipe > default. A key belongs to the base URL that stands beside
it, under the same prefix, and is sent nowhere else. Where a preset stands there instead, its
address counts as the base URL; the key in the preset's own variable belongs to its origin.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from weave_async.binding import joined, origin, over, same_address, with_suffix
from weave_async.errors import RecipeError
from weave_async.log_redaction import keep_out_of_logs
from weave_async.records import Endpoint, Preset
from weave_async.registry import preset, presets, unknown

logger = logging.getLogger(__name__)

PREFIX = "WEAVE_ASYNC_"
ENDPOINTS_PREFIX = "WEAVE_ASYNC_ENDPOINTS__"
OPTIONS_INFIX = "OPTIONS__"
DEFAULT_TIMEOUT_S, DEFAULT_DEADLINE_S = 120.0, 600.0


class EndpointSettings(BaseModel):
    """The variables of one endpoint: ``WEAVE_ASYNC_X``, or ``WEAVE_ASYNC_ENDPOINTS__NAME__X``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str | None = Field(
        None, description="adapter (local, simulated) or preset (groq, vllm)"
    )
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
    mode: Literal["live", "batch"] | None = Field(
        None, description="live, or batch: as files to the endpoint's batch API, within a day"
    )
    options: dict[str, str] = Field({}, description="the provider's own, as ..._OPTIONS__NAME")


_KEYS = [name for name in EndpointSettings.model_fields if name != "options"]
FOREIGN_VARIABLES = {"WEAVE_ASYNC_SERVER_API_KEY", "WEAVE_ASYNC_LOCAL_MEMORY_GB"}
"""Ours, but read elsewhere: the local model server stands alone and reads its own key, and the
provider that starts it knows what the machine has for all of them."""
_FOR_ALL_ENDPOINTS = ("model", "rpm", "tpm", "max_concurrency", "timeout_s", "deadline_s", "mode")
FALLBACK_PROVIDER = "openai_compatible"
"""The adapter of an endpoint that the environment names without saying which."""
FALLBACK_VARIABLES = ("BASE_URL", "API_KEY", "MODEL")
"""What a provider with an ``environment_fallback`` also heeds under that prefix."""


@dataclass(frozen=True, slots=True)
class ProviderTraits:
    """What settings need to know of a provider's class: see ``interfaces.Provider``."""

    default_model: str | None
    environment_fallback: str | None
    trusting_options: Collection[str] = ()


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
        variable that is ours by its prefix and unknown by its name, or that has a bad value, and
        for one of ``.env`` that would import code.
        """
        environ = os.environ if environ is None else environ
        stored = dotenv_values(dotenv, interpolate=False) if dotenv and dotenv.is_file() else {}
        _warn_of_readers(dotenv, stored)
        lower, higher = _scopes_in(stored), _scopes_in(environ)
        _refuse_code_named_in(lower)
        scopes = {
            scope: joined(lower.get(scope, {}), higher.get(scope, {}), _variables_in(scope))
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

    @property
    def vocabularies(self) -> Path | None:
        """Where tiktoken keeps those that it has, in its own order; an empty name is none."""
        found = {name: value for source in self.sources for name, value in source.items()}
        named = found.get("TIKTOKEN_CACHE_DIR", found.get("DATA_GYM_CACHE_DIR"))
        if named is None:
            return Path(tempfile.gettempdir(), "data-gym-cache")
        return Path(named) if named else None

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
        named = self._provider_or_preset(self._name_of(endpoint))
        known = preset(named)
        return named if known is None else known.provider

    def endpoint(
        self,
        name: str,
        *,
        model: str | None,
        options: Mapping[str, Any],
        traits: ProviderTraits,
        mode: Literal["live", "batch"] | None = None,
    ) -> Endpoint:
        """The endpoint a recipe calls ``name``: its provider, address, key, model and limits."""
        swapped = self._name_of(name) != name
        name = self._name_of(name)
        provider = self.provider_of(name)
        preset_name = self._provider_or_preset(name)
        known = preset(preset_name)
        is_named = name in self.endpoints
        found = self.endpoints[name] if is_named else self.default
        if known is not None:
            found = self._with_preset(found, preset_name, known, is_its_own=is_named)
        elif not is_named:
            found = self._with_fallback(found, traits.environment_fallback)
        model = found.model or model or traits.default_model
        if model is None:
            raise RecipeError(
                f"endpoint '{name}' needs a model: name one with --model, WEAVE_ASYNC_MODEL, or "
                "generate.mix in the recipe"
            )
        self._require_own(
            traits.trusting_options, name, {} if swapped else options, found, is_named=is_named
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
            options={
                **(known.options if known else {}),
                **({} if swapped else options),
                **found.options,
            },
            private_options=frozenset(traits.trusting_options),
            preset=preset_name if known else None,
            mode=found.mode or mode or "live",
        )

    def _require_own(
        self,
        trusting: Collection[str],
        name: str,
        of_recipe: Mapping[str, Any],
        found: EndpointSettings,
        *,
        is_named: bool,
    ) -> None:
        """Refuse options that say who may see a key, where somebody else may have written them.

        A proxy and a file of certificates together read all that goes through them. A recipe is
        handed on, and a ``.env`` lies in folders of others: whoever wrote its key may lead it.
        """
        prefix = f"{ENDPOINTS_PREFIX}{name.upper()}__" if is_named else PREFIX
        for option in trusting:
            variable = f"{prefix}{OPTIONS_INFIX}{option.upper()}"
            if option in of_recipe:
                raise RecipeError(
                    f"option '{option}' of '{name}' decides who sees a key, and a recipe may come "
                    f"from anybody: set {variable} instead"
                )
            if option in found.options and not self._is_own(option, found):
                raise RecipeError(
                    f"{variable} stands in .env, and the key in the environment: whoever wrote the "
                    "one would see the other. Put both in one place"
                )

    def _is_own(self, option: str, found: EndpointSettings) -> bool:
        """Whether an option comes from where the key comes from, or from the environment."""
        if found.api_key is None or not self.sources:
            return True
        stored, environ = self.sources
        ending, value = f"{OPTIONS_INFIX}{option.upper()}", found.options[option]

        def is_in(source: Mapping[str, str | None]) -> bool:
            return any(n.upper().endswith(ending) and source[n] == value for n in source)

        key = found.api_key.get_secret_value().strip()
        is_of_dotenv = is_in(stored) and not is_in(environ)  # else it may be a flag's
        return not is_of_dotenv or key in {known.strip() for known in stored.values() if known}

    def _name_of(self, endpoint: str) -> str:
        return self.default.provider or endpoint

    def _provider_or_preset(self, name: str) -> str:
        """What an endpoint's own name, or the provider set for it, stands for.

        One that the environment calls like a preset is that preset, unless it has another address.
        """
        found = self.endpoints.get(name)
        if found is None:
            return name
        is_like_a_preset = found.base_url is None and preset(name) is not None
        return found.provider or (name if is_like_a_preset else FALLBACK_PROVIDER)

    def _with_fallback(self, found: EndpointSettings, prefix: str | None) -> EndpointSettings:
        """Fill gaps from ``<PREFIX>_BASE_URL`` and kin. Address and key come from one place."""
        if prefix is None:
            return found
        theirs = self._theirs({name.lower(): f"{prefix}_{name}" for name in FALLBACK_VARIABLES})
        update: dict[str, Any] = {"model": found.model or theirs.get("model")}
        their_url, their_key = theirs.get("base_url"), theirs.get("api_key")
        if found.api_key is None and (
            found.base_url is None or same_address(found.base_url, their_url)
        ):
            update["base_url"] = their_url
            update["api_key"] = SecretStr(their_key) if their_key else None
        return found.model_copy(update=update)

    def _with_preset(
        self, found: EndpointSettings, name: str, known: Preset, *, is_its_own: bool
    ) -> EndpointSettings:
        """Fill gaps from a preset and its variables: its key goes to its own origin only."""
        theirs = self._theirs(
            {
                "base_url": known.base_url_variable,
                "api_key": known.key_variable,
                "model": known.model_variable,
            },
            address=known.base_url,
        )
        moved_to = theirs.get("base_url")
        their_url = with_suffix(moved_to, known.base_url_suffix) if moved_to else known.base_url
        base_url, key = found.base_url or their_url, found.api_key
        if base_url is None:
            raise RecipeError(
                f"'{name}' needs the address that is yours: {known.address_advice or 'name it'}; "
                "--base-url and WEAVE_ASYNC_BASE_URL take it with its whole path"
            )
        is_for_it = is_its_own or found.base_url is not None or found.provider == name
        if key is not None and not is_for_it:
            logger.warning(
                "WEAVE_ASYNC_API_KEY is not sent to '%s': set WEAVE_ASYNC_PROVIDER=%s beside it",
                name,
                name,
            )
            key = None
        is_at_home = origin(base_url) == origin(their_url)
        if key is None and is_at_home and theirs.get("api_key"):
            key = SecretStr(theirs["api_key"])
        is_moved = moved_to is not None and known.base_url is not None  # it may need no key there
        if key is None and known.key_variable and is_at_home and not is_moved:
            raise RecipeError(
                f"'{name}' needs a key: set {known.key_variable}, in the environment or in .env"
            )
        if key is None and theirs.get("api_key"):
            logger.warning(
                "%s is sent to %s only, and another address is set for '%s'",
                known.key_variable,
                known.base_url or f"the address in {known.base_url_variable}",
                name,
            )
        update = {"base_url": base_url, "api_key": key, "model": found.model or theirs.get("model")}
        return found.model_copy(update=update)

    def _theirs(
        self, variables: Mapping[str, str | None], *, address: str | None = None
    ) -> dict[str, Any]:
        """What variables of others say, by the field that each stands for.

        Without a variable for it, the address of a key is ``address``.
        """
        theirs: dict[str, Any] = {}
        for source in self.sources:
            named = {field: source.get(name) for field, name in variables.items() if name}
            found = {field: value.strip() for field, value in named.items() if value}
            theirs = joined(theirs, found, variables, address=address)
        return theirs


def variable_of(endpoint: str, field: str) -> str:
    """What to set for one field of an endpoint that the environment names."""
    return f"{ENDPOINTS_PREFIX}{endpoint}__{field}".upper()


def variables() -> list[str]:
    """The names this module reads for one endpoint, and those that are read elsewhere.

    Presets that are installed from elsewhere have variables of their own.
    """
    own = [PREFIX + name.upper() for name in _KEYS]
    theirs = {name for known in presets().values() for name in known.variables}
    theirs |= {f"OPENAI_{name}" for name in FALLBACK_VARIABLES}
    return [*own, *sorted(FOREIGN_VARIABLES), *sorted(theirs)]


def variables_of_others(prefix: str) -> dict[str, str]:
    """Variables of a library that reads them itself, where we need to know what it will read."""
    return {name: value for name, value in os.environ.items() if name.startswith(prefix)}


def environment_without(prefix: str) -> dict[str, str]:
    """What a process is given that is to have none of those variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}


def _warn_of_readers(dotenv: Path | None, stored: Mapping[str, str | None]) -> None:
    """Others on this machine should not be able to read a key."""
    holds_key = any(value and name.endswith("_API_KEY") for name, value in stored.items())
    if dotenv is not None and holds_key and dotenv.stat().st_mode & 0o077:
        logger.warning("%s holds a key, and others may read it: chmod 600 %s", dotenv, dotenv)


def _refuse_code_named_in(stored: Mapping[str, Mapping[str, Any]]) -> None:
    """A ``.env`` may have come with somebody's project: what it names must not be imported."""
    for scope, found in stored.items():
        if ":" in found.get("provider", ""):
            raise RecipeError(
                f"{scope}PROVIDER={found['provider']} in .env names code to import, which only the "
                "environment, a flag or a recipe may: set it there"
            )


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


def _variables_in(scope: str) -> dict[str, str | None]:
    return {name: scope + name.upper() for name in _KEYS}


def _updated(found: EndpointSettings, flags: Mapping[str, Any]) -> EndpointSettings:
    known = found.model_dump(exclude_unset=True)
    given = {name: value for name, value in flags.items() if value is not None}
    return found.model_construct(**over(known, given))


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
