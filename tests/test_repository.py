"""What the repository says about itself must be what the code does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import weave_async
from providers.preset_table import with_table
from providers.presets import PRESETS
from weave_async import settings
from weave_async.recipe import Recipe, json_schema

ROOT = Path(__file__).parents[1]
COMMENTED = re.compile(r"^# ([A-Z][A-Z0-9_]+)=", re.MULTILINE)


def test_env_example_names_every_variable_that_is_read_and_no_other() -> None:
    named = set(COMMENTED.findall((ROOT / ".env.example").read_text()))
    plain = {name for name in named if "__" not in name}
    assert plain == set(settings.variables())
    for name in named - plain:
        as_default = re.sub(r"ENDPOINTS__[A-Z]+__", "", name)
        assert as_default in plain or name.startswith("WEAVE_ASYNC_OPTIONS__"), name


def test_env_example_is_valid_when_its_lines_are_taken_in() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    taken = [line[2:].split(" #")[0] for line in lines if COMMENTED.match(line)]
    Path(".env").write_text("\n".join(taken) + "\n")
    read = settings.Settings.from_environment({})
    assert read.default.rpm == 500
    assert read.endpoints["fast"].model == "my-model"


def test_nothing_but_settings_reads_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "weave_async").rglob("*.py")
        if re.search(r"os\.environ(?!\.setdefault)|getenv|dotenv", path.read_text())
    }
    assert readers == {"weave_async/settings.py"}


def test_the_facade_offers_these_names() -> None:
    assert weave_async.__all__ == sorted(weave_async.__all__)
    assert len(weave_async.__all__) <= 16
    for name in weave_async.__all__:
        assert getattr(weave_async, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = weave_async.Nonsense


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, weave_async; print([m for m in sys.modules if 'weave_async.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_published_schema_is_the_current_one() -> None:
    published = json.loads((ROOT / "docs/recipe.schema.json").read_text())
    assert published == json.loads(json.dumps(json_schema())), "run: make docs"


def test_the_published_help_is_the_current_one() -> None:
    command = [sys.executable, "-m", "typer", "weave_async.cli.main", "utils", "docs"]
    command += ["--name", "weave-async", "--output", "cli.md"]
    subprocess.run(command, capture_output=True, check=True)
    assert (ROOT / "docs/cli.md").read_text() == Path("cli.md").read_text(), "run: make docs"


def test_the_page_of_providers_has_the_presets_as_they_are() -> None:
    page = (ROOT / "docs/providers.md").read_text()
    assert with_table(page) == page, "run: make docs"
    for name, preset in PRESETS.items():
        assert f"`{name}`" in page
        assert all(f"`{variable}`" in page for variable in filter(None, [preset.key_variable]))


def test_the_example_has_real_rows_and_a_recipe_that_loads() -> None:
    folder = ROOT / "examples/support_queries"
    rows = [json.loads(line) for line in (folder / "seeds.jsonl").read_text().splitlines()]
    assert len(rows) >= 60
    assert len({row["question"] for row in rows}) == len(rows)
    assert Recipe.load(folder / "recipe.yaml").name == "support-queries"


def test_the_few_shot_example_makes_three_samples_of_each_question() -> None:
    shutil.copytree(ROOT / "examples", "examples")
    command = [sys.executable, "-m", "weave_async.cli", "run", "examples/paraphrases/recipe.yaml"]
    command += ["--provider", "simulated", "--model", "simulated", "-o", "out", "--json"]
    subprocess.run(command, capture_output=True, check=True)
    rows = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    assert len(rows) == 3 * 64
    roles = [message["role"] for message in rows[0]["messages"]]
    assert roles == ["system", "user", "assistant"]  # examples are sent, and not written


def test_the_quickstart_is_fifteen_lines() -> None:
    code = (ROOT / "examples/quickstart.py").read_text().splitlines()
    statements = [line for line in code if line.strip() and not line.startswith('"""')]
    assert len(statements) <= 15


def test_the_quickstart_runs() -> None:
    shutil.copytree(ROOT / "examples", "examples")
    environ = {**os.environ, "WEAVE_ASYNC_PROVIDER": "simulated"}
    command = [sys.executable, "examples/quickstart.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert "Q: " in done.stdout
    assert "Complete: 6 samples" in done.stdout


def test_every_constraint_pins_one_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pins)
    assert "torch==2.13.0" in pins


def test_the_tree_holds_no_unsafe_loader() -> None:
    unsafe = re.compile(
        r"\b(pickle\.load|torch\.load|yaml\.load\(|yaml\.unsafe|(?<!\.)\beval\(|(?<!\.)\bexec\()"
    )
    for package in ("weave_async", "providers"):
        for path in (ROOT / package).rglob("*.py"):
            assert not unsafe.search(path.read_text()), path
