"""What the command line says of Ray before there is any."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_RAY = "import sys; sys.modules['ray'] = None; from weave_async.cli.main import main; main()"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "seeds.jsonl").write_text('{"text": "hello"}\n')
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: hello\nprompts: {source: seeds.jsonl, template: '{{ text }}'}\n"
        "generate: {mix: [{endpoint: simulated}]}\nmeasure: 'off'\n"
    )
    return path


def run(recipe: Path, *flags: str) -> tuple[int, str]:
    command = [sys.executable, "-c", WITHOUT_RAY, "run", str(recipe), *flags]
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=recipe.parent, env={**os.environ}, check=False
    )
    return ended.returncode, ended.stderr


def test_without_ray_the_way_to_it_is_named(recipe: Path) -> None:
    code, err = run(recipe, "--executor", "ray")
    assert code == 2
    assert "pip install 'weave-async[ray]'" in err


def test_a_local_run_needs_no_ray(recipe: Path) -> None:
    assert run(recipe)[0] == 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--address", "auto"], "--executor ray"),
        (["--workers", "2"], "--executor ray"),
        (["--executor", "ray", "--shard", "1/2"], "--shard"),
        (["--executor", "ray", "--otel"], "--otel"),
        (["--executor", "ray", "--resume", "never"], "--resume"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    recipe: Path, flags: list[str], named: str
) -> None:
    code, err = run(recipe, *flags)
    assert (code, named in err) == (2, True), err
