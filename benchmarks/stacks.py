"""What else sends chat requests: the bare transports, and plain loops as people write them.

    python benchmarks/stacks.py openai_sdk --base-url http://127.0.0.1:PORT/v1 --seconds 4

A fixed pool of workers asks until the time is up. A bare transport sends a body made before and
reads the answer without parsing it; the loops parse theirs and write a JSONL row. Prints a line of
JSON; exit code 3 where a package is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from typing import Any

from tables import Latencies
from weave_async.cli.loop import run_in_loop

EXIT_MISSING = 3
TIMEOUT_S = 600.0
Ask = Callable[[int], Awaitable[str | None]]
"""Sends request number so-and-so; the text of the answer, or None where nobody looked."""


def messages(number: int) -> list[Any]:
    return [{"role": "user", "content": f"How do I dispute card payment number {number}?"}]


# Each stack imports its own package only: `import openai` alone takes a second.


@asynccontextmanager
async def raw_transport(
    base_url: str, num_workers: int, *, is_pyreqwest: bool = False
) -> AsyncIterator[Ask]:
    """The very transport that the provider would use, so that the two cannot come to differ."""
    from providers.openai_compatible import OpenAICompatibleProvider
    from providers.transport.reqwest import ReqwestTransport
    from weave_async.records import Endpoint

    endpoint = Endpoint(
        name="raw",
        provider="openai_compatible",
        model="m",
        base_url=base_url,
        max_concurrency=num_workers,
    )
    provider = OpenAICompatibleProvider(endpoint)
    transport = (
        ReqwestTransport(base_url, provider._headers, provider._faults, is_loopback=True)
        if is_pyreqwest
        else provider._new_transport()
    )
    url = f"{base_url}/chat/completions"
    body = json.dumps({"model": "m", "messages": messages(0)}).encode()

    async def ask(number: int) -> None:
        reply = await transport.fetch(url, body)
        assert reply.status == 200
        assert reply.body

    try:
        yield ask
    finally:
        await transport.close()


def raw_pyreqwest(base_url: str, num_workers: int) -> AbstractAsyncContextManager[Ask]:
    return raw_transport(base_url, num_workers, is_pyreqwest=True)


@asynccontextmanager
async def openai_sdk(
    base_url: str, num_workers: int, *, on_aiohttp: bool = False
) -> AsyncIterator[Ask]:
    import openai

    http_client = openai.DefaultAioHttpClient() if on_aiohttp else None
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="none", http_client=http_client
    ) as client:

        async def ask(number: int) -> str | None:
            completion = await client.chat.completions.create(
                model="m",
                messages=messages(number),
            )
            return completion.choices[0].message.content

        yield ask


def openai_sdk_aiohttp(base_url: str, num_workers: int) -> AbstractAsyncContextManager[Ask]:
    import aiohttp  # noqa: F401 - without it the SDK fails, and does not say which package

    return openai_sdk(base_url, num_workers, on_aiohttp=True)


@asynccontextmanager
async def httpx(base_url: str, num_workers: int) -> AsyncIterator[Ask]:
    import httpx

    limits = httpx.Limits(max_connections=num_workers, max_keepalive_connections=num_workers)
    async with httpx.AsyncClient(limits=limits, timeout=TIMEOUT_S, trust_env=False) as client:

        async def ask(number: int) -> str:
            reply = await client.post(
                f"{base_url}/chat/completions", json={"model": "m", "messages": messages(number)}
            )
            reply.raise_for_status()
            return text_in(reply.json())

        yield ask


@asynccontextmanager
async def aiohttp(base_url: str, num_workers: int) -> AsyncIterator[Ask]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=num_workers)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def ask(number: int) -> str:
            body = {"model": "m", "messages": messages(number)}
            async with session.post(f"{base_url}/chat/completions", json=body) as reply:
                reply.raise_for_status()
                return text_in(await reply.json())

        yield ask


def text_in(completion: Any) -> str:
    text: str = completion["choices"][0]["message"]["content"]
    return text


STACKS: dict[str, Callable[[str, int], AbstractAsyncContextManager[Ask]]] = {
    "raw_transport": raw_transport,
    "raw_pyreqwest": raw_pyreqwest,
    "openai_sdk": openai_sdk,
    "openai_sdk_aiohttp": openai_sdk_aiohttp,
    "httpx": httpx,
    "aiohttp": aiohttp,
}


async def drive(name: str, base_url: str, num_workers: int, seconds: float) -> dict[str, Any]:
    """Ask with ``num_workers`` in flight; whoever is out when the time is up still comes in."""
    latencies_s: list[float] = []
    num_failed = 0
    with tempfile.TemporaryFile("w") as rows:
        async with STACKS[name](base_url, num_workers) as ask:
            numbers = iter(range(10**9))
            started_s, started_cpu_s = time.monotonic(), time.process_time()
            ends_at_s = started_s + seconds

            async def work() -> None:
                nonlocal num_failed
                while (sent_s := time.monotonic()) < ends_at_s:
                    try:
                        text = await ask(number := next(numbers))
                    except Exception as error:  # whatever the stack raises counts as its failure
                        num_failed += 1
                        print(repr(error), file=sys.stderr)
                        continue
                    latencies_s.append(time.monotonic() - sent_s)
                    if text is not None:
                        row = {"messages": [*messages(number), {"role": "assistant", "text": text}]}
                        rows.write(json.dumps(row) + "\n")

            async with asyncio.TaskGroup() as group:
                for _ in range(num_workers):
                    group.create_task(work())
            cpu_s = time.process_time() - started_cpu_s
    if not latencies_s:
        raise SystemExit(f"{name} got no answer at all; {num_failed} failed")
    return {
        "num_answered": len(latencies_s),
        "num_failed": num_failed,
        "started_s": started_s,
        "cpu_s": cpu_s,
        "latencies": asdict(Latencies.of(latencies_s, num_workers)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stack", choices=STACKS)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=4)
    given = parser.parse_args()
    try:
        result = run_in_loop(drive(given.stack, given.base_url, given.in_flight, given.seconds))
    except ModuleNotFoundError as error:
        print(error.name, file=sys.stderr)
        sys.exit(EXIT_MISSING)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
