"""Runs with a controller, for its tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weave_async import Recipe, Run, RunSummary, Settings

UNEVEN = "uneven_arms:UnevenProvider"
ROUND = 20


def recipe_of(num_rows: int, controller: Any = None, **more: Any) -> Recipe:
    """Two models, of which one repeats itself, and two tones, of which one is refused."""
    rows = (json.dumps({"text": f"Question {i} about my account"}) for i in range(num_rows))
    Path("seeds.jsonl").write_text("\n".join(rows) + "\n")
    mix = [{"endpoint": UNEVEN, "model": model} for model in ("lively", "dull")]
    params = {"max_tokens": 60, "temperature": {"uniform": [0.2, 1.2]}}
    recipe: dict[str, Any] = {
        "prompts": {
            "source": "seeds.jsonl",
            "template": "{{ text }}, in a {{ tone }} tone",
            "attributes": {"tone": {"choice": ["kind", "gruff"]}},
        },
        "generate": {"mix": mix, "params": params, **more.pop("generate", {})},
        "validation": [{"length": {"min_words": 3}}],
        "controller": {"round": ROUND} if controller is None else controller,
        **more,
    }
    return Recipe.model_validate(recipe)


def run_of(recipe: Recipe, folder: str = "out", *, concurrency: int = 16, **options: Any) -> Run:
    environment = Settings.from_environment({}, None).with_flags(max_concurrency=concurrency)
    return Run(recipe, output_dir=folder, settings=environment, **options)


async def finished(run: Run) -> RunSummary:
    async with run:
        return await run.finish()


def files_in(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.jsonl"))}


def decisions_in(folder: str) -> list[dict[str, Any]]:
    lines = Path(folder, "decisions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines][1:]
