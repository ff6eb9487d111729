"""The one HTTP client for all servers: as lean as a client can be that shares their cores."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from local_generation.load import Answered, Load, Message
from local_generation.process_group import StackFailed

SHOWN_CHARS = 300


@dataclass(slots=True)
class _Set:
    output_tokens: list[int] = field(default_factory=list)
    input_tokens: list[int] = field(default_factory=list)
    e2e_s: list[float] = field(default_factory=list)
    ttft_s: list[float] = field(default_factory=list)


def ask_all(
    base_url: str, load: Load, options: Mapping[str, Any], *, is_streamed: bool, timeout_s: float
) -> Answered:
    """Send the conversations in order, ``load.concurrency`` at a time.

    ``options`` are the stack's own additions to the body. Raises StackFailed at the first request
    that fails: a set with gaps has no tokens per second.
    """
    return asyncio.run(_ask_all(base_url, load, options, is_streamed, timeout_s))


async def _ask_all(
    base_url: str, load: Load, options: Mapping[str, Any], is_streamed: bool, timeout_s: float
) -> Answered:
    body = {
        "max_tokens": load.max_tokens,
        "temperature": load.temperature,
        "top_p": load.top_p,
        **({"stream": True, "stream_options": {"include_usage": True}} if is_streamed else {}),
        **options,
    }
    waiting = iter(load.conversations)
    answers = _Set()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=timeout_s)
    ) as session:

        async def work() -> None:
            for messages in waiting:
                await _ask(session, f"{base_url}/chat/completions", body, messages, answers)

        started_s, started_cpu_s = time.monotonic(), time.process_time()
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                for _ in range(load.concurrency):
                    group.create_task(work())
        except TimeoutError as error:
            raise StackFailed(f"a set took longer than {timeout_s:.0f} s") from error
        except ExceptionGroup as failures:
            raise StackFailed(f"a request failed: {failures.exceptions[0]!r}") from failures
        wall_s, cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
    return Answered(
        wall_s,
        answers.output_tokens,
        answers.input_tokens,
        answers.e2e_s,
        answers.ttft_s,
        client_cpu_s=cpu_s,
    )


async def _ask(
    session: aiohttp.ClientSession,
    url: str,
    body: Mapping[str, Any],
    messages: Sequence[Message],
    answers: _Set,
) -> None:
    sent_s = time.monotonic()
    async with session.post(url, json={**body, "messages": messages}) as reply:
        if reply.status != 200:
            raise StackFailed(f"status {reply.status}: {(await reply.text())[:SHOWN_CHARS]}")
        if "stream" in body:
            usage, ttft_s = await _read_stream(reply, sent_s)
            answers.ttft_s.append(ttft_s)
        else:
            usage = json.loads(await reply.read())["usage"]
    answers.e2e_s.append(time.monotonic() - sent_s)
    answers.output_tokens.append(usage["completion_tokens"])
    answers.input_tokens.append(usage["prompt_tokens"])


async def _read_stream(
    reply: aiohttp.ClientResponse, sent_s: float
) -> tuple[dict[str, int], float]:
    """The usage, and the seconds from the send to the first text."""
    usage, ttft_s = None, None
    async for line in reply.content:
        if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
            continue
        chunk = json.loads(line[5:])
        usage = chunk.get("usage") or usage
        if ttft_s is None and any(c["delta"].get("content") for c in chunk.get("choices", ())):
            ttft_s = time.monotonic() - sent_s
    if usage is None or ttft_s is None:
        raise StackFailed("a stream ended without text or without its usage")
    return usage, ttft_s
