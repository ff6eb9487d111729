"""The program as a user meets it: arguments in, text, files and an exit code out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from weave_async.cli.main import main

RECIPE = """\
name: t
seed: 7
prompts:
  source: seeds.jsonl
  template: "{{ text }}"
generate:
  mix: [{endpoint: simulated}]
  params: {max_tokens: 100}
validation: [{length: {min_words: 20}}]
selection: [exact]
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call of the program came to."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded


Program = Callable[..., Outcome]


@pytest.fixture
def weave_async(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    """Calls ``weave-async`` in this process."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["weave-async", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
            sys.exit(0)
        code = exited.value.code
        captured = capsys.readouterr()
        return Outcome(code if isinstance(code, int) else 1, captured.out, captured.err)

    return call


@pytest.fixture
def recipe_file() -> Path:
    """A recipe with forty rows, on the simulated endpoint."""
    rows = [json.dumps({"text": f"Question {i} about my account", "topic": "t"}) for i in range(40)]
    Path("seeds.jsonl").write_text("\n".join(rows) + "\n")
    path = Path("recipe.yaml")
    path.write_text(RECIPE)
    return path
