"""The same behaviour with servers of three makes: only their addresses differ."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import pytest
import yaml

from invariants import Ended, check_run, frames
from weave_async import registry
from weave_async.errors import ProviderError
from weave_async.interfaces import Provider
from weave_async.records import Chunk, Endpoint, Message, Request, SamplingParams

from .conftest import Peer

pytestmark = pytest.mark.peers

T = TypeVar("T")
ROWS, IN_FLIGHT = 64, 32
KEY = "sk-canary-of-peers-0123456789"


def providers() -> list[str]:
    """The installed providers that reach servers like these."""
    names = registry.installed("provider")
    return [n for n in names if registry.load("provider", n).environment_fallback == "OPENAI"]


@pytest.fixture(params=providers())
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def use(peer: Peer, provider: str, act: Callable[[Provider], Awaitable[T]]) -> T:
    async def scenario() -> T:
        endpoint = Endpoint(
            "peer", provider, peer.model, peer.base_url, max_concurrency=IN_FLIGHT, timeout_s=60
        )
        async with registry.load("provider", provider)(endpoint) as entered:
            return await act(entered)

    return asyncio.run(scenario())


def request_to(peer: Peer, content: str = "hello there", max_tokens: int = 12) -> Request:
    params = SamplingParams(max_tokens=max_tokens, temperature=0.0)
    return Request(f"r-{content}", peer.model, (Message("user", content),), params)


def weave_async(folder: Path, peer: Peer, provider: str, *arguments: str) -> Ended:
    env = {
        **os.environ,
        "WEAVE_ASYNC_PROVIDER": provider,
        "WEAVE_ASYNC_BASE_URL": peer.base_url,
        "WEAVE_ASYNC_MODEL": peer.model,
        "WEAVE_ASYNC_API_KEY": KEY,
        "WEAVE_ASYNC_MAX_CONCURRENCY": str(IN_FLIGHT),
    }
    begun_s = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "weave_async.cli", *arguments],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out, err = process.communicate(timeout=110)
    elapsed_s = perf_counter() - begun_s
    return Ended(process.pid, process.returncode, out, err, elapsed_s, (), frozenset())


def num_sent(folder: Path) -> int:
    return sum(len(frame["calls"]) for frame in frames(folder) if frame["kind"] == "sent")


def write_recipe(folder: Path) -> None:
    rows = [json.dumps({"text": f"Tell me something about the number {i}"}) for i in range(ROWS)]
    (folder / "seeds.jsonl").write_text("\n".join(rows) + "\n")
    recipe: dict[str, Any] = {
        "name": "peers",
        "seed": 7,
        "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
        "generate": {"mix": [{}], "params": {"max_tokens": 8}},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def test_a_run_writes_every_row_is_verified_and_asks_nothing_again(
    peer: Peer, provider: str, tmp_path: Path
) -> None:
    write_recipe(tmp_path)
    out = tmp_path / "out"
    run = ("run", "recipe.yaml", "-o", "out", "--json")
    first = weave_async(tmp_path, peer, provider, *run)
    assert first.exit_code == 0, first.err
    summary = first.summary
    # A random model ends some answers before they begin: rejected as empty.
    least = ROWS - 8 if peer.is_random else ROWS
    assert summary["failed"] == 0, summary
    assert summary["written"] >= least, summary
    assert summary["written"] + summary["rejected"] == ROWS, summary
    assert summary["input_tokens"] > 0
    assert 0 < summary["output_tokens"] <= ROWS * 8
    check_run(out, [first], canary=KEY)
    usages = [f["response"]["usage"] for f in frames(out) if f["kind"] == "answer"]
    assert len(usages) == ROWS
    assert all(usage["input_tokens"] and usage["output_tokens"] for usage in usages)

    verified = weave_async(tmp_path, peer, provider, "verify", "out")
    assert verified.exit_code == 0, verified.out + verified.err

    sent, samples = num_sent(out), (out / "samples.jsonl").read_bytes()
    again = weave_async(tmp_path, peer, provider, *run)
    assert again.exit_code == 0, again.err
    assert num_sent(out) == sent
    assert (out / "samples.jsonl").read_bytes() == samples


def test_an_answer_has_text_a_reason_and_usage(peer: Peer, provider: str) -> None:
    response = use(peer, provider, lambda p: p.complete(request_to(peer)))
    assert response.text
    assert response.finish_reason in ("stop", "length")
    assert response.usage.input_tokens
    assert response.usage.output_tokens


@pytest.mark.parametrize("max_tokens", [1, 7, 40])
def test_max_tokens_is_honoured(peer: Peer, provider: str, max_tokens: int) -> None:
    request = request_to(peer, max_tokens=max_tokens)
    response = use(peer, provider, lambda p: p.complete(request))
    counted = response.usage.output_tokens
    assert counted is not None
    assert 1 <= counted <= max_tokens
    if peer.is_random and response.finish_reason == "length":
        assert counted == max_tokens


def test_a_stream_has_text_first_one_reason_and_usage(peer: Peer, provider: str) -> None:
    async def collect(entered: Provider) -> list[Chunk]:
        return [chunk async for chunk in entered.stream(request_to(peer))]

    chunks = use(peer, provider, collect)
    assert chunks[0].text or chunks[0].reasoning, "the role passed for a first token"
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] in (
        ["stop"],
        ["length"],
    )
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert usages
    assert usages[-1].input_tokens
    assert usages[-1].output_tokens


def test_the_first_token_comes_after_the_role(xpyd_sim: Peer, provider: str) -> None:
    """The simulator sends the role at once, and the first token when its prefill is over."""

    async def first_token_s(entered: Provider) -> float:
        stream = entered.stream(request_to(xpyd_sim))
        begun_s = perf_counter()
        async for chunk in stream:
            if chunk.text:
                elapsed_s = perf_counter() - begun_s
                break
        await stream.aclose()  # type: ignore[attr-defined]
        return elapsed_s

    assert use(xpyd_sim, provider, first_token_s) >= 0.04


def test_many_are_answered_at_once(peer: Peer, provider: str) -> None:
    async def ask_all(entered: Provider) -> list[str]:
        requests = [request_to(peer, f"question {i}") for i in range(2 * IN_FLIGHT)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(entered.complete(request)) for request in requests]
        return [task.result().text for task in tasks]

    texts = use(peer, provider, ask_all)
    assert len(texts) == 2 * IN_FLIGHT
    assert sum(map(bool, texts)) >= len(texts) - (8 if peer.is_random else 0)


def test_streams_that_are_left_do_no_harm(peer: Peer, provider: str) -> None:
    async def leave_then_ask(entered: Provider) -> str:
        for _ in range(8):
            stream = entered.stream(request_to(peer, max_tokens=200))
            async for _chunk in stream:
                break
            await stream.aclose()  # type: ignore[attr-defined]
        return (await entered.complete(request_to(peer))).text

    assert use(peer, provider, leave_then_ask)


def test_a_list_of_models_names_it_or_is_a_plain_error(peer: Peer, provider: str) -> None:
    if peer.lists_models:
        assert peer.model in use(peer, provider, lambda p: p.models())
        return
    with contextlib.suppress(ProviderError):
        assert use(peer, provider, lambda p: p.models())


def test_doctor_finds_it(peer: Peer, provider: str, tmp_path: Path) -> None:
    if not peer.lists_models:
        pytest.skip("it lists no models")
    ended = weave_async(tmp_path, peer, provider, "doctor", "--json")
    assert ended.exit_code == 0, ended.out + ended.err
    assert KEY not in ended.out + ended.err
