"""Whether it was the client that was slow: a step in which it was says nothing of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from weave_async.bench.load import Window

INTERVAL_S = 0.01
TOO_BUSY = 0.85
"""Of one core: an event loop that has no rest answers late."""
TOO_LATE_S = 0.005
"""p99 of what the loop is late by: chunks are stamped as late as that."""
TOO_LATE_TO_SEND_S = 0.01


class ClientWatch:
    """Measures this process while a step runs: its CPU, and how late its event loop is."""

    def __init__(self) -> None:
        self._lags_s: list[float] = []
        self._wall_s = self._cpu_s = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        probe = asyncio.create_task(self._probe())
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            probe.cancel()
            self._wall_s += time.perf_counter() - wall_s
            self._cpu_s += time.process_time() - cpu_s

    async def _probe(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self._lags_s.append(max(0.0, loop.time() - due_s))

    def figures(self, window: Window, *, is_limited: bool = False) -> dict[str, float]:
        """``cpu`` in cores; ``loop_lag_s`` and ``send_delay_s`` as p99. Where limits were set,
        a request is sent late on purpose.
        """
        told = {
            "cpu": self._cpu_s / self._wall_s if self._wall_s else 0.0,
            "loop_lag_p99_s": _p99(self._lags_s),
        }
        if window.load.kind != "closed" and not is_limited:
            told["send_delay_p99_s"] = _p99([each.queue_s for each in window.measured])
        return {name: round(value, 6) for name, value in told.items()}


def complaints(client: Mapping[str, float]) -> list[str]:
    """Why the figures of a step are the client's rather than the server's; none if they are not."""
    said = []
    if client.get("cpu", 0.0) > TOO_BUSY:
        said.append(f"the client's CPU was busy ({client['cpu']:.0%} of a core)")
    if client.get("loop_lag_p99_s", 0.0) > TOO_LATE_S:
        said.append(
            f"the client's event loop was {client['loop_lag_p99_s'] * 1000:.0f} ms late (p99)"
        )
    if client.get("send_delay_p99_s", 0.0) > TOO_LATE_TO_SEND_S:
        said.append(f"requests were sent {client['send_delay_p99_s'] * 1000:.0f} ms late (p99)")
    return said


def _p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[int(0.99 * len(ordered))] if ordered else 0.0
