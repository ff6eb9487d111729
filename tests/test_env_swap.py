"""One recipe, three providers, chosen by the environment alone: the same shape comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weave_async import Recipe, Run
from weave_async.testing.scripted_endpoint import ScriptedEndpoint

RECIPE = """
name: swap
seed: 7
prompts:
  source: seeds.jsonl
  system: Be brief.
  template: "{{ text }} ({{ tone }})"
  attributes: {tone: {choice: [polite, angry]}}
generate:
  mix: [{endpoint: local, model: "./nowhere"}]
  params: {temperature: {uniform: [0.5, 1.0]}, max_tokens: 12}
noise: [{typos: {rate: 0.05}}]
validation: [{length: {complete: false}}]
"""


def shape_of(value: Any) -> Any:
    """Keys and types, without values."""
    if isinstance(value, dict):
        return {key: shape_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape_of(inner) for inner in value[:1]]
    return type(value).__name__


async def make(folder: str) -> list[dict[str, Any]]:
    recipe = Recipe.load("recipe.yaml")
    async with Run(recipe, output_dir=folder) as run:
        summary = await run.finish()
    assert summary.written + summary.rejected == summary.asked == 6, summary
    return [json.loads(line) for line in Path(folder, "samples.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def _recipe() -> None:
    Path("recipe.yaml").write_text(RECIPE)
    rows = [{"text": f"Please answer question number {i} of my list"} for i in range(6)]
    Path("seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_environment_swaps_providers_and_nothing_else_changes(
    monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    import asyncio

    rows = {}
    for provider, model in (("simulated", "any"), ("openai_compatible", "any"), ("local", None)):
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", provider)
        monkeypatch.setenv("WEAVE_ASYNC_MODEL", model or str(tiny_folder))
        if provider == "openai_compatible":
            with ScriptedEndpoint() as endpoint:
                monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
                monkeypatch.setenv("WEAVE_ASYNC_API_KEY", "sk-test")
                rows[provider] = asyncio.run(make(provider))
            sent = [request for request in endpoint.requests if request.method == "POST"]
            assert len(sent) == 6
            assert {r.headers["authorization"] for r in sent} == {"Bearer sk-test"}
            assert all(0.5 <= r.body["temperature"] <= 1.0 for r in sent)
            monkeypatch.delenv("WEAVE_ASYNC_BASE_URL")
            monkeypatch.delenv("WEAVE_ASYNC_API_KEY")
        else:
            rows[provider] = asyncio.run(make(provider))
    assert all(rows.values())
    noiseless = {
        name: [{**row, "lineage": {**row["lineage"], "noise": [], "verdicts": []}} for row in found]
        for name, found in rows.items()
    }
    shapes = {json.dumps(shape_of(row)) for found in noiseless.values() for row in found}
    assert len(shapes) == 1
    by_id = {
        name: {row["sample_id"]: (row["messages"][:-1], row["lineage"]["params"]) for row in found}
        for name, found in rows.items()
    }
    for name, found in by_id.items():  # the same questions, noise and draws, whoever answers
        for sample_id in found.keys() & by_id["simulated"].keys():
            assert found[sample_id] == by_id["simulated"][sample_id], name


def test_openai_variables_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "openai_compatible")
    with ScriptedEndpoint() as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
        monkeypatch.setenv("OPENAI_MODEL", "from-openai")
        rows = asyncio.run(make("out"))
    assert {row["lineage"]["model"] for row in rows} == {"from-openai"}
    assert endpoint.requests[-1].headers["authorization"] == "Bearer sk-openai"


def test_answers_bought_without_a_preset_are_used_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset changes how requests look on the wire, and not which requests they are."""
    import asyncio

    monkeypatch.setenv("WEAVE_ASYNC_MODEL", "m")
    with ScriptedEndpoint() as endpoint:
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "openai_compatible")
        rows = asyncio.run(make("out"))
        sent = len(endpoint.requests)
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "openai")
        assert asyncio.run(make("out")) == rows
        again = endpoint.requests[sent:]
    assert {request.method for request in again} <= {"GET"}


def test_a_preset_shapes_the_requests_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("OPENAI_MODEL", "from-openai")
    with ScriptedEndpoint() as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.base_url)
        asyncio.run(make("out"))
    sent = [request for request in endpoint.requests if request.method == "POST"]
    assert {request.body["max_completion_tokens"] for request in sent} == {12}
    assert not any("max_tokens" in request.body for request in sent)
    assert {request.headers["authorization"] for request in sent} == {"Bearer sk-openai"}
