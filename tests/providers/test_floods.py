"""Servers that send without end: memory stays bounded, and the row fails by name."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import subprocess
import sys

from weave_async.testing.scripted_endpoint import Reply, ScriptedEndpoint, chat_reply

MOST_GROWTH_KB = 64 * 1024

ASK = """
import asyncio, json, re, ssl, sys, time
from pathlib import Path
from providers import openai_compatible
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import ProviderError
from weave_async.records import Endpoint, Message, Request, SamplingParams

REQUEST = Request("r1", "m", (Message("user", "hello"),), SamplingParams())

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

async def ask(base_url, how):
    endpoint = Endpoint("test", "openai_compatible", "m", base_url)
    async with OpenAICompatibleProvider(endpoint) as provider:
        await provider.complete(REQUEST)
        before_kb, started_s = peak_kb(), time.perf_counter()
        try:
            if how == "stream":
                async for _ in provider.stream(REQUEST):
                    pass
            else:
                await provider.complete(REQUEST)
            ending = "answered"
        except ProviderError as error:
            ending = type(error).__name__
        print(json.dumps([ending, peak_kb() - before_kb, time.perf_counter() - started_s]))

if sys.argv[1] == "reqwest":
    openai_compatible._goes_over_http1 = lambda base_url, is_loopback: False
elif sys.argv[1] == "httpx":
    openai_compatible.tls_context = lambda options: ssl.create_default_context()
for base_url, how in json.loads(sys.argv[2]):
    asyncio.run(ask(base_url, how))
"""

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
BLOCK = b"x" * 65_536
GIGABYTE = 2**30


FLOODS: dict[str, tuple[str, Reply, str]] = {
    "endless body": (
        "whole",
        Reply(headers=JSON, body=itertools.repeat(BLOCK)),
        "ResponseTooLargeError",
    ),
    "body of a gigabyte": (
        "whole",
        Reply(headers=JSON, body=itertools.repeat(BLOCK), content_length=GIGABYTE),
        "ResponseTooLargeError",
    ),
    "gzip nobody asked for": (
        "whole",
        Reply(headers={"content-encoding": "gzip"}, body=gzip.compress(bytes(100_000_000))),
        "ResponseTooLargeError",
    ),
    "a million headers": (
        "whole",
        Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1_000_000),
        "BadResponseError",
    ),
    "header of 100 MB": (
        "whole",
        Reply(raw=b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000_000),
        "BadResponseError",
    ),
    "endless error": ("whole", Reply(status=500, body=itertools.repeat(BLOCK)), "ServerError"),
    "endless line": (
        "stream",
        Reply(headers=SSE, body=itertools.repeat(BLOCK)),
        "ResponseTooLargeError",
    ),
    "endless event": (
        "stream",
        Reply(headers=SSE, body=itertools.repeat(b"data: " + b"x" * 65_000 + b"\n")),
        "ResponseTooLargeError",
    ),
    "endless text": (
        "stream",
        Reply(
            headers=SSE,
            body=itertools.repeat(b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % BLOCK),
        ),
        "ResponseTooLargeError",
    ),
}
"""How it is asked for, what comes, and how that ends."""


def test_floods_end_by_name_in_bounded_memory(transport: str) -> None:
    """One after the other in one process: what each leaves there counts too."""
    with contextlib.ExitStack() as stack:
        asked = [
            (stack.enter_context(ScriptedEndpoint([chat_reply("first"), reply])).base_url, how)
            for how, reply, _ in FLOODS.values()
        ]
        command = [sys.executable, "-c", ASK, transport, json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    ended = dict(zip(FLOODS, map(json.loads, done.stdout.splitlines()), strict=True))
    assert {name: came[0] for name, came in ended.items()} == {
        name: ending for name, (_, _, ending) in FLOODS.items()
    }
    assert sum(growth_kb for _, growth_kb, _ in ended.values()) < MOST_GROWTH_KB, ended
    assert max(elapsed_s for _, _, elapsed_s in ended.values()) < 10, ended
