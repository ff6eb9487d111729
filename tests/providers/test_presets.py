"""The table of presets: each row must be sound, and what a run can be started with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from providers.presets import PRESETS, Service
from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.records import Preset
from weave_async.settings import ProviderTraits, Settings

NAMED = [
    "openai", "azure", "openrouter", "together", "groq", "mistral", "deepseek", "gemini",
    "anthropic", "vllm", "sglang", "llama_cpp", "llama.cpp", "ollama", "lmstudio", "tgi",
]  # fmt: skip


def test_the_usual_services_and_servers_are_there() -> None:
    assert list(PRESETS) == NAMED
    assert PRESETS["llama.cpp"] is PRESETS["llama_cpp"]


def test_the_table_is_found_by_its_entry_point() -> None:
    assert PRESETS.items() <= registry.presets().items()
    assert not registry.presets().keys() & set(registry.installed("provider"))


@pytest.mark.parametrize("name", NAMED)
def test_a_row_is_sound(name: str) -> None:
    row = PRESETS[name]
    assert isinstance(row, Service)
    assert row.title
    assert row.traps.endswith(".")
    assert urlsplit(row.docs_url).scheme == "https"
    assert row.provider in registry.installed("provider")
    assert bool(row.base_url) != bool(row.address_advice)
    for variable in row.variables:
        assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", variable)
    assert bool(row.key_variable) != (urlsplit(row.base_url or "").hostname == "127.0.0.1")


@pytest.mark.parametrize("base_url", [row.base_url for row in PRESETS.values() if row.base_url])
def test_an_address_is_https_unless_it_is_on_this_machine(base_url: str) -> None:
    parts = urlsplit(base_url)
    assert parts.scheme == ("http" if parts.hostname == "127.0.0.1" else "https")
    assert not base_url.endswith("/")
    assert (parts.username, parts.query, parts.fragment) == (None, "", "")


def _environment_for(row: Preset) -> Mapping[str, str]:
    given = {row.key_variable: "sk-test"} if row.key_variable else {}
    if row.base_url is None and row.base_url_variable:
        given[row.base_url_variable] = "https://mine.example"
    return {name: value for name, value in given.items() if name}


@pytest.mark.parametrize("name", NAMED)
def test_its_adapter_takes_what_the_preset_gives_it(name: str) -> None:
    row = PRESETS[name]
    settings = Settings.from_environment(_environment_for(row), None)
    traits = ProviderTraits(None, None)
    endpoint = settings.endpoint(name, model="m", options={}, traits=traits)
    provider = registry.load("provider", endpoint.provider)(endpoint)
    assert (row.base_url or "https://mine.example/openai/v1") in repr(provider)


@pytest.mark.parametrize("name", [name for name in NAMED if PRESETS[name].key_variable])
def test_a_service_is_not_asked_without_a_key(name: str) -> None:
    row = PRESETS[name]
    given = {k: v for k, v in _environment_for(row).items() if k != row.key_variable}
    settings = Settings.from_environment(given, None)
    with pytest.raises(RecipeError, match=f"needs a key: set {row.key_variable}"):
        settings.endpoint(name, model="m", options={}, traits=ProviderTraits(None, None))
