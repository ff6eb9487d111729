"""The bodies of answers, whole and streamed, over an engine that says what the test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from providers.local.server.errors import GenerationFailed

from .fake_engine import FakeEngine, say
from .in_process import END_ID, RUST, chat_body, listening

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
A_HAN = [*RUST.encode("a漢").ids, END_ID]  # a token, three of one character, and the end


def run(engine: FakeEngine, talk: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with listening(engine) as client:
            return await talk(client)

    return asyncio.run(main())


def ask(engine: FakeEngine, path: str, **fields: Any) -> Any:
    async def talk(client: httpx.AsyncClient) -> Any:
        answer = await client.post(path, json=body_for(path, **fields))
        assert answer.status_code == 200, answer.text
        return answer.json()

    return run(engine, talk)


def body_for(path: str, **fields: Any) -> dict[str, Any]:
    return chat_body(**fields) if path == CHAT else {"model": "tiny", "prompt": "x", **fields}


def stream(path: str, steps: list[list[int]], **fields: Any) -> list[dict[str, Any]]:
    """The chunks of an answer whose tokens come in these steps, each read before the next."""
    engine = FakeEngine()

    async def talk(client: httpx.AsyncClient) -> list[dict[str, Any]]:
        body = body_for(path, stream=True, **fields)
        async with client.stream("POST", path, json=body) as answer:
            await engine.submitted.wait()
            for number, tokens in enumerate(steps, start=1):
                say(engine.generations[0], tokens, ended=number == len(steps))
                while engine.generations[0].changed.is_set():
                    await asyncio.sleep(0)
            # Not aiter_lines: to httpx a line ends at U+2028, too.
            events = (await answer.aread()).decode().removesuffix("\n\n").split("\n\n")
        assert events.pop() == "data: [DONE]"
        return [json.loads(event.removeprefix("data: ")) for event in events]

    chunks: list[dict[str, Any]] = run(engine, talk)
    return chunks


def test_logprobs_of_a_chat_name_each_token_and_its_bytes() -> None:
    reply = ask(FakeEngine(A_HAN), CHAT, logprobs=True, top_logprobs=2)
    content = reply["choices"][0]["logprobs"]["content"]
    assert [entry["bytes"] for entry in content] == [[97], [0xE6], [0xBC], [0xA2]]
    assert content[0]["token"] == "a"
    assert content[0]["logprob"] == -0.5
    assert content[0]["top_logprobs"] == [
        {"token": "<|start|>", "logprob": -1.0, "bytes": list(b"<|start|>")},
        {"token": "<|end|>", "logprob": -2.0, "bytes": list(b"<|end|>")},
    ]
    assert b"".join(bytes(entry["bytes"]) for entry in content).decode() == "a漢"


def test_without_top_logprobs_only_the_picked_tokens_are_told() -> None:
    reply = ask(FakeEngine(A_HAN), CHAT, logprobs=True)
    assert all(e["top_logprobs"] == [] for e in reply["choices"][0]["logprobs"]["content"])
    assert ask(FakeEngine(A_HAN), CHAT)["choices"][0]["logprobs"] is None


def test_logprobs_of_a_completion_are_lists_side_by_side() -> None:
    logprobs = ask(FakeEngine(A_HAN), COMPLETIONS, logprobs=1)["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["a", "bytes:\\xe6", "bytes:\\xbc", "bytes:\\xa2"]
    assert logprobs["token_logprobs"] == [-0.5] * 4
    assert logprobs["top_logprobs"][0] == {"<|start|>": -1.0, "a": -0.5}
    assert logprobs["text_offset"] == [0, 1, 1, 1]


def test_tokens_hidden_by_a_stop_string_have_no_logprobs() -> None:
    engine = FakeEngine([*RUST.encode("hello").ids, END_ID])
    choice = ask(engine, CHAT, logprobs=True, stop="ll")["choices"][0]
    assert choice["message"]["content"] == "he"
    assert choice["finish_reason"] == "stop"
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["h", "e"]


def test_streamed_logprobs_are_those_of_the_whole_answer() -> None:
    engine = FakeEngine(A_HAN)
    whole = ask(engine, CHAT, logprobs=True, top_logprobs=1)["choices"][0]["logprobs"]["content"]
    chunks = stream(CHAT, [[id_] for id_ in A_HAN], logprobs=True, top_logprobs=1)
    streamed = [
        (chunk["choices"][0]["delta"].get("content"), chunk["choices"][0]["logprobs"]["content"])
        for chunk in chunks
        if chunk["choices"][0]["logprobs"]
    ]
    assert [text for text, _ in streamed] == ["a", "漢", None]
    assert [entry for _, content in streamed for entry in content] == whole


def test_streamed_completion_logprobs_count_their_offsets_on() -> None:
    chunks = stream(COMPLETIONS, [[id_] for id_ in A_HAN], logprobs=0)
    offsets = [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks]
    assert offsets == [[0], [1, 1, 1], []]


def test_a_chunk_of_text_has_the_shape_of_any_other() -> None:
    """Its frame is rendered once and its text put in: both must be what a client expects."""
    text = 'quo"te\\ \n\t\0漢😀\u2028'
    chunks = stream(CHAT, [RUST.encode(text).ids, [END_ID]], stream_options={"include_usage": True})
    opening, said, ending, usage = chunks
    assert said["choices"] == [
        {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    ]
    assert ending["choices"] == [
        {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    ]
    heads = [{k: v for k, v in c.items() if k not in ("choices", "usage")} for c in chunks]
    assert all(head == heads[0] for head in heads)
    assert [c["usage"] for c in (opening, said, ending)] == [None] * 3
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == len(text.encode()) + 1


def test_only_a_reader_that_needs_news_at_each_step_gets_them() -> None:
    def is_incremental(**fields: Any) -> bool:
        engine = FakeEngine(A_HAN)

        async def talk(client: httpx.AsyncClient) -> None:
            await client.post(CHAT, json=chat_body(**fields))

        run(engine, talk)
        return engine.generations[0].request.incremental

    assert not is_incremental()
    assert not is_incremental(logprobs=True, n=2)
    assert is_incremental(stream=True)
    assert is_incremental(stop="x")


def test_an_error_within_a_stream_is_its_last_event() -> None:
    engine = FakeEngine()

    async def talk(client: httpx.AsyncClient) -> list[str]:
        async with client.stream("POST", CHAT, json=chat_body(stream=True)) as answer:
            await engine.submitted.wait()
            say(engine.generations[0], A_HAN[:1])
            engine.generations[0].fail(GenerationFailed("no numbers"))
            return [line async for line in answer.aiter_lines() if line]

    last = json.loads(run(engine, talk)[-1].removeprefix("data: "))
    assert last["error"]["code"] == "generation_failed"


def test_bias_of_a_token_that_is_none_is_refused() -> None:
    async def talk(client: httpx.AsyncClient) -> Any:
        body = chat_body(logit_bias={str(RUST.get_vocab_size()): 1})
        return (await client.post(CHAT, json=body)).json()["error"]

    assert run(FakeEngine(), talk)["param"] == "logit_bias"
