"""A recipe whose endpoint is asked in batches, and a server that takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from invariants import read_rows
from weave_async.audit import audit
from weave_async.recipe import Recipe
from weave_async.run import Run
from weave_async.settings import Settings
from weave_async.summary import RunSummary
from weave_async.testing.batch_endpoint import BatchEndpoint

NUM_ROWS = 12


@dataclass
class Bench:
    """Runs of one recipe against one server."""

    folder: Path
    endpoint: BatchEndpoint
    rows: list[dict[str, Any]] = field(
        default_factory=lambda: [{"text": f"row {number}"} for number in range(NUM_ROWS)]
    )
    generate: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)
    mode: str = "batch"
    accept: int | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def recipe(self) -> Recipe:
        lines = [orjson.dumps(row) + b"\n" for row in self.rows]
        (self.folder / "seeds.jsonl").write_bytes(b"".join(lines))
        entry = {
            "endpoint": "openai_compatible",
            "model": "scripted-model",
            "mode": self.mode,
        }
        recipe = Recipe.model_validate(
            {
                "seed": 7,
                "budget": self.budget,
                "accept": self.accept,
                "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
                "generate": {"mix": [entry], "params": {"max_tokens": 64}, **self.generate},
            }
        )
        recipe._folder = self.folder
        return recipe

    def new_run(self, out: Path | None = None, **options: Any) -> Run:
        environment = {
            "WEAVE_ASYNC_BASE_URL": self.endpoint.base_url,
            "WEAVE_ASYNC_API_KEY": "sk-canary-0123456789",
            **self.environment,
        }
        settings = Settings.from_environment(environment, dotenv=None)
        return Run(self.recipe(), output_dir=out or self.out, settings=settings, **options)

    def run(
        self,
        out: Path | None = None,
        *,
        during: Callable[[Run], None] | None = None,
        **options: Any,
    ) -> RunSummary:
        """A run to its end; what it leaves must pass ``verify``."""

        async def scenario() -> RunSummary:
            async with self.new_run(out, **options) as run:
                finishing = asyncio.create_task(run.finish())
                if during is not None:
                    await asyncio.to_thread(during, run)
                return await finishing

        summary = asyncio.run(scenario())
        found = audit(out or self.out)
        assert found.passed, found.as_dict()
        return summary

    def written(self, out: Path | None = None) -> list[str]:
        rows = read_rows((out or self.out) / "samples.jsonl")
        return [row["messages"][0]["content"] for row in rows]
