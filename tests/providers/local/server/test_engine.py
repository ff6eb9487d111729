"""What one sequence does to the others: nothing, even where it breaks or takes all there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import torch

from providers.local.server.batch import Batch
from providers.local.server.decoder import make_decoder
from providers.local.server.engine import STEP_TOKENS, BatchingEngine
from providers.local.server.errors import GenerationFailed
from providers.local.server.generation import Capacity, GenerationRequest, Sampling
from tiny_models import make_model

VOCABULARY = 97
POISON = 96  # its embedding is NaN
SHARED = [i % 90 for i in range(64)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Watched:
    """A tiny model's decoder, with something to happen before each of its steps."""

    def __init__(self, before: Callable[[Batch], None] = lambda batch: None) -> None:
        model = make_model(VOCABULARY)
        model.model.embed_tokens.weight.data[POISON] = float("nan")
        model.lm_head.weight.data[POISON] = 0  # and it is never said
        self._decoder = make_decoder(model)
        self.sizes = self._decoder.sizes
        self._before = before

    def exact_sizes(self) -> list[int]:
        return []

    def forward(self, batch: Batch) -> torch.Tensor:
        self._before(batch)
        return self._decoder.forward(batch)


def run(engine: BatchingEngine, test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        engine.start()
        try:
            await asyncio.wait_for(test(), 20)
        finally:
            await engine.stop()
            assert engine.state().kv_tokens_used == 0

    asyncio.run(main())


async def say(engine: BatchingEngine, prompt: list[int], max_tokens: int = 8) -> list[int]:
    request = GenerationRequest(prompt, max_tokens, Sampling(temperature=0), frozenset())
    tokens: list[int] = []
    with engine.submit([request]) as group:
        async for news in group:
            tokens += news.tokens
    return tokens


def alone(prompt: list[int], max_tokens: int = 8) -> list[int]:
    """What the prompt brings in an engine that has seen nothing else."""
    engine = BatchingEngine(Watched(), Capacity(1, 1, 4096))
    found: list[int] = []

    async def test() -> None:
        found.extend(await say(engine, prompt, max_tokens))

    run(engine, test)
    return found


def test_what_is_left_of_a_broken_sequence_is_no_prefix_for_others() -> None:
    """Its room is cleared, and must not be taken for the prompt that it began with."""
    engine = BatchingEngine(Watched(), Capacity(4, 4, 4 * 128))
    expected = alone([*SHARED, 5])

    async def test() -> None:
        with pytest.raises(GenerationFailed, match="not numbers"):
            await say(engine, [*SHARED, POISON])
        assert await say(engine, [*SHARED, 5]) == expected

    run(engine, test)


def test_what_a_sequence_left_before_its_first_token_breaks_nobody() -> None:
    """Nobody has looked yet whether it is NaN; a mask would not keep that out."""
    reading = asyncio.Event()
    loop: asyncio.AbstractEventLoop | None = None

    def note(batch: Batch) -> None:
        if POISON in batch.ids and loop is not None:
            loop.call_soon_threadsafe(reading.set)

    engine = BatchingEngine(Watched(note), Capacity(1, 1, 4096))
    expected = alone([3, 4, 5])

    async def test() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        leaving = asyncio.create_task(say(engine, [POISON] * 3500))
        await reading.wait()
        leaving.cancel()
        assert await say(engine, [3, 4, 5]) == expected

    run(engine, test)


def test_a_copy_without_memory_is_not_taken_for_made() -> None:
    engine = BatchingEngine(Watched(), Capacity(4, 4, 4 * 128))
    prompts = [[*SHARED, last] for last in (1, 2, 3)]
    expected = [alone(prompt) for prompt in prompts]
    copy, failures = engine._cache.copy, [MemoryError("no room")]

    def fail_once(*places: Any) -> None:
        if failures:
            raise failures.pop()
        copy(*places)

    engine._cache.copy = fail_once  # type: ignore[assignment,method-assign]

    async def test() -> None:
        found = await asyncio.gather(*(say(engine, prompt) for prompt in prompts))
        assert not failures
        assert found == expected

    run(engine, test)


@pytest.mark.parametrize(("max_concurrency", "kv_tokens"), [(1, 1000), (64, 100), (3, 700)])
def test_a_sequence_that_fills_all_of_the_room_is_run(max_concurrency: int, kv_tokens: int) -> None:
    """Room in whole cells must not be less than was promised: it would wait for ever."""
    engine = BatchingEngine(Watched(), Capacity(max_concurrency, 4, kv_tokens))

    async def test() -> None:
        assert len(await say(engine, SHARED, kv_tokens - len(SHARED))) == kv_tokens - len(SHARED)

    run(engine, test)


def test_a_prompt_of_several_steps_is_read_where_no_size_is_exact() -> None:
    """Nothing is picked in the first step: no rows of no dtype."""
    engine = BatchingEngine(Watched(), Capacity(1, 1, 4096))
    prompt = [i % 90 for i in range(STEP_TOKENS + 10)]

    async def test() -> None:
        assert len(await say(engine, prompt)) == 8

    run(engine, test)


def test_an_error_of_the_thread_reaches_all_readers(caplog: pytest.LogCaptureFixture) -> None:
    def explode(batch: Batch) -> None:
        if batch.positions.max() > 70:
            raise RuntimeError("the GPU fell off")

    engine = BatchingEngine(Watched(explode), Capacity(2, 4, 4096))

    async def test() -> None:
        readers = [say(engine, [*SHARED, last], 20) for last in range(5)]
        for found in await asyncio.gather(*readers, return_exceptions=True):
            assert "the GPU fell off" in str(found)

    async def main() -> None:
        engine.start()
        await asyncio.wait_for(test(), 20)
        await engine.stop()

    asyncio.run(main())
    assert "the generation thread ended" in caplog.text
