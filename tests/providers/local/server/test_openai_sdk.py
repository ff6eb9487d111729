"""The openai SDK, as it is, against the server process: what its users will do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI, RateLimitError

from tiny_models import MAX_CONTEXT

from .conftest import MAX_CONCURRENCY, MAX_QUEUE, is_idle, wait_until

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def openai(server_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server_url}/v1", api_key="none", max_retries=0, timeout=30) as openai:
        yield openai


def test_a_chat(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(model="tiny", messages=HELLO, max_tokens=8, n=2)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert all(isinstance(choice.message.content, str) for choice in reply.choices)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 23


def test_a_seed_makes_the_stream_the_whole_text(openai: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 40, "seed": 3}
    whole = openai.chat.completions.create(**asked)
    chunks = list(
        openai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].usage == whole.usage
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == whole.choices[0].message.content


def test_a_stop_string_ends_a_chat(openai: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 40, "seed": 3}
    text = openai.chat.completions.create(**asked).choices[0].message.content
    assert text
    stop = text[len(text) // 2]
    choice = openai.chat.completions.create(**asked, stop=[stop]).choices[0]
    assert choice.message.content == text.partition(stop)[0]
    assert choice.finish_reason == "stop"


def test_completions(openai: OpenAI) -> None:
    reply = openai.completions.create(model="tiny", prompt=["ab", "cd"], max_tokens=4)
    assert [choice.index for choice in reply.choices] == [0, 1]
    streamed = openai.completions.create(model="tiny", prompt="ab", max_tokens=4, stream=True)
    assert [chunk.object for chunk in streamed][-1] == "text_completion"


def test_logprobs_have_a_place_where_they_are_asked_for(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=4, logprobs=True, top_logprobs=2
    )
    assert reply.choices[0].logprobs is not None
    for token in reply.choices[0].logprobs.content or ():
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 2


def test_the_list_of_models(openai: OpenAI) -> None:
    assert [model.id for model in openai.models.list()] == ["tiny"]
    assert openai.models.retrieve("tiny").owned_by == "local"


def test_errors_are_those_of_the_sdk(openai: OpenAI) -> None:
    create = openai.chat.completions.create
    with pytest.raises(BadRequestError) as too_long:
        create(model="tiny", messages=HELLO, max_tokens=MAX_CONTEXT)
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(NotFoundError) as other:
        create(model="gpt-5", messages=HELLO)
    assert other.value.code == "model_not_found"
    with pytest.raises(BadRequestError) as tools:
        create(model="tiny", messages=HELLO, tools=[{"type": "function"}])  # type: ignore
    assert (tools.value.code, tools.value.param) == ("unsupported_parameter", "tools")


def test_a_full_queue_is_a_rate_limit(openai: OpenAI, client: httpx.Client) -> None:
    endless = {"ignore_eos": True}

    def open_stream(_: int) -> Any:
        return openai.chat.completions.create(
            model="tiny", messages=HELLO, max_tokens=4000, stream=True, extra_body=endless
        )

    full = MAX_CONCURRENCY + MAX_QUEUE
    with ThreadPoolExecutor(full) as threads:
        streams = list(threads.map(open_stream, range(full)))
    with pytest.raises(RateLimitError) as refused:
        openai.chat.completions.create(model="tiny", messages=HELLO)
    assert int(refused.value.response.headers["retry-after"]) >= 1
    for stream in streams:
        stream.close()
    wait_until(lambda: is_idle(client))
