"""What a stage does to one sample costs that sample, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from hostile_stages import MEMORY_BYTES, Shout
from weave_async.errors import RecipeError
from weave_async.flow.lag import LagProbe
from weave_async.records import Sample
from weave_async.workers.pool import WorkerPool

DEADLINE_S = 0.3
SPEC = {"stages": [["hostile", {}], ["shout", {}]]}
AFTER_KILLS = {
    "hang": "timed_out",
    "sleep": "timed_out",
    "regex bomb": "timed_out",
    "deaf hang": "timed_out",
    "segfault": "crashed",
    "leave": "crashed",
    "kill": "crashed",
    "close all": "crashed",
    "eat memory": "out_of_memory",
}
AT_ONCE = {
    "raise": "raised",
    "exit": "raised",
    "interrupt": "raised",
    "wrong type": "raised",
    "no list": "raised",
    "foreign change": "raised",
    "million": "too_large_result",
    "bulk": "too_large_result",
}
HARMLESS = ("print", "close standard", "fork", "fork and stay", "forget modules", "warn")


def pool(spec: dict[str, Any] = SPEC, *, num_workers: int = 1, **changes: Any) -> WorkerPool:
    settings = {"deadline_s": DEADLINE_S, "memory_bytes": MEMORY_BYTES, **changes}
    return WorkerPool("hostile_stages:build", spec, num_workers=num_workers, **settings)


def shouted(samples: list[Sample]) -> list[list[Sample]]:
    return [list(Shout().apply(sample)) for sample in samples]


def with_fault(make_sample: Callable[..., Sample], fault: str, at: int = 3) -> list[Sample]:
    return [make_sample(fault if i == at else f"fine {i}", ordinal=i) for i in range(8)]


async def processed(samples: list[Sample], **changes: Any) -> list[list[Sample]]:
    async with pool(**changes) as workers:
        return await workers.process(range(2), samples)


@pytest.mark.parametrize("fault", [*AFTER_KILLS, *AT_ONCE])
def test_only_the_guilty_sample_is_lost(fault: str, make_sample: Callable[..., Sample]) -> None:
    samples = with_fault(make_sample, fault)
    deadline_s = DEADLINE_S if AFTER_KILLS.get(fault) == "timed_out" else 5.0
    outcomes = asyncio.run(processed(samples, deadline_s=deadline_s))
    [guilty] = outcomes[3]
    assert guilty.rejection is not None
    assert (guilty.rejection.stage, guilty.rejection.rule) == ("validation", "hostile")
    assert guilty.rejection.reason == (AFTER_KILLS | AT_ONCE)[fault]
    expected = shouted(samples)
    assert outcomes[:3] == expected[:3]
    assert outcomes[4:] == expected[4:]


@pytest.mark.parametrize("fault", HARMLESS)
def test_what_harms_no_sample_costs_none(fault: str, make_sample: Callable[..., Sample]) -> None:
    samples = with_fault(make_sample, fault)
    assert asyncio.run(processed(samples, deadline_s=5)) == shouted(samples)


@pytest.mark.parametrize("fault", ["hang", "segfault", "fork and stay"])
def test_the_same_on_uvloop(fault: str, make_sample: Callable[..., Sample]) -> None:
    uvloop = pytest.importorskip("uvloop")
    samples = with_fault(make_sample, fault)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes = runner.run(processed(samples))
    assert [outs for outs in outcomes if outs[0].rejection is None] == [
        outs for i, outs in enumerate(shouted(samples)) if i != 3 or fault == "fork and stay"
    ]


def test_the_evidence_says_where_it_hung_and_how_it_crashed(
    make_sample: Callable[..., Sample],
) -> None:
    samples = [make_sample(each, ordinal=i) for i, each in enumerate(["fine", "hang", "segfault"])]
    [_, [hung], [crashed]] = asyncio.run(processed(samples))
    assert hung.rejection is not None
    assert crashed.rejection is not None
    assert "hostile_stages.py" in hung.rejection.evidence["where"][0]
    assert hung.rejection.evidence["where"][0].endswith(" in _hang")
    assert hung.rejection.evidence["deadline_s"] == DEADLINE_S
    assert crashed.rejection.evidence["signal"] == "SIGSEGV"
    assert any(" in _segfault" in frame for frame in crashed.rejection.evidence["where"])


def test_a_hanging_stage_does_not_hold_up_the_loop(make_sample: Callable[..., Sample]) -> None:
    async def lag_s() -> float:
        probe = LagProbe()
        probing = asyncio.create_task(probe.run())
        await processed(with_fault(make_sample, "regex bomb", at=1))
        probing.cancel()
        return probe.p99_s

    assert asyncio.run(lag_s()) < 0.3  # on a busy machine; some milliseconds otherwise


def test_faults_with_good_samples_between_them_do_not_stop_the_run(
    make_sample: Callable[..., Sample],
) -> None:
    texts = ["fine", "leave", "fine", "leave", "fine", "leave", "fine", "leave", "fine"]
    samples = [make_sample(text, ordinal=i) for i, text in enumerate(texts)]
    outcomes = asyncio.run(processed(samples))
    reasons = [outs[0].rejection and outs[0].rejection.reason for outs in outcomes]
    assert reasons == [None if text == "fine" else "crashed" for text in texts]


def test_three_faults_in_a_row_stop_the_run(make_sample: Callable[..., Sample]) -> None:
    texts = ["fine", "leave", "leave", "leave", "fine"]
    samples = [make_sample(text, ordinal=i) for i, text in enumerate(texts)]

    async def stopped() -> None:
        async with pool(num_workers=2) as workers:
            other = asyncio.create_task(workers.process(range(1), samples[:0]))
            with pytest.raises(RecipeError, match=r"'hostile' has .* on 3 samples in a row"):
                await workers.process(range(2), samples)
            with pytest.raises(RecipeError, match="in a row"):
                await workers.process(range(2), samples[:1])
            assert await other == []

    asyncio.run(stopped())


def test_a_slow_first_call_is_no_hang(make_sample: Callable[..., Sample]) -> None:
    spec = {"stages": [["slow_to_load", {"load_s": 2 * DEADLINE_S}], ["hostile", {}]]}
    samples = with_fault(make_sample, "leave")
    outcomes = asyncio.run(processed(samples, spec=spec))
    assert [outs[0].rejection is None for outs in outcomes] == [i != 3 for i in range(8)]


def test_a_first_call_that_never_ends_is_ended(make_sample: Callable[..., Sample]) -> None:
    started_s = time.monotonic()
    samples = with_fault(make_sample, "hang", at=0)
    outcomes = asyncio.run(processed(samples, first_call_deadline_s=0.6))
    assert outcomes[0][0].rejection is not None
    assert outcomes[0][0].rejection.reason == "timed_out"
    assert outcomes[1:] == shouted(samples)[1:]
    assert time.monotonic() - started_s < 30
