"""Whether it was the client that was slow: a step in which it was says nothing of the server."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from weave_async.bench.load import Window

INTERVAL_S = 0.01
SOCKETS_EVERY = 10
"""Intervals from one look at our open sockets to the next: a look takes a millisecond and more."""
TOO_BUSY = 0.85
"""Of one core: an event loop that has no rest answers late."""
TOO_LATE_S = 0.005
TOO_LATE_SHARE = 0.1
"""p99 of what the loop is late by, and as a share of the usual ttft_s: chunks are stamped as late
as that."""
TOO_LATE_TO_SEND_S = 0.01
REUSED = 2.0
"""New connections for each request in flight at once, above which they are not used again."""


class ClientWatch:
    """Measures this process while a step runs: its CPU, how late its event loop is, and how many
    connections it opens.
    """

    def __init__(self) -> None:
        self._lags_s: list[float] = []
        self._wall_s = self._cpu_s = 0.0
        self._sockets_before: frozenset[str] = frozenset()
        self._sockets: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._sockets_before = _open_sockets()
        gc.collect()
        gc.disable()  # it would stop the loop for milliseconds; a step leaves few cycles behind
        probe = asyncio.create_task(self._probe())
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._wall_s += time.perf_counter() - wall_s
            self._cpu_s += time.process_time() - cpu_s
            gc.enable()
            self._sockets |= _open_sockets()
            probe.cancel()

    async def _probe(self) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        while True:
            due_s = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self._lags_s.append(max(0.0, loop.time() - due_s))
            number += 1
            if number % SOCKETS_EVERY == 0:
                self._sockets |= _open_sockets()

    def figures(self, window: Window, *, is_limited: bool = False) -> dict[str, float]:
        """``cpu`` in cores, lateness as p99; ``connections`` are those that were seen to be new.
        Where limits were set, a request is sent late on purpose.
        """
        told = {
            "cpu": self._cpu_s / self._wall_s if self._wall_s else 0.0,
            "loop_lag_p99_s": _p99(self._lags_s),
        }
        if self._sockets:
            told["connections"] = float(len(self._sockets - self._sockets_before))
            told["most_in_flight"] = float(_most_in_flight(window))
        if window.load.kind != "closed" and not is_limited:
            told["send_delay_p99_s"] = _p99([each.queue_s for each in window.measured])
        return {name: round(value, 6) for name, value in told.items()}


def complaints(client: Mapping[str, float], ttft_s: float | None) -> list[str]:
    """Why the figures of a step are the client's rather than the server's; none if they are not.
    ``ttft_s`` is the median.
    """
    said = []
    if client.get("cpu", 0.0) > TOO_BUSY:
        said.append(f"the client's CPU was busy ({client['cpu']:.0%} of a core)")
    if client.get("loop_lag_p99_s", 0.0) > max(TOO_LATE_S, TOO_LATE_SHARE * (ttft_s or 0.0)):
        said.append(
            f"the client's event loop was {client['loop_lag_p99_s'] * 1000:.0f} ms late (p99)"
        )
    if client.get("send_delay_p99_s", 0.0) > TOO_LATE_TO_SEND_S:
        said.append(f"requests were sent {client['send_delay_p99_s'] * 1000:.0f} ms late (p99)")
    return said


def lag_remark(client: Mapping[str, float]) -> str | None:
    """What is said of a lag that does not spoil the figures."""
    lag_s = client.get("loop_lag_p99_s", 0.0)
    return (
        f"times may be {lag_s * 1000:.0f} ms late, by our clock (p99)"
        if lag_s > TOO_LATE_S
        else None
    )


def reuse_complaint(client: Mapping[str, float]) -> str | None:
    """What is said where the endpoint closes connections: each request then pays for a new one."""
    num, most = client.get("connections", 0.0), client.get("most_in_flight", 0.0)
    if num <= REUSED * most + 2:
        return None
    return (
        f"{num:.0f} connections and more for {most:.0f} requests at a time: they are not used "
        "again, and opening them is part of ttft_s"
    )


def _most_in_flight(window: Window) -> int:
    changes = [(each.sent_s, 1) for each in window.attempts]
    changes += [(each.ended_s, -1) for each in window.attempts]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def _open_sockets() -> frozenset[str]:
    """By inode; empty where the system does not tell (all but Linux)."""
    found = set()
    try:
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{descriptor}")
            except OSError:  # closed meanwhile
                continue
            if target.startswith("socket:"):
                found.add(target)
    except OSError:
        return frozenset()
    return frozenset(found)


def _p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[int(0.99 * len(ordered))] if ordered else 0.0
