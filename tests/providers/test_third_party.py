"""Adding a provider takes a new file and one line of an entry point, and no change of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from weave_async.testing.conformance import checks
from weave_async.testing.scripted_endpoint import ScriptedEndpoint

MODULE = Path(__file__).parent / "third_party/mine.py"
ENTRY_POINT = "[weave_async.providers]\nmine = mine:MyProvider\n"
CONFORM = """
import asyncio, sys
from weave_async import registry
from weave_async.testing.conformance import checks, over_http

provider_class = registry.load("provider", "mine")
for check in checks():
    with over_http(provider_class) as provider_for:
        asyncio.run(check(provider_for))
    print(check)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder on the path of imports as an installer leaves it: a module and its metadata."""
    folder = tmp_path / "site"
    metadata = folder / "mine-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINT)
    shutil.copy(MODULE, folder)
    return folder


def python(site: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    paths = filter(None, [str(site), os.environ.get("PYTHONPATH")])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def weave_async(site: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return python(site, "-m", "weave_async.cli", *arguments, **env)


def test_it_is_run_by_its_name(site: Path) -> None:
    Path("rows.txt").write_text("".join(f"question {i}\n" for i in range(20)))
    with ScriptedEndpoint() as endpoint:
        done = weave_async(
            *(site, "run", "--prompts", "rows.txt", "--provider", "mine", "-o", "out", "--json"),
            WEAVE_ASYNC_BASE_URL=endpoint.base_url,
            WEAVE_ASYNC_API_KEY="key-of-mine",
        )
        assert done.returncode == 0, done.stderr
        keys = {request.headers.get("authorization") for request in endpoint.requests}
        assert keys == {"Bearer key-of-mine"}
    assert json.loads(done.stdout)["written"] == 20
    rows = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    assert all("question" in row["messages"][-1]["content"] for row in rows)
    verified = weave_async(site, "verify", "out")
    assert verified.returncode == 0, verified.stdout


def test_doctor_asks_it(site: Path) -> None:
    with ScriptedEndpoint() as endpoint:
        arguments = ("doctor", "--provider", "mine", "--base-url", endpoint.base_url)
        done = weave_async(site, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [request.path for request in endpoint.requests][:1] == ["/v1/models"]
    away = weave_async(site, "doctor", "--provider", "mine", "--base-url", "http://127.0.0.1:1/v1")
    assert away.returncode == 69, away.stdout


def test_it_is_known_by_name_to_whoever_mistypes_it(site: Path) -> None:
    done = weave_async(site, "doctor", "--provider", "mime")
    assert done.returncode == 78
    assert "did you mean 'mine'" in done.stdout + done.stderr


def test_a_recipe_names_it_too(site: Path) -> None:
    Path("rows.txt").write_text("one\ntwo\n")
    Path("recipe.yaml").write_text(
        'prompts: {source: rows.txt, template: "{{ text }}"}\n'
        "generate: {mix: [{endpoint: mine, model: theirs}]}\n"
    )
    with ScriptedEndpoint() as endpoint:
        env = {"WEAVE_ASYNC_BASE_URL": endpoint.base_url}
        done = weave_async(site, "run", "recipe.yaml", "-o", "out", "--json", **env)
        assert done.returncode == 0, done.stderr
        asked = {r.body["model"] for r in endpoint.requests if r.raw_body}
        assert asked == {"theirs"}


def test_it_passes_the_conformance_suite(site: Path) -> None:
    done = python(site, "-X", "dev", "-W", "error", "-c", CONFORM)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(check) for check in checks()]


def test_without_its_entry_point_it_is_not_known(site: Path) -> None:
    """What shows that the other tests find it by that line."""
    (site / "mine-1.0.dist-info/entry_points.txt").unlink()
    done = weave_async(site, "doctor", "--provider", "mine")
    assert done.returncode == 78
    assert "unknown provider 'mine'" in done.stdout + done.stderr
