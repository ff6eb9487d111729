"""Names in a recipe, and the words for what is wrong with them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.noise.typos import TyposNoise
from weave_async.parts.endpoints import endpoint_of
from weave_async.recipe import MixEntry
from weave_async.settings import Settings
from weave_async.sources.jsonl import JsonlSource
from weave_async.validation.length import LengthValidator
from weave_async.validation.required import RequiredValidator


@pytest.fixture
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A module beside the recipe, under a name of its own."""
    name = "trial_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
    (tmp_path / f"{name}.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Louder:\n"
        "    by: int = 1\n"
        "    def __call__(self, text, rng): return text + '!' * self.by\n"
        "@dataclass\n"
        "class Plain:\n"
        "    def __call__(self, text, rng): return text\n"
        "class NoDataclass: pass\n"
    )
    (tmp_path / f"{name}_broken.py").write_text("def (:\n")
    (tmp_path / f"{name}_raising.py").write_text("raise ValueError('not today')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def refusal(kind: str, name: str, options: dict[str, object] | None = None) -> str:
    with pytest.raises(RecipeError) as caught:
        registry.build(kind, name, options or {})
    return str(caught.value)


def test_an_installed_part_is_found_by_its_name() -> None:
    assert registry.load("noise", "typos") is TyposNoise
    assert registry.build("source", "jsonl", {"path": "a.jsonl"}) == JsonlSource(Path("a.jsonl"))


def test_every_installed_part_can_be_loaded() -> None:
    for kind in registry.GROUPS:
        assert registry.installed(kind), kind
        for name in registry.installed(kind):
            part = registry.load(kind, name)
            assert callable(part) or kind == "preset", name


def test_an_unknown_name_is_refused_with_the_nearest_and_the_known_ones() -> None:
    message = refusal("provider", "locl")
    assert message.startswith("unknown provider 'locl'; did you mean 'local'? Known: local, ")
    assert "openai_compatible" in message


def test_a_name_that_is_near_to_none_gets_no_suggestion() -> None:
    assert (
        refusal("selector", "zzz")
        == "unknown selector 'zzz'. Known: choose, exact, grid, near_duplicates, novelty, quotas"
    )


def test_an_unknown_option_is_refused_with_the_nearest_and_the_known_ones() -> None:
    assert refusal("noise", "typos", {"rat": 0.1}) == (
        "noise 'typos': unknown option 'rat'; did you mean 'rate'? "
        "Known: rate, profile, layout, capitalised"
    )
    assert refusal("validator", "length", {"minimum": 1}).endswith(
        "min_tokens, max_tokens, field, tokens_of, vocabularies"
    )


def test_a_bad_type_is_refused_with_option_and_value() -> None:
    message = refusal("validator", "length", {"min_words": "many"})
    assert message.startswith("validator 'length': min_words: ")
    assert "integer" in message
    assert "'many'" in message


def test_a_bad_type_deep_inside_names_its_place() -> None:
    message = refusal("validator", "required", {"any": ["tea", 3]})
    assert message.startswith("validator 'required': any.1: ")


def test_a_missing_option_is_named() -> None:
    assert refusal("source", "jsonl").startswith("source 'jsonl': path: ")


def test_a_scalar_sets_the_first_option() -> None:
    assert registry.build("noise", "typos", {"": 0.05}) == TyposNoise(0.05)
    assert registry.build("validator", "length", {"": 3}) == LengthValidator(min_words=3)
    assert registry.build("validator", "required", {"": ["tea"]}) == RequiredValidator(any=["tea"])


def test_a_scalar_for_a_part_without_options_is_refused(module: str) -> None:
    message = refusal("noise", f"{module}:Plain", {"": 3})
    assert message == f"noise '{module}:Plain' takes no options, got 3"


def test_a_part_can_be_named_by_module_and_name(module: str) -> None:
    noise = registry.build("noise", f"{module}:Louder", {"by": 3})
    assert noise("hey", None) == "hey!!!"
    assert "unknown option 'bye'; did you mean 'by'?" in refusal(
        "noise", f"{module}:Louder", {"bye": 3}
    )


def test_a_part_that_is_no_dataclass_is_refused(module: str) -> None:
    message = refusal("noise", f"{module}:NoDataclass", {"by": 3})
    assert message.startswith(
        f"noise '{module}:NoDataclass' takes no options: make it a @dataclass"
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module:Noise", "No module named 'no_such_module'"),
        ("MODULE:Quieter", "Quieter"),
        ("MODULE_broken:Noise", "invalid syntax"),
        ("MODULE_raising:Noise", "not today"),
        ("my-noise:Noise", "module:Name"),
        ("MODULE:", "module:Name"),
        (":Noise", "module:Name"),
        ("a:b:c", "module:Name"),
    ],
)
def test_a_part_that_cannot_be_loaded_is_refused_with_the_reason(
    module: str, name: str, says: str
) -> None:
    name = name.replace("MODULE", module)
    message = refusal("noise", name)
    assert message.startswith(f"noise '{name}' cannot be loaded: ")
    assert says in message


