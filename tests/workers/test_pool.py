"""A pool from its start to its end: what comes out, what it leaves behind, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile_stages import MEMORY_BYTES, build
from weave_async.errors import RecipeError
from weave_async.records import (
    Failure,
    Message,
    Prompt,
    Rejection,
    Request,
    Response,
    Sample,
    SamplingParams,
    Usage,
)
from weave_async.workers.pool import WorkerPool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

WELL_BEHAVED = {"stages": [["shout", {}], ["short", {"most_chars": 20}]]}
HOSTILE = {"stages": [["hostile", {}]]}


def pool(spec: dict[str, Any], *, build: str = "build", **changes: Any) -> WorkerPool:
    given = {"num_workers": 1, "deadline_s": 30.0, "memory_bytes": MEMORY_BYTES, **changes}
    return WorkerPool(f"hostile_stages:{build}", spec, **given)


def in_process(spec: dict[str, Any], stages: range, samples: list[Sample]) -> list[list[Sample]]:
    built, outcomes = build(spec), []
    for sample in samples:
        outputs = [sample]
        for number in stages:
            outputs = [
                made
                for each in outputs
                for made in ([each] if each.rejection else built[number].apply(each))
            ]
        outcomes.append(outputs)
    return outcomes


# --- what comes out -------------------------------------------------------------------------------

texts = st.text(max_size=30) | st.just("\ud800 and the rest")
json_values = st.none() | st.booleans() | st.integers() | texts | st.lists(st.integers(0, 9))


@st.composite
def samples_of(draw: st.DrawFn) -> Sample:
    asked = tuple(Message("user", text) for text in draw(st.lists(texts, min_size=1, max_size=3)))
    ordinal = draw(st.integers(0, 10**6))
    prompt = Prompt(
        prompt_id=f"{ordinal:016x}",
        sample_index=draw(st.integers(0, 3)),
        messages=asked,
        attributes=draw(st.dictionaries(texts, json_values, max_size=3)),
        origin="rows.jsonl:1",
        columns={**draw(st.dictionaries(texts, json_values, max_size=3)), "text": draw(texts)},
    )
    completion = draw(texts)
    params = SamplingParams(max_tokens=draw(st.none() | st.integers(1, 99)), stop=("\n", "END"))
    shown = draw(st.sampled_from([asked, (Message("system", "Be kind."), *asked)]))
    schema = draw(st.none() | st.just({"type": "object"}))
    response = Response(completion, draw(st.sampled_from(["stop", "length"])), usage=Usage(3, 4))
    return Sample(
        ordinal=ordinal,
        prompt=prompt,
        request=Request(f"request-{ordinal}", "tiny", shown, params, schema=schema),
        endpoint="here",
        seed=ordinal,
        messages=(*asked, Message("assistant", completion)),
        response=response,
    )


@settings(max_examples=30)
@given(batches=st.lists(st.lists(samples_of(), max_size=8), min_size=1, max_size=3))
def _same_as_in_process(
    runner: asyncio.Runner, workers: WorkerPool, batches: list[list[Sample]]
) -> None:
    async def outcomes() -> list[list[list[Sample]]]:
        calls = [workers.process(range(2), samples) for samples in batches]
        return list(await asyncio.gather(*calls))

    expected = [in_process(WELL_BEHAVED, range(2), samples) for samples in batches]
    assert runner.run(outcomes()) == expected


def test_workers_make_of_any_samples_what_the_process_itself_would() -> None:
    with asyncio.Runner() as runner:
        workers = pool(WELL_BEHAVED, num_workers=2)
        runner.run(workers.__aenter__())
        try:
            _same_as_in_process(runner, workers)
        finally:
            runner.run(workers.__aexit__(None, None, None))


def test_samples_that_a_stage_leaves_alone_are_the_same_objects(
    make_sample: Callable[..., Sample],
) -> None:
    rejected = make_sample("x", rejection=Rejection("validation", "earlier", "no", {}))
    failed = make_sample("x", response=None, failure=Failure("E", "no", 1))
    samples = [make_sample("fine"), rejected, failed]

    async def outcomes() -> list[list[Sample]]:
        async with pool(HOSTILE) as workers:
            return await workers.process(range(1), samples)

    for sample, [output] in zip(samples, asyncio.run(outcomes()), strict=True):
        assert output is sample


def test_large_batches_are_cut_and_come_back_whole(make_sample: Callable[..., Sample]) -> None:
    samples = [make_sample("y" * 30_000, ordinal=i) for i in range(100)]

    async def outcomes() -> list[list[Sample]]:
        async with pool(WELL_BEHAVED, num_workers=2) as workers:
            return await workers.process(range(2), samples)

    assert asyncio.run(outcomes()) == in_process(WELL_BEHAVED, range(2), samples)


def test_a_sample_that_cannot_be_sent_costs_itself(make_sample: Callable[..., Sample]) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    odd = make_sample("odd")
    odd.prompt.attributes["endless"] = endless  # type: ignore[index]

    async def outcomes() -> list[list[Sample]]:
        async with pool(HOSTILE) as workers:
            return await workers.process(range(1), [make_sample("fine"), odd])

    [[fine], [unsent]] = asyncio.run(outcomes())
    assert fine.rejection is None
    assert unsent.rejection is not None
    assert unsent.rejection.reason == "unsendable"


def test_what_stages_took_is_told_once(make_sample: Callable[..., Sample]) -> None:
    async def times() -> tuple[Any, Any]:
        async with pool(WELL_BEHAVED) as workers:
            await workers.process(range(2), [make_sample("a", ordinal=i) for i in range(1, 9)])
            return workers.take_times(), workers.take_times()

    taken, again = asyncio.run(times())
    assert list(taken) == ["noise:shout", "validation:short"]
    assert taken["noise:shout"].num_samples == 8
    assert taken["validation:short"].num_samples == 10  # two of them have a copy
    assert 0 < taken["noise:shout"].wall_s < 5
    assert again == {}


# --- what it leaves behind ------------------------------------------------------------------------


def processes() -> dict[int, tuple[str, int]]:
    """State and parent of every process there is. A ``Z`` has ended, and nobody has asked how."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            found[int(entry.parent.name)] = state, int(parent)
    return found


