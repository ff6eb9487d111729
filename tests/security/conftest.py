"""Which providers send keys, and a folder with a recipe to send them with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from weave_async import registry

RECIPE: dict[str, Any] = {
    "name": "canary",
    "seed": 7,
    "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
    "generate": {"mix": [{}], "params": {"max_tokens": 64}, "attempts": 1},
    "budget": {"wall": "10s"},
}


def keyed_providers() -> list[str]:
    """Installed providers that reach an address of the user's with a key of the user's."""
    names = registry.installed("provider")
    return [name for name in names if registry.load("provider", name).environment_fallback]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a recipe of four rows."""
    write_recipe(tmp_path)
    return tmp_path


def write_recipe(folder: Path, *, rows: int = 4, **changes: Any) -> None:
    lines = [json.dumps({"text": f"row {i}"}) + "\n" for i in range(rows)]
    (folder / "seeds.jsonl").write_text("".join(lines))
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))