def test_options_schema_says_what_can_be_set() -> None:
    schema = registry.options_schema("noise", "typos")
    assert schema["properties"]["rate"] == {"default": 0.02, "title": "Rate", "type": "number"}
    assert "misspelt words, per letter" in schema["description"]
    assert list(registry.options_schema("selector", "exact")["properties"]) == ["on", "against"]


def test_options_within_options_are_described_where_they_stand() -> None:
    schema = registry.options_schema("validator", "weave_async.validation.judge:JudgeValidator")
    assert list(schema["properties"]["judges"]["items"]["properties"]) == ["endpoint", "model"]
    assert "$ref" not in str(schema)
    assert "$defs" not in schema


BUILD = (
    "from weave_async import registry; from weave_async.errors import RecipeError\n"
    "try: print('loaded', registry.load('provider', 'simulated'))\n"
    "except RecipeError as error: print('refused:', error)\n"
)


def load_provider_in(folder: Path) -> str:
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-c", BUILD]
    ended = subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    "files",
    [
        {"__init__.py": ""},
        {"__init__.py": "", "simulated.py": "class SimulatedProvider: pass\n"},
        {"__init__.py": "import a_module_that_they_have_and_we_do_not\n"},
    ],
    ids=["empty", "with our names", "broken"],
)
def test_a_foreign_providers_package_that_hides_ours_is_named(
    tmp_path: Path, files: dict[str, str]
) -> None:
    folder = tmp_path / "theirs" / "providers"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    shown = load_provider_in(folder.parent)
    assert shown.startswith("refused: the package 'providers' at ")
    assert str(folder) in shown
    assert "run from another folder, or rename yours" in shown


def test_a_providers_folder_that_is_no_package_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "providers").mkdir(parents=True)
    assert load_provider_in(tmp_path / "theirs").startswith("loaded <class 'providers.simulated.")


def test_the_presets_are_known_where_a_provider_is_asked_for() -> None:
    message = refusal("provider", "grok")
    assert message.startswith("unknown provider 'grok'; did you mean 'groq'? Known: local, ")


@pytest.fixture
def preset_entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Stands in for packages that are installed with presets in them."""
    entries = dict(registry._entries("preset"))
    original = registry._entries

    def install(**values: str) -> None:
        group = registry.GROUPS["preset"]
        entries.update({name: EntryPoint(name, value, group) for name, value in values.items()})
        registry.presets.cache_clear()

    monkeypatch.setattr(registry, "_entries", lambda k: entries if k == "preset" else original(k))
    yield install
    monkeypatch.undo()
    registry.presets.cache_clear()


def test_another_package_can_bring_presets(
    preset_entries: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "more_presets.py").write_text(
        "from weave_async.records import Preset\n"
        "MORE = {'house': Preset(title='Ours', provider='simulated',"
        " options={'latency_s': '0.5'}, base_url='https://llm.example/v1',"
        " key_variable='HOUSE_KEY')}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    preset_entries(more="more_presets:MORE")
    endpoint = endpoint_of(
        MixEntry(endpoint="house", model="m"), Settings.from_environment({"HOUSE_KEY": "k"})
    )
    assert (endpoint.provider, endpoint.preset) == ("simulated", "house")
    assert endpoint.options == {"latency_s": "0.5"}
    assert endpoint.api_key is not None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("MORE = {'house': 'https://llm.example/v1'}", "presets 'more' must map names"),
        ("from providers.presets import PRESETS as MORE", "is there already"),
    ],
)
def test_presets_that_cannot_be_used_are_named(
    preset_entries: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    body: str,
    complaint: str,
) -> None:
    name = f"bad_presets_{len(body)}"
    (tmp_path / f"{name}.py").write_text(body + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    preset_entries(more=f"{name}:MORE")
    with pytest.raises(RecipeError, match=complaint):
        registry.presets()


def test_a_part_in_the_list_of_others_is_told_where_it_belongs() -> None:
    with pytest.raises(
        RecipeError, match="'length': it is a validator, list it under 'validation'"
    ):
        registry.build("noise", "length", {})
