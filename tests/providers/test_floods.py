"""Servers that send without end: memory stays bounded, and the row fails by name."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import time

import pytest

from weave_async.testing.scripted_endpoint import Reply, ScriptedEndpoint, chat_reply

MOST_GROWTH_KB = 64 * 1024

ASK = """
import asyncio, json, re, ssl, sys
from pathlib import Path
from providers import openai_compatible
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import ProviderError
from weave_async.records import Endpoint, Message, Request, SamplingParams

REQUEST = Request("r1", "m", (Message("user", "hello"),), SamplingParams())

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

async def ask(base_url, streamed):
    endpoint = Endpoint("test", "openai_compatible", "m", base_url)
    async with OpenAICompatibleProvider(endpoint) as provider:
        await provider.complete(REQUEST)
        before_kb = peak_kb()
        try:
            if streamed:
                async for _ in provider.stream(REQUEST):
                    pass
            else:
                await provider.complete(REQUEST)
            ending = "answered"
        except ProviderError as error:
            ending = type(error).__name__
        print(json.dumps([ending, peak_kb() - before_kb]))

if sys.argv[3] == "reqwest":
    openai_compatible._goes_over_http1 = lambda base_url, is_loopback: False
elif sys.argv[3] == "httpx":
    openai_compatible.tls_context = lambda options: ssl.create_default_context()
asyncio.run(ask(sys.argv[1], sys.argv[2] == "stream"))
"""

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
BLOCK = b"x" * 65_536
GIGABYTE = 2**30


@pytest.mark.parametrize(
    ("how", "reply", "ending"),
    [
        ("whole", Reply(headers=JSON, body=itertools.repeat(BLOCK)), "ResponseTooLargeError"),
        (
            "whole",
            Reply(headers=JSON, body=itertools.repeat(BLOCK), content_length=GIGABYTE),
            "ResponseTooLargeError",
        ),
        (
            "whole",
            Reply(headers={"content-encoding": "gzip"}, body=gzip.compress(bytes(100_000_000))),
            "ResponseTooLargeError",
        ),
        ("whole", Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1_000_000), "BadResponseError"),
        ("whole", Reply(raw=b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000_000), "BadResponseError"),
        ("whole", Reply(status=500, body=itertools.repeat(BLOCK)), "ServerError"),
        ("stream", Reply(headers=SSE, body=itertools.repeat(BLOCK)), "ResponseTooLargeError"),
        (
            "stream",
            Reply(headers=SSE, body=itertools.repeat(b"data: " + b"x" * 65_000 + b"\n")),
            "ResponseTooLargeError",
        ),
        (
            "stream",
            Reply(
                headers=SSE,
                body=itertools.repeat(
                    b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % BLOCK
                ),
            ),
            "ResponseTooLargeError",
        ),
    ],
    ids=[
        "endless body",
        "body of a gigabyte",
        "gzip nobody asked for",
        "a million headers",
        "header of 100 MB",
        "endless error",
        "endless line",
        "endless event",
        "endless text",
    ],
)
def test_flood_ends_by_name_in_bounded_memory(
    transport: str, how: str, reply: Reply, ending: str
) -> None:
    started = time.perf_counter()
    with ScriptedEndpoint([chat_reply("first"), reply]) as server:
        command = [sys.executable, "-c", ASK, server.base_url, how, transport]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    ended_as, growth_kb = json.loads(done.stdout)
    assert ended_as == ending
    assert growth_kb < MOST_GROWTH_KB
    assert time.perf_counter() - started < 10
