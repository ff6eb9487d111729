"""What the engine says is the model's text: as transformers says it, whatever else goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from providers.local.server.decoder import FusedDecoder, HookedDecoder, make_decoder
from providers.local.server.engine import BatchingEngine
from providers.local.server.generation import Capacity, GenerationRequest, Sampling
from tiny_models import make_model

VOCABULARY = 97
NUM_PROMPTS = 50
MAX_TOKENS = 24
SHARED = [random.Random(1).randrange(VOCABULARY) for _ in range(70)]


def prompts() -> list[list[int]]:
    """Of 1 to 200 tokens; every other one begins with the same 70."""
    draw = random.Random(0)
    own = [[draw.randrange(VOCABULARY) for _ in range(draw.randint(1, 130))] for _ in range(50)]
    return [SHARED + ids if number % 2 else ids for number, ids in enumerate(own)]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model(dtype: torch.dtype = torch.float32) -> Any:
    made = make_model(VOCABULARY).to(dtype)
    made.generation_config.eos_token_id = None
    return made


@pytest.fixture(scope="module")
def expected() -> list[list[int]]:
    own = model()
    texts = []
    for ids in prompts():
        with torch.inference_mode():
            out = own.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=MAX_TOKENS,
                do_sample=False,
                pad_token_id=0,
            )
        texts.append(out[0, len(ids) :].tolist())
    return texts


async def say(
    engine: BatchingEngine, requests: Sequence[GenerationRequest], at_once: int
) -> list[list[int]]:
    places = asyncio.Semaphore(at_once)

    async def one(request: GenerationRequest) -> list[int]:
        tokens: list[int] = []
        async with places:
            with engine.submit([request]) as group:
                async for news in group:
                    tokens += news.tokens
        return tokens

    return await asyncio.gather(*map(one, requests))


def texts(
    engine: BatchingEngine, requests: Sequence[GenerationRequest], at_once: int
) -> list[list[int]]:
    async def main() -> list[list[int]]:
        engine.start()
        try:
            return await say(engine, requests, at_once)
        finally:
            await engine.stop()

    return asyncio.run(main())


def greedy(ids: list[int]) -> GenerationRequest:
    return GenerationRequest(ids, MAX_TOKENS, Sampling(temperature=0), frozenset())


def seeded(ids: list[int], seed: int) -> GenerationRequest:
    sampling = Sampling(temperature=0.9, top_p=0.95, seed=seed, seeded=True)
    return GenerationRequest(ids, MAX_TOKENS, sampling, frozenset(), incremental=seed % 2 == 0)


@pytest.mark.parametrize("decoder", [FusedDecoder, HookedDecoder])
@pytest.mark.parametrize(("at_once", "kv_tokens"), [(1, 4096), (7, 4096), (50, 8 * 128), (50, 512)])
def test_greedy_text_is_that_of_generate(
    expected: list[list[int]], decoder: Any, at_once: int, kv_tokens: int
) -> None:
    """With room for all, and with cells so small that a sequence takes several."""
    engine = BatchingEngine(decoder(model()), Capacity(8, 100, kv_tokens))
    assert texts(engine, [greedy(ids) for ids in prompts()], at_once) == expected
    state = engine.state()
    assert state.prefix_tokens_reused > 0 or at_once == 1  # then each takes the place of the last
    assert (state.kv_tokens_used, state.num_running, state.num_waiting) == (0, 0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_seed_gives_the_same_text_alone_and_in_any_company(dtype: torch.dtype) -> None:
    asked = [seeded(ids, seed) for seed, ids in enumerate(prompts())]
    decoder = make_decoder(model(dtype))

    def engine() -> BatchingEngine:
        return BatchingEngine(decoder, Capacity(16, 100, 16 * 256))

    together = texts(engine(), asked, 50)
    assert texts(engine(), asked[::-1], 3) == together[::-1]
    for number in (0, 1, 17):
        assert texts(engine(), [asked[number]], 1) == [together[number]]


class Breaking:
    """A decoder that has no memory for more than a few sequences."""

    def __init__(self, error: Exception, most: int) -> None:
        self._decoder = make_decoder(model())
        self.sizes = self._decoder.sizes
        self._error, self._most = error, most

    def exact_sizes(self) -> list[int]:
        return self._decoder.exact_sizes()

    def forward(self, batch: Any) -> torch.Tensor:
        if batch.num_picked > self._most:
            raise self._error
        return self._decoder.forward(batch)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"
        ),
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
    ],
)
def test_a_step_without_memory_goes_on_with_half_and_loses_nothing(
    expected: list[list[int]], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    engine = BatchingEngine(Breaking(error, 3), Capacity(16, 100, 16 * 256))
    assert texts(engine, [greedy(ids) for ids in prompts()], 50) == expected
    assert "out of memory in a step" in caplog.text


def test_a_sequence_too_large_alone_fails_and_the_engine_lives(
    expected: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    engine = BatchingEngine(decoder := Breaking(MemoryError("no room"), 0), Capacity(4, 4, 1024))

    async def main() -> None:
        engine.start()
        try:
            with pytest.raises(Exception, match="too much for the memory: no room"):
                await say(engine, [greedy(prompts()[0])], 1)
            decoder._most = 9
            assert await say(engine, [greedy(prompts()[0])], 1) == expected[:1]
        finally:
            await engine.stop()

    asyncio.run(main())


def test_leaving_frees_the_room_while_others_go_on(expected: list[list[int]]) -> None:
    engine = BatchingEngine(make_decoder(model()), Capacity(4, 40, 4 * 512))

    async def leave(ids: list[int], after: int) -> None:
        request = GenerationRequest(ids, 300, Sampling(temperature=0), frozenset())
        with engine.submit([request]) as group:
            seen = 0
            async for news in group:
                seen += len(news.tokens)
                if seen >= after:
                    return

    async def main() -> list[list[int]]:
        engine.start()
        try:
            leaving = [leave(ids, after) for after, ids in enumerate(prompts()[:12])]
            found, *_ = await asyncio.gather(
                say(engine, [greedy(ids) for ids in prompts()[:20]], 20), *leaving
            )
            return found
        finally:
            await engine.stop()
            assert engine.state().kv_tokens_used == 0

    assert asyncio.run(main()) == expected[:20]
