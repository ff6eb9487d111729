"""Bad input: one screen that names the thing, the value and the way out; nothing is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from doubles import CountingProvider
from weave_async.testing.scripted_endpoint import Reply, ScriptedEndpoint, error_reply

from .conftest import RECIPE, Program

TABLE = [
    ("the recipe is missing", ["run", "no.yaml"], 78, ["no.yaml", "No such file"]),
    (
        "prompts in the place of a recipe",
        ["run", "seeds.jsonl"],
        78,
        ["--prompts seeds.jsonl"],
    ),
    ("neither recipe nor prompts", ["run"], 2, ["RECIPE or --prompts"]),
    ("both", ["run", "recipe.yaml", "--prompts", "q.txt"], 2, ["either"]),
    ("an unknown provider", ["run", "recipe.yaml", "-p", "opnai"], 78, ["'opnai'", "simulated"]),
    (
        "an unknown provider close to one",
        ["run", "recipe.yaml", "-p", "simulate"],
        78,
        ["did you mean 'simulated'"],
    ),
    (
        "an option the provider does not have",
        ["run", "recipe.yaml", "--option", "latency=1"],
        78,
        ["'latency'", "latency_s"],
    ),
    ("an option without a value", ["run", "recipe.yaml", "--option", "x"], 2, ["NAME=VALUE"]),
    ("no model", ["run", "recipe.yaml", "-p", "openai_compatible"], 78, ["--model"]),
    (
        "an unreachable endpoint",
        [
            *("run", "recipe.yaml", "-p", "openai_compatible", "-m", "m"),
            *("--base-url", "http://127.0.0.1:9/v1"),
        ],
        69,
        ["http://127.0.0.1:9/v1", "refused", "WEAVE_ASYNC_BASE_URL"],
    ),
    ("a file in the way", ["run", "recipe.yaml", "-o", "recipe.yaml"], 73, ["is a file", "-o"]),
    ("a foreign folder", ["run", "recipe.yaml", "-o", "foreign"], 73, ["holds no run", "-o"]),
    ("a folder nobody can write", ["run", "recipe.yaml", "-o", "/proc/x"], 73, ["/proc/x", "-o"]),
    ("a prompts file of no known kind", ["run", "--prompts", "x.doc"], 65, ["'.doc'", ".jsonl"]),
    ("an unknown module", ["run", "recipe.yaml", "-p", "no_such:Thing"], 78, ["no_such"]),
    ("an unknown command", ["rum"], 2, ["rum"]),
    ("a name with a slash", ["new", "../x"], 2, ["../x"]),
    ("a folder that is there", ["new", "foreign"], 73, ["exists already"]),
]

EDITS = [
    ("an unknown key", "seed: 7", "sed: 7", 78, ["recipe.yaml:2", "did you mean 'seed'"]),
    ("not YAML", "seed: 7", "seed: [7", 78, ["recipe.yaml:", "not YAML"]),
    ("a wrong value", "max_tokens: 100", "max_tokens: lots", 78, ["recipe.yaml:8", "'lots'"]),
    ("an unknown rule", "exact", "exakt", 78, ["did you mean 'exact'"]),
    ("an unknown option", "min_words", "minwords", 78, ["did you mean 'min_words'"]),
    ("a wrong option", "min_words: 20", "min_words: few", 78, ["min_words", "'few'"]),
    ("a missing source", "seeds.jsonl", "none.jsonl", 65, ["none.jsonl", "No such file"]),
    ("a missing column", "{{ text }}", "{{ txt }}", 65, ["seeds.jsonl:1", "'txt'", "text, topic"]),
    ("bounds that exclude all", "20}", "20, max_words: 3}", 78, ["min_words 20 is above"]),
    ("a broken template", "{{ text }}", "{{ text", 78, ["prompts.template", "line 1"]),
]


@pytest.fixture
def somewhere(recipe_file: Path) -> Path:
    Path("foreign").mkdir()
    Path("foreign/notes.txt").write_text("mine")
    return recipe_file


def assert_clear(err: str, named: list[str]) -> None:
    message = err.replace("\n", " ")
    for thing in named:
        assert thing in message
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 20


@pytest.mark.parametrize(
    ("arguments", "exit_code", "named"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
@pytest.mark.usefixtures("somewhere")
def test_a_wrong_command_line_is_explained(
    weave_async: Program, arguments: list[str], exit_code: int, named: list[str]
) -> None:
    outcome = weave_async(*arguments)
    assert_clear(outcome.err, named)
    assert outcome.exit_code == exit_code
    assert Path("foreign/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("command", ["run", "preview", "doctor"])
def test_an_address_for_an_endpoint_that_the_environment_names_is_refused(
    weave_async: Program, recipe_file: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    variable = "WEAVE_ASYNC_ENDPOINTS__BETA__BASE_URL"
    monkeypatch.setenv(variable, "http://127.0.0.1:9/v1")
    recipe_file.write_text(RECIPE.replace("simulated", "beta, model: m"))
    outcome = weave_async(command, str(recipe_file), "--base-url", "http://127.0.0.1:8/v1")
    assert_clear(outcome.err, ["--base-url", "'beta'", variable])
    assert outcome.exit_code == 2


def test_a_misspelt_endpoint_of_the_environment_is_suggested(
    weave_async: Program, recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_ASYNC_ENDPOINTS__BETA__BASE_URL", "http://127.0.0.1:9/v1")
    recipe_file.write_text(RECIPE.replace("simulated", "bta"))
    outcome = weave_async("run", str(recipe_file))
    assert_clear(outcome.err, ["'bta'", "did you mean 'beta'"])
    assert outcome.exit_code == 78


@pytest.mark.parametrize(
    ("right", "wrong", "exit_code", "named"),
    [row[1:] for row in EDITS],
    ids=[row[0] for row in EDITS],
)
def test_a_wrong_recipe_is_explained_and_nothing_is_asked(
    weave_async: Program,
    recipe_file: Path,
    right: str,
    wrong: str,
    exit_code: int,
    named: list[str],
) -> None:
    CountingProvider.reset()
    text = RECIPE.replace("endpoint: simulated", "endpoint: doubles:CountingProvider")
    assert right in text
    recipe_file.write_text(text.replace(right, wrong))
    outcome = weave_async("run", str(recipe_file), "-o", "out")
    assert_clear(outcome.err, named)
    assert outcome.exit_code == exit_code
    assert CountingProvider.asked == []
    assert not Path("out").exists()


def test_a_bad_row_is_named_and_can_be_skipped(weave_async: Program, recipe_file: Path) -> None:
    with Path("seeds.jsonl").open("a") as seeds:
        seeds.write('{"text": broken\n')
    outcome = weave_async("run", str(recipe_file), "-o", "out")
    assert outcome.exit_code == 65
    assert_clear(outcome.err, ["seeds.jsonl:41", "not JSON", "--on-bad-row skip"])
    skipped = weave_async("run", str(recipe_file), "-o", "out", "--on-bad-row", "skip", "--json")
    assert skipped.exit_code == 0
    assert (skipped.json["asked"], skipped.json["rows_skipped"]) == (40, 1)
    assert "seeds.jsonl:41" in skipped.err


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:{port}/v1/", "http://localhost:{port}/v1"])
def test_a_wrong_key_stops_before_anything_is_paid_for_and_is_never_shown(
    weave_async: Program, recipe_file: Path, monkeypatch: pytest.MonkeyPatch, base_url: str
) -> None:
    def refuse(request: object) -> Reply:
        return error_reply(401, "Incorrect API key provided: sk-canary-123")

    with ScriptedEndpoint(refuse) as endpoint:
        port = endpoint.base_url.split(":")[2].split("/")[0]
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "openai_compatible")
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", base_url.format(port=port))
        monkeypatch.setenv("WEAVE_ASYNC_API_KEY", "sk-canary-123")
        outcome = weave_async("run", str(recipe_file), "-m", "m", "-o", "out")
    assert outcome.exit_code == 77
    assert_clear(outcome.err, ["401", "WEAVE_ASYNC_API_KEY"])
    assert [request.path for request in endpoint.requests] == ["/v1/models"]
    for path in [p for p in Path("out").rglob("*") if p.is_file()]:
        assert b"sk-canary-123" not in path.read_bytes()
    assert "sk-canary-123" not in outcome.out + outcome.err


def test_an_unknown_model_stops_the_run(
    weave_async: Program, recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: object) -> Reply:
        return error_reply(404, "The model `m` does not exist", code="model_not_found")

    monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "openai_compatible")
    with ScriptedEndpoint(answer) as endpoint:
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
        outcome = weave_async("run", str(recipe_file), "-m", "m", "-c", "2", "-o", "out")
    assert outcome.exit_code == 78
    assert_clear(outcome.err, ["`m` does not exist"])
    assert len(endpoint.requests) <= 3


def test_a_key_in_a_flag_is_no_option(weave_async: Program, recipe_file: Path) -> None:
    outcome = weave_async("run", str(recipe_file), "--api-key", "sk-x")
    assert outcome.exit_code == 2
    assert "api_key" not in os.environ
