"""The clock that jumps."""

from __future__ import annotations

import asyncio
import time

import pytest

from weave_async.testing.virtual_time import DeadlockError, VirtualTimeLoop, run_in_virtual_time


def test_a_day_passes_in_no_time() -> None:
    async def scenario() -> float:
        await asyncio.sleep(86_400 * 3)
        return asyncio.get_running_loop().time()

    started = time.perf_counter()
    assert run_in_virtual_time(scenario()) == pytest.approx(86_400 * 3)
    assert time.perf_counter() - started < 1


def test_timers_fire_in_order_at_their_own_times() -> None:
    async def scenario() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        fired: list[tuple[str, float]] = []

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            fired.append((name, loop.time()))

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("a2", 1.0)):
                group.create_task(wait(name, seconds))
        return fired

    fired = run_in_virtual_time(scenario())
    assert [name for name, _ in fired] == ["a", "a2", "b", "c"]
    assert [at for _, at in fired] == pytest.approx([1, 1, 2, 3], abs=1e-4)


def test_timeout_wins_over_a_longer_sleep() -> None:
    async def scenario() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(scenario()) == pytest.approx(5, abs=1e-4)


def test_tiny_steps_far_from_zero_come_to_an_end() -> None:
    async def scenario() -> None:
        await asyncio.sleep(1e9)
        for _ in range(1_000):
            await asyncio.sleep(1e-9)

    run_in_virtual_time(scenario())


def test_work_takes_no_virtual_time() -> None:
    async def scenario() -> float:
        for _ in range(1_000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(scenario()) == 0


def test_deadlock_is_raised_and_names_the_task() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name="waits-for-godot")

    with pytest.raises(DeadlockError, match="waits-for-godot"):
        run_in_virtual_time(scenario())


def test_deadlock_still_runs_the_cleanup() -> None:
    cleaned: list[bool] = []

    async def scenario() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    with pytest.raises(DeadlockError):
        run_in_virtual_time(scenario())
    assert cleaned == [True]


def test_exceptions_and_results_pass_through() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_in_virtual_time(fail())


def test_loop_shows_its_time() -> None:
    loop = VirtualTimeLoop()
    try:
        loop.advance(1.5)
        assert repr(loop) == "<VirtualTimeLoop at 1.500000 s>"
    finally:
        loop.close()
