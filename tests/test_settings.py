"""Settings: which source wins, and which address gets which key."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from weave_async.errors import RecipeError
from weave_async.records import Endpoint
from weave_async.settings import ProviderTraits, Settings

LOCAL = ProviderTraits(default_model="small", environment_fallback=None)
OPENAI_LIKE = ProviderTraits(default_model=None, environment_fallback="OPENAI")


def settings_of(dotenv: str | None = None, **environ: str) -> Settings:
    path = Path("test.env")
    if dotenv is not None:
        path.write_text(dotenv)
    return Settings.from_environment(environ, path)


def resolve(settings: Settings, name: str = "local", model: str | None = None) -> Endpoint:
    traits = LOCAL if settings.provider_of(name) == "local" else OPENAI_LIKE
    return settings.endpoint(name, model=model, options={}, traits=traits)


def key_of(endpoint: Endpoint) -> str | None:
    return endpoint.api_key.get_secret_value() if endpoint.api_key else None


def test_a_flag_beats_the_environment_beats_dotenv_beats_the_recipe() -> None:
    dotenv = "WEAVE_ASYNC_MODEL=from-dotenv\n"
    assert resolve(settings_of(), model="from-recipe").model == "from-recipe"
    assert resolve(settings_of(dotenv), model="from-recipe").model == "from-dotenv"
    in_environment = settings_of(dotenv, WEAVE_ASYNC_MODEL="from-env")
    assert resolve(in_environment, model="from-recipe").model == "from-env"
    flagged = in_environment.with_flags(model="from-flag")
    assert resolve(flagged, model="from-recipe").model == "from-flag"


def test_without_a_word_the_providers_own_model_is_used() -> None:
    assert resolve(settings_of()).model == "small"


def test_the_provider_of_the_environment_swaps_whatever_the_recipe_names() -> None:
    settings = settings_of(WEAVE_ASYNC_PROVIDER="simulated")
    assert settings.provider_of("local") == "simulated"
    assert resolve(settings, "local", model="m").provider == "simulated"


def test_options_of_the_recipe_do_not_follow_to_a_swapped_provider() -> None:
    settings = settings_of(WEAVE_ASYNC_PROVIDER="simulated", WEAVE_ASYNC_OPTIONS__LATENCY_S="0.5")
    endpoint = settings.endpoint("local", model="m", options={"threads": 2}, traits=LOCAL)
    assert endpoint.options == {"latency_s": "0.5"}


def test_an_endpoint_named_in_the_environment_has_its_own_settings() -> None:
    settings = settings_of(
        WEAVE_ASYNC_API_KEY="key-of-default",
        WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL="https://fast.example/v1",
        WEAVE_ASYNC_ENDPOINTS__FAST__API_KEY="key-of-fast",
        WEAVE_ASYNC_ENDPOINTS__FAST__RPM="60",
    )
    endpoint = resolve(settings, "fast", model="big")
    assert endpoint.provider == "openai_compatible"
    assert (endpoint.base_url, key_of(endpoint)) == ("https://fast.example/v1", "key-of-fast")
    assert endpoint.requests_per_minute == 60


def test_openai_variables_fill_gaps_for_providers_that_heed_them_only() -> None:
    environ = {
        "OPENAI_BASE_URL": "https://o.example/v1",
        "OPENAI_API_KEY": "sk-o",
        "OPENAI_MODEL": "o-model",
    }
    openai_like = resolve(settings_of(**environ), "openai_compatible")
    assert (openai_like.base_url, key_of(openai_like)) == ("https://o.example/v1", "sk-o")
    assert openai_like.model == "o-model"
    local = resolve(settings_of(**environ))
    assert (local.base_url, local.api_key, local.model) == (None, None, "small")


@pytest.mark.parametrize(
    ("environ", "flags"),
    [
        ({"OPENAI_API_KEY": "sk-o", "WEAVE_ASYNC_BASE_URL": "https://other.example/v1"}, {}),
        ({"OPENAI_API_KEY": "sk-o"}, {"base_url": "https://other.example/v1"}),
        (
            {"WEAVE_ASYNC_API_KEY": "sk-w", "WEAVE_ASYNC_BASE_URL": "https://mine.example/v1"},
            {"base_url": "https://other.example/v1"},
        ),
    ],
)
def test_a_key_does_not_follow_to_another_address(
    environ: dict[str, str], flags: dict[str, str]
) -> None:
    settings = settings_of(**environ).with_flags(**flags)
    endpoint = resolve(settings, "openai_compatible", model="m")
    assert endpoint.base_url == "https://other.example/v1"
    assert endpoint.api_key is None


@pytest.mark.parametrize(
    ("dotenv", "environ", "provider"),
    [
        (
            "WEAVE_ASYNC_BASE_URL=https://paid.example/v1\nWEAVE_ASYNC_API_KEY=sk-paid\n",
            {"WEAVE_ASYNC_BASE_URL": "https://other.example/v1"},
            "openai_compatible",
        ),
        (
            "WEAVE_ASYNC_BASE_URL=https://paid.example/v1\nWEAVE_ASYNC_API_KEY=sk-paid\n",
            {"WEAVE_ASYNC_BASE_URL": "https://other.example/v1"},
            "local",
        ),
        (
            "OPENAI_BASE_URL=https://paid.example/v1\nOPENAI_API_KEY=sk-paid\n",
            {"OPENAI_BASE_URL": "https://other.example/v1"},
            "openai_compatible",
        ),
        (
            "WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL=https://paid.example/v1\n"
            "WEAVE_ASYNC_ENDPOINTS__FAST__API_KEY=sk-paid\n",
            {"WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL": "https://other.example/v1"},
            "fast",
        ),
    ],
)
def test_a_key_in_dotenv_does_not_follow_to_an_address_in_the_environment(
    dotenv: str, environ: dict[str, str], provider: str
) -> None:
    endpoint = resolve(settings_of(dotenv, **environ), provider, model="m")
    assert endpoint.base_url == "https://other.example/v1"
    assert endpoint.api_key is None


@pytest.mark.parametrize("prefix", ["WEAVE_ASYNC", "OPENAI"])
@pytest.mark.parametrize("key_in", ["dotenv", "environment"])
def test_a_key_goes_only_to_an_address_of_its_own_source(
    prefix: str, key_in: str, caplog: pytest.LogCaptureFixture
) -> None:
    key, address = {f"{prefix}_API_KEY": "sk-x"}, {f"{prefix}_BASE_URL": "https://a.example/v1"}
    stored, environ = (key, address) if key_in == "dotenv" else (address, key)
    dotenv = "".join(f"{name}={value}\n" for name, value in stored.items())
    endpoint = resolve(settings_of(dotenv, **environ), "openai_compatible", model="m")
    assert endpoint.api_key is None
    assert f"{prefix}_API_KEY is not sent to {prefix}_BASE_URL" in caplog.text
    assert "sk-x" not in caplog.text


def test_a_key_and_an_address_of_different_prefixes_are_no_pair() -> None:
    environ = {"WEAVE_ASYNC_API_KEY": "sk-w", "OPENAI_BASE_URL": "https://other.example/v1"}
    endpoint = resolve(settings_of(**environ), "openai_compatible", model="m")
    assert endpoint.base_url is None
    assert key_of(endpoint) == "sk-w"


def test_a_flag_reaches_the_endpoint_that_the_provider_flag_names() -> None:
    settings = settings_of(
        WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL="https://fast.example/v1",
        WEAVE_ASYNC_ENDPOINTS__FAST__API_KEY="sk-fast",
    ).with_flags(provider="fast", base_url="https://moved.example/v1")
    endpoint = resolve(settings, "whatever", model="m")
    assert (endpoint.provider, endpoint.base_url) == (
        "openai_compatible",
        "https://moved.example/v1",
    )
    assert endpoint.api_key is None


def test_a_key_without_an_address_goes_with_the_address_of_the_flag() -> None:
    settings = settings_of(WEAVE_ASYNC_API_KEY="sk-w").with_flags(base_url="https://a.example/v1")
    assert key_of(resolve(settings, "openai_compatible", model="m")) == "sk-w"


def test_keys_never_show() -> None:
    settings = settings_of(WEAVE_ASYNC_API_KEY="sk-canary", OPENAI_API_KEY="sk-canary")
    endpoint = resolve(settings, "openai_compatible", model="m")
    for shown in (repr(settings), str(settings), repr(endpoint)):
        assert "sk-canary" not in shown


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        (
            {"WEAVE_ASYNC_MODELX": "x"},
            "unknown environment variable 'WEAVE_ASYNC_MODELX'; did you mean 'WEAVE_ASYNC_MODEL'?",
        ),
        (
            {"WEAVE_ASYNC_ENDPOINTS__FAST__BASEURL": "x"},
            "did you mean 'WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL'?",
        ),
        ({"WEAVE_ASYNC_RPM": "fast"}, "WEAVE_ASYNC_RPM: Input should be a valid number"),
        ({"WEAVE_ASYNC_RPM": "0"}, "WEAVE_ASYNC_RPM: Input should be greater than 0"),
    ],
)
def test_a_bad_variable_is_named(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(RecipeError) as raised:
        settings_of(**environ)
    assert complaint in str(raised.value)


def test_dotenv_is_parsed_and_not_expanded() -> None:
    settings = settings_of("WEAVE_ASYNC_MODEL=$HOME/${USER}$(id)\n")
    assert settings.default.model == "$HOME/${USER}$(id)"


def test_a_model_that_nobody_names_is_asked_for() -> None:
    with pytest.raises(RecipeError, match="needs a model: name one with --model"):
        resolve(settings_of(WEAVE_ASYNC_PROVIDER="openai_compatible"))


# --- presets -------------------------------------------------------------------------------------

GROQ = "https://api.groq.com/openai/v1"


def resolved(name: str = "local", dotenv: str | None = None, **environ: str) -> Endpoint:
    return resolve(settings_of(dotenv, **environ), name, model="m")


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        ("local", {"WEAVE_ASYNC_PROVIDER": "groq", "GROQ_API_KEY": "gk"}),
        ("groq", {"GROQ_API_KEY": "gk"}),
        ("fast", {"WEAVE_ASYNC_ENDPOINTS__FAST__PROVIDER": "groq", "GROQ_API_KEY": "gk"}),
        ("groq", {"WEAVE_ASYNC_ENDPOINTS__GROQ__RPM": "30", "GROQ_API_KEY": "gk"}),
        ("local", {"WEAVE_ASYNC_PROVIDER": "groq", "WEAVE_ASYNC_API_KEY": "gk"}),
        (
            "local",
            {"WEAVE_ASYNC_PROVIDER": "groq", "WEAVE_ASYNC_API_KEY": "gk", "GROQ_API_KEY": "other"},
        ),
        (
            "fast",
            {
                "WEAVE_ASYNC_ENDPOINTS__FAST__PROVIDER": "groq",
                "WEAVE_ASYNC_ENDPOINTS__FAST__API_KEY": "gk",
            },
        ),
    ],
)
def test_a_preset_brings_its_adapter_its_address_and_its_key(
    name: str, environ: dict[str, str]
) -> None:
    endpoint = resolved(name, **environ)
    assert (endpoint.provider, endpoint.preset) == ("openai_compatible", "groq")
    assert (endpoint.base_url, key_of(endpoint)) == (GROQ, "gk")


def test_a_preset_can_be_chosen_by_flag() -> None:
    settings = settings_of(GROQ_API_KEY="gk").with_flags(provider="groq")
    endpoint = resolve(settings, "local", model="m")
    assert (endpoint.preset, endpoint.base_url, key_of(endpoint)) == ("groq", GROQ, "gk")


def test_a_flag_beats_the_environment_beats_dotenv_beats_the_recipe_also_for_presets() -> None:
    keys = {"GROQ_API_KEY": "gk", "MISTRAL_API_KEY": "mk", "TOGETHER_API_KEY": "tk"}
    dotenv = "WEAVE_ASYNC_PROVIDER=mistral\n"
    assert resolved("vllm", **keys).preset == "vllm"
    assert resolved("vllm", dotenv, **keys).preset == "mistral"
    in_environment = settings_of(dotenv, WEAVE_ASYNC_PROVIDER="together", **keys)
    assert resolve(in_environment, "vllm", model="m").preset == "together"
    flagged = in_environment.with_flags(provider="groq")
    assert resolve(flagged, "vllm", model="m").preset == "groq"


@pytest.mark.parametrize("name", ["vllm", "sglang", "llama.cpp", "llama_cpp", "ollama", "lmstudio"])
def test_a_server_on_this_machine_needs_no_key(name: str) -> None:
    endpoint = resolved(name)
    assert (endpoint.preset, endpoint.api_key) == (name, None)
    assert (endpoint.base_url or "").startswith("http://127.0.0.1:")


def test_a_service_without_its_key_names_the_variable() -> None:
    with pytest.raises(RecipeError, match="'groq' needs a key: set GROQ_API_KEY"):
        resolved("groq")


def test_the_address_of_azure_is_made_of_the_variable_that_its_users_have() -> None:
    given = {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com/", "AZURE_OPENAI_API_KEY": "a"}
    endpoint = resolved("azure", **given)
    assert endpoint.base_url == "https://mine.openai.azure.com/openai/v1"
    assert key_of(endpoint) == "a"


def test_azure_without_an_address_says_where_to_find_it() -> None:
    with pytest.raises(RecipeError, match="AZURE_OPENAI_ENDPOINT to https://RESOURCE"):
        resolved("azure", AZURE_OPENAI_API_KEY="a")


def test_the_preset_openai_heeds_the_variables_of_its_sdk() -> None:
    environ = {"OPENAI_BASE_URL": "https://o.example/v1", "OPENAI_API_KEY": "sk-o"}
    endpoint = resolve(settings_of(**environ, OPENAI_MODEL="o-model"), "openai")
    assert (endpoint.base_url, key_of(endpoint)) == ("https://o.example/v1", "sk-o")
    assert endpoint.model == "o-model"


def test_an_endpoint_called_like_a_preset_with_another_address_is_not_that_preset() -> None:
    endpoint = resolved("openai", WEAVE_ASYNC_ENDPOINTS__OPENAI__BASE_URL="http://127.0.0.1:1/v1")
    assert (endpoint.preset, endpoint.provider) == (None, "openai_compatible")


@pytest.mark.parametrize(
    ("name", "dotenv", "environ", "flags"),
    [
        ("groq", "", {"WEAVE_ASYNC_BASE_URL": "https://x.example/v1"}, {}),
        ("groq", "WEAVE_ASYNC_BASE_URL=https://x.example/v1", {}, {}),
        ("groq", "", {}, {"base_url": "https://x.example/v1"}),
        ("groq", "", {}, {"base_url": "http://api.groq.com/openai/v1"}),
        ("groq", "", {}, {"base_url": "https://api.groq.com:8443/openai/v1"}),
        ("groq", "", {}, {"base_url": "https://api.groq.com.x.example/v1"}),
        ("groq", "", {}, {"base_url": "https://api.groq.com@x.example/v1"}),
        ("groq", "", {}, {"base_url": "https://api.groq.com:port/v1"}),
        ("groq", "", {}, {"base_url": "https://[api.groq.com/v1"}),
        (
            "fast",
            "WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL=https://x.example/v1",
            {"WEAVE_ASYNC_ENDPOINTS__FAST__PROVIDER": "groq"},
            {},
        ),
    ],
)
def test_the_key_of_a_preset_stays_with_its_origin(
    name: str, dotenv: str, environ: dict[str, str], flags: dict[str, str]
) -> None:
    settings = settings_of(dotenv, GROQ_API_KEY="gk", **environ).with_flags(**flags)
    endpoint = resolve(settings, name, model="m")
    assert endpoint.base_url != GROQ
    assert endpoint.api_key is None


def test_the_key_of_a_preset_follows_within_its_origin() -> None:
    settings = settings_of(GROQ_API_KEY="gk").with_flags(base_url="https://api.groq.com/v2")
    assert key_of(resolve(settings, "groq", model="m")) == "gk"


def test_a_variable_in_dotenv_does_not_move_the_key_of_a_preset_in_the_environment() -> None:
    endpoint = resolved("openai", "OPENAI_BASE_URL=https://x.example/v1", OPENAI_API_KEY="sk-o")
    assert (endpoint.base_url, endpoint.api_key) == ("https://x.example/v1", None)


@pytest.mark.parametrize(
    ("name", "dotenv", "environ", "flags"),
    [
        ("groq", "", {"WEAVE_ASYNC_API_KEY": "sk-w"}, {}),
        ("local", "WEAVE_ASYNC_PROVIDER=groq", {"WEAVE_ASYNC_API_KEY": "sk-w"}, {}),
        (
            "local",
            "",
            {"WEAVE_ASYNC_API_KEY": "sk-w", "WEAVE_ASYNC_PROVIDER": "openai"},
            {"provider": "groq"},
        ),
        (
            "local",
            "",
            {"WEAVE_ASYNC_API_KEY": "sk-w", "WEAVE_ASYNC_PROVIDER": "openai_compatible"},
            {"provider": "groq"},
        ),
        (
            "local",
            "WEAVE_ASYNC_API_KEY=sk-w\nWEAVE_ASYNC_BASE_URL=https://paid.example/v1\n"
            "WEAVE_ASYNC_PROVIDER=openai_compatible",
            {"WEAVE_ASYNC_PROVIDER": "groq"},
            {},
        ),
    ],
)
def test_a_key_of_ours_does_not_follow_to_a_preset_that_was_not_named_beside_it(
    name: str, dotenv: str, environ: dict[str, str], flags: dict[str, str]
) -> None:
    settings = settings_of(dotenv, GROQ_API_KEY="gk", **environ).with_flags(**flags)
    endpoint = resolve(settings, name, model="m")
    assert (endpoint.base_url, key_of(endpoint)) == (GROQ, "gk")


def test_a_provider_that_replaces_a_preset_does_not_get_its_key() -> None:
    settings = settings_of(WEAVE_ASYNC_PROVIDER="groq", WEAVE_ASYNC_API_KEY="gk")
    endpoint = resolve(settings.with_flags(provider="openai_compatible"), "local", model="m")
    assert (endpoint.base_url, endpoint.api_key) == (None, None)


HOMES = {"groq": ("GROQ_API_KEY", "api.groq.com"), "mistral": ("MISTRAL_API_KEY", "api.mistral.ai")}
PLACES = [None, "https://x.example/v1", GROQ, "https://api.mistral.ai/v1", "http://127.0.0.1:1/v1"]
NAMES = [None, "openai_compatible", "vllm", *HOMES]
one_source = st.fixed_dictionaries(
    {
        "WEAVE_ASYNC_PROVIDER": st.sampled_from(NAMES),
        "WEAVE_ASYNC_BASE_URL": st.sampled_from(PLACES),
        "GROQ_API_KEY": st.sampled_from([None, "GROQ_API_KEY"]),
        "MISTRAL_API_KEY": st.sampled_from([None, "MISTRAL_API_KEY"]),
    }
)


@given(
    st.sampled_from(NAMES[1:]),
    one_source,
    one_source,
    st.sampled_from(NAMES),
    st.sampled_from(PLACES),
)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_settings_send_the_key_of_a_preset_elsewhere(
    named: str,
    stored: dict[str, str | None],
    environ: dict[str, str | None],
    provider: str | None,
    base_url: str | None,
) -> None:
    settings = settings_of(
        "".join(f"{name}={value}\n" for name, value in stored.items() if value),
        **{name: value for name, value in environ.items() if value},
    ).with_flags(provider=provider, base_url=base_url)
    try:
        endpoint = resolve(settings, named, model="m")
    except RecipeError:  # no key at all
        return
    for variable, host in HOMES.values():
        if key_of(endpoint) == variable:
            assert urlsplit(endpoint.base_url or "").hostname == host


TRUSTING = ProviderTraits(None, "OPENAI", ("proxy", "ca_file"))


def with_options(
    settings: Settings, name: str = "groq", **options: str
) -> Endpoint:  # of the recipe
    return settings.endpoint(name, model="m", options=options, traits=TRUSTING)


@pytest.mark.parametrize("option", TRUSTING.trusting_options)
@pytest.mark.parametrize("name", ["groq", "openai_compatible", "fast"])
def test_a_recipe_does_not_say_who_sees_a_key(name: str, option: str) -> None:
    """A proxy with a certificate of its own reads what goes through it."""
    settings = settings_of(
        GROQ_API_KEY="g" * 20,
        OPENAI_API_KEY="o" * 20,
        WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL="https://host/v1",
    )
    own = "WEAVE_ASYNC_ENDPOINTS__FAST__" if name == "fast" else "WEAVE_ASYNC_"
    with pytest.raises(RecipeError, match=f"{own}OPTIONS__{option.upper()}"):
        with_options(settings, name, **{option: "x"})
    assert with_options(settings, name, threads="2").options["threads"] == "2"


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("groq", "WEAVE_ASYNC_"), ("groq", "WEAVE_ASYNC_ENDPOINTS__GROQ__")],
)
def test_a_dotenv_does_not_say_who_sees_a_key_of_the_environment(name: str, prefix: str) -> None:
    option = f"{prefix}OPTIONS__PROXY=http://theirs:1\n"
    with pytest.raises(RecipeError, match=rf"{prefix}OPTIONS__PROXY stands in \.env"):
        with_options(settings_of(option, GROQ_API_KEY="g" * 20), name)
    both = settings_of(option + f"GROQ_API_KEY={'g' * 20}\n")
    assert with_options(both, name).options == {"proxy": "http://theirs:1"}
    in_environment = settings_of(
        option, **{"GROQ_API_KEY": "g" * 20, f"{prefix}OPTIONS__PROXY": "http://mine:1"}
    )
    assert with_options(in_environment, name).options == {"proxy": "http://mine:1"}


def test_a_dotenv_may_name_a_proxy_where_there_is_no_key() -> None:
    option = "WEAVE_ASYNC_ENDPOINTS__FAST__OPTIONS__PROXY=http://theirs:1\n"
    settings = settings_of(option + "WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL=http://127.0.0.1:1/v1\n")
    assert with_options(settings, "fast").options == {"proxy": "http://theirs:1"}


def test_a_flag_may_say_who_sees_a_key() -> None:
    settings = settings_of(GROQ_API_KEY="g" * 20).with_flags(options={"proxy": "http://mine:1"})
    endpoint = with_options(settings)
    assert endpoint.options == {"proxy": "http://mine:1"}
    assert endpoint.public_options == {}


@pytest.mark.parametrize("scope", ["WEAVE_ASYNC_", "WEAVE_ASYNC_ENDPOINTS__FAST__"])
def test_a_dotenv_does_not_name_code_to_import(scope: str) -> None:
    with pytest.raises(RecipeError, match="names code to import"):
        settings_of(f"{scope}PROVIDER=evil:Provider\n")
    Settings.from_environment({f"{scope}PROVIDER": "mine:Provider"}, None)