def children(of: int | None = None) -> list[int]:
    """All that a process, by default this one, has started and not reaped; and so on down."""
    of = os.getpid() if of is None else of
    direct = [pid for pid, (_, parent) in processes().items() if parent == of]
    return [*direct, *(pid for child in direct for pid in children(child))]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_leaving_ends_a_hanging_worker_at_once_and_leaves_nothing(
    loop: str, make_sample: Callable[..., Sample]
) -> None:
    factory = pytest.importorskip(loop).new_event_loop

    async def left_after_s() -> float:
        async with pool(HOSTILE, num_workers=2) as workers:
            await workers.process(range(1), [make_sample("fine")])
            hanging = asyncio.create_task(workers.process(range(1), [make_sample("hang")]))
            await asyncio.sleep(0.1)
            hanging.cancel()
            left_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        return time.monotonic() - left_s

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.sleep(0))
        before, others = len(os.listdir("/proc/self/fd")), set(children())
        assert runner.run(left_after_s()) < 1
        runner.run(asyncio.sleep(0.05))
        assert set(children()) <= others  # of other tests, as a server that several use
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before + 1  # asyncio's own, for its children


def test_a_cancelled_call_does_not_disturb_those_behind_it(
    make_sample: Callable[..., Sample],
) -> None:
    async def outcome() -> list[list[Sample]]:
        async with pool({"stages": [["slow_to_load", {"load_s": 0.3}]]}) as workers:
            calls = [
                asyncio.create_task(workers.process(range(1), [make_sample(str(i), ordinal=i)]))
                for i in range(3)
            ]
            await asyncio.sleep(0.2)
            calls[0].cancel()
            calls[1].cancel()
            await asyncio.wait(calls)
            return calls[2].result()

    assert asyncio.run(outcome()) == [[make_sample("2", ordinal=2)]]


def test_a_pool_that_is_left_before_its_workers_are_ready() -> None:
    async def leave() -> None:
        for wait_s in (0, 0.001, 0.01, 0.05):
            async with pool(HOSTILE, num_workers=2):
                await asyncio.sleep(wait_s)

    others = set(children())
    asyncio.run(leave())
    assert set(children()) <= others


def test_a_worker_that_was_killed_while_it_waited_is_replaced(
    make_sample: Callable[..., Sample],
) -> None:
    samples = [make_sample(str(i), ordinal=i) for i in range(4)]

    others = set(children())  # of other tests, as a server that several use: they must live on

    async def outcomes() -> list[list[Sample]]:
        async with pool(WELL_BEHAVED) as workers:
            await workers.process(range(2), samples)
            ours = set(children()) - others
            assert ours
            for child in ours:
                os.kill(child, signal.SIGKILL)
            return await workers.process(range(2), samples)

    assert asyncio.run(outcomes()) == in_process(WELL_BEHAVED, range(2), samples)


