"""The lag probe: what it says of a loop that stands still."""

from __future__ import annotations

import asyncio
import time

import pytest

from weave_async.flow.lag import LagProbe


def test_a_loop_that_stands_still_is_noticed_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    async def blocked() -> LagProbe:
        probe = LagProbe()
        probing = asyncio.create_task(probe.run())
        for _ in range(2):
            await asyncio.sleep(0.02)
            time.sleep(0.3)  # noqa: ASYNC251 - that is the fault
            await asyncio.sleep(0.06)
        probing.cancel()
        return probe

    probe = asyncio.run(blocked())
    assert 0.2 < probe.max_s < 5
    assert probe.p99_s > 0.2
    assert caplog.text.count("the event loop stood still") == 1


def test_without_a_probe_there_is_no_lag() -> None:
    assert (LagProbe().p99_s, LagProbe().max_s) == (0.0, 0.0)
