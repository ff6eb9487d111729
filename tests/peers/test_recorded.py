"""What real servers sent, byte for byte, read again without them.

``recorded/SERVER.CASE.http`` is a whole reply of xpyd-sim 0.5.0 or of ``transformers serve`` 5.23
(with a tiny random model), to a request with ``max_tokens: 4`` and, streamed, ``include_usage``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from weave_async import registry
from weave_async.errors import ProviderError, RequestRefusedError, ServerError
from weave_async.interfaces import Provider
from weave_async.records import Api, Chunk, Endpoint, Message, Request, Response, SamplingParams
from weave_async.testing.scripted_endpoint import Reply, ScriptedEndpoint

RECORDED = Path(__file__).parent / "recorded"


def providers() -> list[str]:
    names = registry.installed("provider")
    return [n for n in names if registry.load("provider", n).environment_fallback == "OPENAI"]


@pytest.fixture(params=providers())
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.http").read_bytes()


def replayed(provider: str, name: str, api: Api = "chat") -> list[Response | Chunk]:
    """What the provider makes of the recording: of a ``-stream``, when asked for a stream."""
    params = SamplingParams(max_tokens=4)
    request = Request("r", "m", (Message("user", "hello there"),), params, api)

    async def ask(entered: Provider) -> list[Response | Chunk]:
        if not name.endswith("stream"):
            return [await entered.complete(request)]
        stream: AsyncIterator[Chunk] = entered.stream(request)
        return [chunk async for chunk in stream]

    async def scenario(base_url: str) -> list[Response | Chunk]:
        endpoint = Endpoint("peer", provider, "m", base_url)
        async with registry.load("provider", provider)(endpoint) as entered:
            return await ask(entered)

    with ScriptedEndpoint(lambda request: Reply(raw=recorded(name))) as endpoint:
        return asyncio.run(scenario(endpoint.base_url))


@pytest.mark.parametrize(
    ("name", "text", "reason", "usage"),
    [
        ("xpyd-sim.chat", None, "stop", None),
        ("xpyd-sim.completion", None, None, None),
        ("xpyd-sim.two-choices", None, None, None),
        ("transformers.chat", None, "length", (29, 4)),
        ("transformers.completion", None, "length", (2, 4)),
    ],
)
def test_a_whole_answer(
    provider: str, name: str, text: str | None, reason: str | None, usage: tuple[int, int] | None
) -> None:
    said = json.loads(recorded(name).partition(b"\r\n\r\n")[2])
    choice = said["choices"][0]
    (response,) = replayed(provider, name, "completions" if "completion" in name else "chat")
    assert isinstance(response, Response)
    assert response.text == (choice["text"] if "text" in choice else choice["message"]["content"])
    assert response.finish_reason == choice["finish_reason"] == (reason or response.finish_reason)
    assert response.usage.input_tokens == said["usage"]["prompt_tokens"]
    assert response.usage.output_tokens == said["usage"]["completion_tokens"]
    assert usage in (None, (response.usage.input_tokens, response.usage.output_tokens))
    assert response.model == said["model"]


STREAMS = [
    "xpyd-sim.chat-stream",
    "xpyd-sim.completion-stream",
    "transformers.chat-stream",
    "transformers.completion-stream",
]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream(provider: str, name: str) -> None:
    """Keys that are there and null; the usage in the finish chunk; no ``[DONE]``."""
    chunks = replayed(provider, name, "completions" if "completion" in name else "chat")
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    assert chunks[0].text, "the role passed for a first token"
    documents = _documents(recorded(name))
    choices = [choice for document in documents for choice in document["choices"]]
    said = [c["text"] if "text" in c else c["delta"].get("content") or "" for c in choices]
    assert "".join(chunk.text for chunk in chunks) == "".join(said)
    reasons = [c.finish_reason for c in chunks if isinstance(c, Chunk) and c.finish_reason]
    assert reasons == [c["finish_reason"] for c in choices if c.get("finish_reason")]
    (usage,) = (document["usage"] for document in documents if document.get("usage"))
    last = [chunk.usage for chunk in chunks if chunk.usage][-1]
    assert (last.input_tokens, last.output_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_is_cut_is_no_answer(provider: str, name: str) -> None:
    """At every event but those after the finish reason, which complete it."""
    whole = recorded(name)
    finish = whole.index(b'"finish_reason":"')
    params = SamplingParams(max_tokens=4)
    api: Api = "completions" if "completion" in name else "chat"
    request = Request("r", "m", (Message("user", "hello there"),), params, api)
    head_end = whole.index(b"\r\n\r\n") + 4
    cuts = range(head_end, finish, 97)
    pending = iter(cuts)

    async def scenario(base_url: str) -> None:
        endpoint = Endpoint("peer", provider, "m", base_url)
        async with registry.load("provider", provider)(endpoint) as entered:
            for _ in cuts:
                with pytest.raises(ProviderError) as caught:
                    async for _chunk in entered.stream(request):
                        pass
                assert caught.value.retryable

    with ScriptedEndpoint(lambda request: Reply(raw=whole[: next(pending)])) as endpoint:
        asyncio.run(scenario(endpoint.base_url))


def test_a_call_of_a_tool_is_no_plain_answer(provider: str) -> None:
    chunks = replayed(provider, "xpyd-sim.tool-stream")
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("transformers.unknown-model", RequestRefusedError, "Server is pinned to 'tiny'"),
        ("transformers.unknown-field", RequestRefusedError, "nonsense"),
        ("transformers.bad-messages", ServerError, "Internal Server Error"),
        ("xpyd-sim.bad-messages", RequestRefusedError, "Input should be a valid list"),
    ],
)
def test_an_error_says_what_the_server_said(
    provider: str, name: str, kind: type[ProviderError], says: str
) -> None:
    with pytest.raises(ProviderError, match=says) as caught:
        replayed(provider, name)
    assert isinstance(caught.value, kind)


def test_no_list_of_models_is_a_plain_error(provider: str) -> None:
    async def scenario(base_url: str) -> None:
        endpoint = Endpoint("peer", provider, "m", base_url)
        async with registry.load("provider", provider)(endpoint) as entered:
            await entered.models()

    reply = Reply(raw=recorded("transformers.models"))
    with ScriptedEndpoint(lambda request: reply) as endpoint:
        with pytest.raises(ServerError):
            asyncio.run(scenario(endpoint.base_url))


def _documents(reply: bytes) -> list[dict[str, object]]:
    lines = [line for line in reply.splitlines() if line.startswith(b"data: {")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]