PARENT = """
import asyncio, sys
from hostile_stages import MEMORY_BYTES
from weave_async.records import *
from weave_async.workers.pool import WorkerPool

def sample(text):
    asked = (Message("user", "?"),)
    prompt = Prompt("0" * 16, 0, asked, {}, "rows:1")
    request = Request("r", "m", asked, SamplingParams())
    return Sample(0, prompt, request, "e", 0, (*asked, Message("assistant", text)))

async def main():
    workers = WorkerPool("hostile_stages:build", {"stages": [["hostile", {}]]},
                         num_workers=2, deadline_s=60, memory_bytes=MEMORY_BYTES)
    async with workers:
        await workers.process(range(1), [sample("fork and stay")])
        print("ready", flush=True)
        await workers.process(range(1), [sample("regex bomb")])

asyncio.run(main())
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "parent.py"]
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    started = children(parent.pid)
    assert len(started) == 3  # and a fork
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        now = processes()
        if not (alive := [pid for pid in started if now.get(pid, "Z")[0] != "Z"]):
            break
        time.sleep(0.1)
    assert alive == []


def test_a_worker_holds_no_file_of_the_run(
    tmp_path: Path, make_sample: Callable[..., Sample]
) -> None:
    async def outcome() -> list[list[Sample]]:
        async with pool(HOSTILE) as workers:
            return await workers.process(range(1), [make_sample("list files")])

    with open(tmp_path / "journal.log", "wb"):
        [[sample]] = asyncio.run(outcome())
    assert sample.rejection is not None
    files = sample.rejection.evidence["files"]
    assert len(files) > 3
    assert not [file for file in files if str(tmp_path) in file]


# --- what it says, and refuses --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("build_nothing", "ValueError: no word list at hand"),
        ("build_and_leave", "'exit_code': 3"),
        ("build_forever", "not ready within 1 s"),
        ("no_such", "has no attribute 'no_such'"),
    ],
)
def test_stages_that_cannot_be_built_are_the_recipes_fault(
    function: str, said: str, make_sample: Callable[..., Sample]
) -> None:
    async def refused() -> None:
        async with pool({}, build=function, num_workers=2, start_deadline_s=1.0) as workers:
            for _ in range(2):
                with pytest.raises(RecipeError, match="cannot be built") as raised:
                    await workers.process(range(1), [make_sample()])
                assert said in str(raised.value) or function == "build_nothing"

    asyncio.run(refused())


def test_warnings_of_a_stage_reach_the_log_in_small_number_and_harmless(
    make_sample: Callable[..., Sample], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def warned() -> None:
        async with pool(HOSTILE) as workers:
            await workers.process(range(1), [make_sample("warn"), make_sample("print")])

    asyncio.run(warned())
    assert "'hostile' in a worker: somebody: odd \\x1b[31m sample" in caplog.text
    assert caplog.text.count("odd") <= 20
    assert "a worker says: to standard error" in caplog.text


def test_workers_that_start_late_start_with_the_first_sample(
    make_sample: Callable[..., Sample],
) -> None:
    async def use() -> tuple[list[Any], list[list[Sample]], list[bool]]:
        async with pool(WELL_BEHAVED, num_workers=2, starts_late=True) as workers:
            await asyncio.sleep(0.05)
            before = [slot.worker for slot in workers._slots]
            outcomes = await workers.process(range(1), [make_sample("Hello.")])
            after = [slot.worker is not None for slot in workers._slots]
        return before, outcomes, after

    before, outcomes, after = asyncio.run(use())
    assert before == [None, None]
    assert outcomes[0][0].completion == "HELLO."
    assert sorted(after) == [False, True]


def test_a_spare_worker_starts_when_the_others_cannot_keep_up(
    make_sample: Callable[..., Sample],
) -> None:
    async def use(num_batches: int) -> list[bool]:
        async with pool(WELL_BEHAVED, num_workers=2, num_spare=1) as workers:
            batches = [[make_sample(f"Hello {number}.")] for number in range(num_batches)]
            await asyncio.gather(*(workers.process(range(1), batch) for batch in batches))
            for _ in range(3):
                await workers.process(range(1), batches[0])
            return [slot.worker is not None for slot in workers._slots]

    assert asyncio.run(use(1)) == [True, False]
    assert asyncio.run(use(40)) == [True, True]
