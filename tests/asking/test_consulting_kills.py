"""A process that is killed while stages consult models: no answer that it had is bought again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from consultation_bench import FIRST, opened, with_models
from invariants import completions, frames
from weave_async.audit import audit
from weave_async.records import Message, Sample, SamplingParams
from weave_async.testing.scripted_endpoint import ScriptedEndpoint, chat_reply

MakeSample = Callable[..., Sample]
NUM_QUESTIONS = 60
SHORT = SamplingParams(max_tokens=20)
CHILD = f"""
import asyncio, sys
from dataclasses import replace
from types import SimpleNamespace
from consultation_bench import FIRST, opened
from weave_async.records import Message, Prompt, Request, Sample, SamplingParams

def sample_of(number):
    prompt = Prompt(f"{{number:016x}}", 0, (), {{}}, "rows.jsonl:1")
    request = Request("", "m", (), SamplingParams())
    return Sample(number, prompt, request, "main", number)

async def scenario():
    async with opened(SimpleNamespace(base_url=sys.argv[1])) as bench:
        async def ask(number):
            consult = bench.consult(sample_of(number))
            question = [Message("user", f"Is {{number}} good?")]
            await consult(FIRST, question, params=SamplingParams(max_tokens=20))
        await asyncio.gather(*(ask(number) for number in range({NUM_QUESTIONS})))

asyncio.run(scenario())
"""


def test_after_a_kill_only_what_was_out_is_asked_again(make_sample: MakeSample) -> None:
    slow = with_models(lambda request: chat_reply("yes", head_delay_s=0.02))
    with ScriptedEndpoint(slow) as endpoint:
        paths = os.pathsep.join(sys.path)
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, endpoint.base_url],
            env={**os.environ, "PYTHONPATH": paths},
        ) as child:
            while len(completions(endpoint.requests)) < NUM_QUESTIONS // 2:
                assert child.poll() is None, "it ended by itself"
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
        while endpoint.num_open_connections:  # what the child had sent is still being read
            time.sleep(0.01)
        known = {
            frame["request_id"]
            for frame in frames(Path("out"), of="consultations")
            if frame["kind"] == "answer"
        }
        assert known
        num_before = len(completions(endpoint.requests))
        asyncio.run(ask_all(endpoint, make_sample))
        asked = {
            request.body["messages"][-1]["content"] for request in completions(endpoint.requests)
        }
        assert len(asked) == NUM_QUESTIONS
        num_later = len(completions(endpoint.requests)) - num_before
        assert num_later == NUM_QUESTIONS - len(known)
    bad = [check.name for check in audit(Path("out")).checks if not check.passed]
    assert bad == []


async def ask_all(endpoint: ScriptedEndpoint, make_sample: MakeSample) -> None:
    async with opened(endpoint) as bench:
        for number in range(NUM_QUESTIONS):
            question = [Message("user", f"Is {number} good?")]
            consult = bench.consult(make_sample(ordinal=number))
            assert (await consult(FIRST, question, params=SHORT)).text == "yes"
