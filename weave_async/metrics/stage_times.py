"""What each stage of a run, or the writing, has taken.

``cpu_s`` is that of the thread it ran in, or of the worker processes; ``wall_s`` is more where the
stage waited, or the machine was busy with something else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class StageTime:
    """How many samples went through a stage, and how long that took."""

    num_samples: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0


class StageTimes(dict[str, StageTime]):
    """A ledger of time, by stage, in the order of the journey."""

    def add(self, stage: str, time: StageTime) -> None:
        """Add what a stage has taken elsewhere."""
        account = self.setdefault(stage, StageTime())
        account.num_samples += time.num_samples
        account.wall_s += time.wall_s
        account.cpu_s += time.cpu_s

    @contextmanager
    def timed(self, stage: str, num_samples: int) -> Iterator[None]:
        """Add what happens inside to the stage's account."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            account = self.setdefault(stage, StageTime())
            account.num_samples += num_samples
            account.wall_s += time.perf_counter() - wall_s
            account.cpu_s += time.thread_time() - cpu_s
