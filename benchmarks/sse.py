"""Chunks of a streamed answer per second of CPU: our reader beside the openai SDK's.

    python benchmarks/sse.py [--chunks 20000] [--repeats 5] [--json]

The same bytes for all: chunks as OpenAI sends them, cut at random into pieces of 64 B to 16 kB, in
memory, so that reading alone is measured: bytes in, and out of them ``Chunk`` here, the SDK's
``ChatCompletionChunk`` there. The last two lines read the same bytes from a loopback server, each
through its whole stack.
Figures are medians over the repeats, in turns, [least–most].
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx2
import orjson
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from providers.openai_compatible import OpenAICompatibleProvider
from providers.wire.errors import ErrorReader
from providers.wire.stream import ChunkReader
from tables import shown, spread, table
from weave_async.records import Endpoint, Message, Request, SamplingParams
from weave_async.testing.replies import Reply, chat_chunks
from weave_async.testing.scripted_endpoint import ScriptedEndpoint

PIECE_BYTES = (64, 16 * 1024)
SEED = 7
OURS, SDK = "weave_async", "openai SDK"
MAX_BYTES = 1 << 30
URL = "http://127.0.0.1/v1/chat/completions"
REQUEST = Request("bench", "m", (Message("user", "hi"),), SamplingParams())

Reader = Callable[[Sequence[bytes]], Awaitable[tuple[int, int]]]
"""Reads a stream's pieces; gives how many chunks it held, and how many characters of text."""


def main() -> None:
    given = parse_arguments()
    result = asyncio.run(measured(given.chunks, given.repeats))
    if given.json:
        print(json.dumps(result))
        return
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}; {result['num_chunks']:,} chunks, "
        f"{result['num_bytes']:,} bytes, {result['num_pieces']:,} pieces"
    )
    lines = [
        [name, shown(figures["chunks_per_cpu_s"], with_range=True), shown(figures["ratio"], 1)]
        for name, figures in result["readers"].items()
    ]
    print(table(("reader", "chunks per CPU-second", f"× {SDK}"), lines))


def parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=20_000, help="of one stream [20000]")
    parser.add_argument("--repeats", type=int, default=5, help="of each reader [5]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


async def measured(num_chunks: int, repeats: int) -> dict[str, Any]:
    pieces = stream_in_pieces(num_chunks)
    with ScriptedEndpoint(lambda request: _as_reply(pieces)) as endpoint:
        readers: dict[str, Reader] = {
            OURS: read_ours,
            SDK: read_with_sdk,
            f"{OURS}, from loopback": over_loopback_ours(endpoint.base_url),
            f"{SDK}, from loopback": over_loopback_sdk(endpoint.base_url),
        }
        rates: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(repeats):
            for name, read in readers.items():
                rates[name].append(await rate_of(read, pieces, num_chunks))
    return {
        "num_chunks": num_chunks,
        "num_bytes": sum(map(len, pieces)),
        "num_pieces": len(pieces),
        "readers": {
            name: {
                "chunks_per_cpu_s": spread(of),
                "ratio": spread(_ratios(of, rates[against(name)])),
            }
            for name, of in rates.items()
        },
    }


def against(name: str) -> str:
    """The SDK's reader of the same kind."""
    return name.replace(OURS, SDK)


def _ratios(rates: Sequence[float], others: Sequence[float]) -> list[float]:
    return [rate / other for rate, other in zip(rates, others, strict=True)]


async def rate_of(read: Reader, pieces: Sequence[bytes], num_chunks: int) -> float:
    """Chunks per second of this thread's CPU: the server's thread does not count."""
    begun_s = time.thread_time()
    num_read, num_chars = await read(pieces)
    cpu_s = time.thread_time() - begun_s
    if num_read < num_chunks or num_chars == 0:
        raise SystemExit(f"{num_read} of {num_chunks} chunks were read, {num_chars} characters")
    return num_chunks / cpu_s


def stream_in_pieces(num_chunks: int) -> list[bytes]:
    """One stream with so many chunks of text, cut at random, the same for every run."""
    documents = chat_chunks(" ".join(f"word{i % 97}" for i in range(num_chunks)))
    events = [*(orjson.dumps(document) for document in documents), b"[DONE]"]
    stream = b"".join(b"data: " + event + b"\n\n" for event in events)
    rng = random.Random(SEED)
    pieces, at = [], 0
    while at < len(stream):
        size = int(PIECE_BYTES[0] * (PIECE_BYTES[1] / PIECE_BYTES[0]) ** rng.random())
        pieces.append(stream[at : at + size])
        at += size
    return pieces


def _as_reply(pieces: Sequence[bytes]) -> Reply:
    return Reply(headers={"content-type": "text/event-stream"}, body=pieces)


# --- the readers ---------------------------------------------------------------------------------


async def read_ours(pieces: Sequence[bytes]) -> tuple[int, int]:
    reader = ChunkReader(URL, ErrorReader(), MAX_BYTES)
    num_chunks = num_chars = 0
    for piece in pieces:
        for chunk in reader.feed(piece):
            num_chunks += 1
            num_chars += len(chunk.text)
    for chunk in reader.close():
        num_chunks += 1
        num_chars += len(chunk.text)
    return num_chunks, num_chars


async def read_with_sdk(pieces: Sequence[bytes]) -> tuple[int, int]:
    """What the SDK makes of a response, without a connection under it."""
    response = httpx2.Response(200, content=_given(pieces), request=httpx2.Request("POST", URL))
    async with _sdk_client(URL) as client:
        stream = AsyncStream(cast_to=ChatCompletionChunk, response=response, client=client)
        return await _counted(stream)


async def _counted(stream: AsyncStream[ChatCompletionChunk]) -> tuple[int, int]:
    num_chunks = num_chars = 0
    async for chunk in stream:
        num_chunks += 1
        num_chars += sum(len(choice.delta.content or "") for choice in chunk.choices)
    return num_chunks, num_chars


def over_loopback_ours(base_url: str) -> Reader:
    async def read(pieces: Sequence[bytes]) -> tuple[int, int]:
        num_chunks = num_chars = 0
        async with OpenAICompatibleProvider(Endpoint("b", "b", "m", base_url)) as provider:
            async for chunk in provider.stream(REQUEST):
                num_chunks += 1
                num_chars += len(chunk.text)
        return num_chunks, num_chars

    return read


def over_loopback_sdk(base_url: str) -> Reader:
    async def read(pieces: Sequence[bytes]) -> tuple[int, int]:
        async with _sdk_client(base_url) as client:
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            return await _counted(stream)

    return read


def _sdk_client(base_url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)


async def _given(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


if __name__ == "__main__":
    main()
