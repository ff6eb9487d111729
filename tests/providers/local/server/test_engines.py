"""Each engine under the app in this process, on a model whose every token is known beforehand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from providers.local.server.app import build_app
from providers.local.server.engines import make_engine
from providers.local.server.generation import Capacity, RunningEngine
from providers.local.server.paged import PagedEngine
from providers.local.server.service import ServedModel, Service
from providers.local.server.weights import Codec, LoadedModel
from tiny_models import MAX_CONTEXT, RECITAL, make_reciter, make_tokenizer

AFTER_G = RECITAL[1:]
both_engines = pytest.mark.parametrize("kind", ["slots", "transformers"])


def load_reciter() -> LoadedModel:
    tokenizer = make_tokenizer()
    return LoadedModel(
        model=make_reciter(tokenizer),
        codec=Codec(tokenizer),
        served_name="reciter",
        device="cpu",
        dtype="float32",
        end_ids=frozenset({tokenizer.eos_token_id}),
        context_tokens=MAX_CONTEXT,
        vocab_size=len(tokenizer),
    )


@asynccontextmanager
async def serving(
    kind: str, loaded: LoadedModel, kv_tokens: int
) -> AsyncIterator[tuple[httpx.AsyncClient, RunningEngine]]:
    engine = make_engine(kind, loaded, Capacity(8, 8, kv_tokens), 1, pytest.fail)
    model = ServedModel(
        loaded.served_name, loaded.codec, loaded.end_ids, loaded.vocab_size, 256, "test", 0
    )
    engine.start()
    try:
        with Service(model, engine) as service:
            transport = httpx.ASGITransport(build_app(service, api_key=None, allowed_hosts=["*"]))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                yield client, engine
    finally:
        await engine.stop()


def run(
    kind: str,
    test: Callable[[httpx.AsyncClient, RunningEngine], Awaitable[None]],
    loaded: LoadedModel | None = None,
    kv_tokens: int = 8192,
) -> None:
    async def main() -> None:
        async with serving(kind, loaded or load_reciter(), kv_tokens) as (client, engine):
            await test(client, engine)

    asyncio.run(main())


async def recite(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    body = {"model": "reciter", "prompt": "G", "temperature": 0, **fields}
    answer = await client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    assert isinstance(reply, dict)
    return reply


async def stream_texts(client: httpx.AsyncClient, **fields: Any) -> list[str]:
    body = {"model": "reciter", "prompt": "G", "temperature": 0, "stream": True, **fields}
    answer = await client.post("/v1/completions", json=body)
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line)["choices"][0]["text"] for line in lines]


@both_engines
def test_the_end_token_ends_the_text_and_is_counted(kind: str) -> None:
    async def test(client: httpx.AsyncClient, _engine: RunningEngine) -> None:
        reply = await recite(client)
        (choice,) = reply["choices"]
        assert (choice["text"], choice["finish_reason"]) == (AFTER_G, "stop")
        num_tokens = len(AFTER_G.encode()) + 1
        assert reply["usage"]["completion_tokens"] == num_tokens
        exactly = await recite(client, max_tokens=num_tokens)
        assert exactly["choices"][0]["finish_reason"] == "stop"
        one_less = await recite(client, max_tokens=num_tokens - 1)
        assert one_less["choices"][0] | {"finish_reason": "stop"} == choice
        assert one_less["choices"][0]["finish_reason"] == "length"

    run(kind, test)


@both_engines
def test_characters_of_several_tokens_are_streamed_whole(kind: str) -> None:
    async def test(client: httpx.AsyncClient, _engine: RunningEngine) -> None:
        pieces = await stream_texts(client)  # steps that are quicker than the reader come as one
        assert "".join(pieces) == AFTER_G
        assert len(pieces) > 1
        # cut in the middle of 漢 (3 tokens): nothing of it is shown, streamed or not
        assert "".join(await stream_texts(client, max_tokens=4)) == "a "
        reply = await recite(client, max_tokens=4)
        assert reply["choices"][0]["text"] == "a "
        assert reply["usage"]["completion_tokens"] == 4

    run(kind, test)


@both_engines
@pytest.mark.parametrize(
    ("stop", "text", "num_tokens"),
    [("é", "a 漢", 7), (["!!", "p!"], "a 漢é😀-sto", 17), ("a", "", 1), ("x", AFTER_G, 18)],
)
def test_a_stop_string_ends_the_text_before_it(
    kind: str, stop: str | list[str], text: str, num_tokens: int
) -> None:
    async def test(client: httpx.AsyncClient, engine: RunningEngine) -> None:
        reply = await recite(client, stop=stop)
        (choice,) = reply["choices"]
        assert (choice["text"], choice["finish_reason"]) == (text, "stop")
        assert reply["usage"]["completion_tokens"] == num_tokens
        assert "".join(await stream_texts(client, stop=stop)) == text
        assert engine.state().num_running == 0

    run(kind, test)


@both_engines
def test_logits_that_are_no_numbers_are_an_error_and_not_a_text(kind: str) -> None:
    loaded = load_reciter()
    (bad,) = loaded.codec.encode("~")
    loaded.model.model.embed_tokens.weight.data[bad] = float("nan")

    async def test(client: httpx.AsyncClient, engine: RunningEngine) -> None:
        body = {"model": "reciter", "prompt": "~", "max_tokens": 3}
        answer = await client.post("/v1/completions", json=body)
        assert answer.status_code == 500
        assert "not numbers" in answer.json()["error"]["message"]
        assert (await recite(client))["choices"][0]["text"] == AFTER_G
        assert engine.state().num_running == 0

    run(kind, test, loaded)


@both_engines
def test_a_dead_engine_answers_503_with_the_cause(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_reciter()

    def explode(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("the GPU fell off")

    async def test(client: httpx.AsyncClient, engine: RunningEngine) -> None:
        broken = loaded.model.model if isinstance(engine, PagedEngine) else engine._decoder  # type: ignore[attr-defined]
        broken.forward = explode
        answer = await client.post("/v1/completions", json={"model": "reciter", "prompt": "G"})
        assert answer.status_code in {500, 503}
        assert "the GPU fell off" in answer.text
        after = await client.post("/v1/completions", json={"model": "reciter", "prompt": "G"})
        assert after.status_code == 503
        health = await client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "failed")
        assert "the GPU fell off" in health.json()["failure"]

    run(kind, test, loaded)


@both_engines
def test_sequences_wait_for_room_in_the_kv_cache_and_all_finish(kind: str) -> None:
    """12 sequences reserve 256 tokens each where 4 fit at once; nothing is lost or reordered."""
    loaded = load_reciter()

    async def test(client: httpx.AsyncClient, engine: RunningEngine) -> None:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, engine.state().num_running)
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        replies = await asyncio.gather(*(recite(client, max_tokens=255) for _ in range(12)))
        watcher.cancel()
        assert {reply["choices"][0]["text"] for reply in replies} == {AFTER_G}
        assert most == 4

    run(kind, test, loaded, kv_tokens=4 * 256)
