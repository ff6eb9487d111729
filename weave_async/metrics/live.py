"""What is written, measured while a run goes on: diversity and bias, in a thread, in output order.

The event loop belongs to the network, so what is written waits here, in a bounded line, until the
thread takes all of it. What is measured depends on the rows alone, never on when they came: after
an interruption the figures are those of a run without one.

A run that may write more than ``MOST_ROWS`` rows is measured in a share of them, chosen by a hash
of each row's id, so that about as many are looked at. So measuring costs a run a second or two of
processor time, whatever its size. Where most of those that might have been written are rejected,
that share is of few rows: then those whose hashes come next are added, up to ``LEAST_ROWS``.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from weave_async.metrics.ledger import RunMetrics
from weave_async.records import Sample
from weave_async.seeding import fraction_for

T = TypeVar("T")

logger = logging.getLogger(__name__)

MOST_ROWS = 4000
"""At 300 µs of both meters for an answer of 200 words: of a run of 60,000 rows that waits for no
model, a fifth of the processor time (``benchmarks/engine.py``), and less of any other. Intervals of
shares are within 1.6 points.
"""
LEAST_ROWS = 1000
"""So many are kept aside, in case that the share is of fewer."""
MOST_WAITING = 2048
"""Samples in line, before the run waits for the thread."""
CHUNK = 32
"""Rows that meters are given together, in every run: sums of floats depend on how they are cut."""
SECTIONS = ("diversity", "bias")
PAUSE_PER_LOOK = 20
"""A live figure may cost a twentieth of the time, as the largest of them takes a while."""
SHORTEST_PAUSE_S = 1.0


class Meter(Protocol):
    """Counts samples, and tells figures about all that it has counted. Used by one thread."""

    def count(self, samples: Sequence[Sample]) -> None: ...

    def figures(self) -> dict[str, Any]: ...


class LiveMeter(Meter, Protocol):
    """One that has a few figures at any time."""

    def snapshot(self) -> Mapping[str, float]: ...


class Measuring:
    """The meters of a run. From time to time a few figures go to the ledger, for progress."""

    def __init__(
        self,
        meters: Callable[[], tuple[LiveMeter, Meter]],
        *,
        seed: int,
        most_expected: int,
        ledger: RunMetrics,
    ) -> None:
        """``meters`` makes those of diversity and of bias, once there is something to measure: what
        they load takes a while. ``most_expected`` rows are written at most.
        """
        self._new_meters = meters
        self._seed = seed
        self.share = min(1.0, MOST_ROWS / max(1, most_expected))
        self._ledger = ledger
        self._meters: tuple[LiveMeter, Meter] | None = None
        self._waiting: list[Sample] = []
        self._spare: list[tuple[float, int, Sample]] = []  # a heap, the highest hash at its top
        self._num_seen = self._num_taken = 0
        self._counting: asyncio.Task[None] | None = None
        self._next_look_s = 0.0
        self.broken_by: str | None = None

    def __repr__(self) -> str:
        return f"<Measuring {self.share:g} of the rows, {len(self._waiting)} waiting>"

    async def count(self, samples: Sequence[Sample]) -> None:
        """Take samples that were just written. Waits where the thread is far behind."""
        if self.broken_by is not None:
            return
        for sample in samples:
            self._take(sample)
        if self._counting is not None and not self._counting.done():
            if len(self._waiting) < MOST_WAITING:
                return
            await self._counting
        whole = len(self._waiting) - len(self._waiting) % CHUNK
        if whole:
            ready, self._waiting = self._waiting[:whole], self._waiting[whole:]
            self._counting = asyncio.create_task(self._guarded(self._count, ready))

    async def figures(self) -> dict[str, Any]:
        """``diversity`` and ``bias``, of all that was written; at the end of the run."""
        if self._counting is not None:
            await self._counting
        self._take_spare()
        told = await self._guarded(self._figures, self._waiting)
        if told is None:
            told = {name: {"note": f"not measured: {self.broken_by}"} for name in SECTIONS}
        return told

    async def close(self) -> None:
        """Wait for the thread; what it has not been given yet is let go."""
        self._waiting, self._spare = [], []
        if self._counting is not None:
            await self._counting

    async def _guarded(
        self, measure: Callable[[Sequence[Sample]], T], samples: Sequence[Sample]
    ) -> T | None:
        """What is done in the thread. Figures that cannot be told cost a warning, and no row."""
        if self.broken_by is None:
            try:
                return await asyncio.to_thread(measure, samples)
            except Exception as error:
                self._break(error)
        return None

    def _break(self, error: Exception) -> None:
        self.broken_by = f"{type(error).__name__}: {error}"
        self._waiting, self._spare, self._ledger.diversity = [], [], {}
        logger.warning(
            "diversity and bias are not measured any more: %s. The dataset is not touched by that; "
            "`measure: off` leaves measuring out",
            self.broken_by,
            exc_info=error,
        )

    def _count(self, samples: Sequence[Sample]) -> None:
        diversity, bias = self._both()
        for start in range(0, len(samples), CHUNK):
            chunk = samples[start : start + CHUNK]
            with self._ledger.stage_times.timed("measure:diversity", len(chunk)):
                diversity.count(chunk)
            with self._ledger.stage_times.timed("measure:bias", len(chunk)):
                bias.count(chunk)
        started_s = time.monotonic()
        if started_s >= self._next_look_s:
            self._ledger.diversity = finite(diversity.snapshot())
            ended_s = time.monotonic()
            pause_s = max(SHORTEST_PAUSE_S, PAUSE_PER_LOOK * (ended_s - started_s))
            self._next_look_s = ended_s + pause_s

    def _figures(self, samples: Sequence[Sample]) -> dict[str, Any]:
        self._count(samples)
        diversity, bias = self._both()
        with self._ledger.stage_times.timed("measure:diversity", 0):
            of_diversity = finite(diversity.figures())
        with self._ledger.stage_times.timed("measure:bias", 0):
            of_bias = finite(bias.figures())
        told = {"diversity": of_diversity, "bias": of_bias}
        share = self._num_taken / self._num_seen if self._num_seen else self.share
        return {name: {"share_of_rows": share, **figures} for name, figures in told.items()}

    def _both(self) -> tuple[LiveMeter, Meter]:
        if self._meters is None:
            self._meters = self._new_meters()
        return self._meters

    def _take(self, sample: Sample) -> None:
        self._num_seen += 1
        if self.share < 1:
            prompt = sample.prompt
            purpose = f"measure:{sample.copy}"
            drawn = fraction_for(self._seed, prompt.prompt_id, prompt.sample_index, purpose)
            if drawn >= self.share:
                heapq.heappush(self._spare, (-drawn, self._num_seen, sample))
                if len(self._spare) > LEAST_ROWS:
                    heapq.heappop(self._spare)
                return
        self._num_taken += 1
        self._waiting.append(sample)

    def _take_spare(self) -> None:
        """Those of the lowest hashes, in the order in which they came."""
        num_missing = max(0, LEAST_ROWS - self._num_taken)
        taken = heapq.nlargest(num_missing, self._spare)
        self._waiting += [sample for _, _, sample in sorted(taken, key=lambda each: each[1])]
        self._num_taken += len(taken)
        self._spare = []


def finite(figures: Any) -> Any:
    """The same without what JSON cannot hold: a figure that is no number is ``None``."""
    if isinstance(figures, Mapping):
        return {str(name): finite(value) for name, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [finite(value) for value in figures]
    if isinstance(figures, float) and not math.isfinite(figures):
        return None
    return figures
