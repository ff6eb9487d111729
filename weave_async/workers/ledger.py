"""What the workers of a pool have learned of its stages: their time, and how they fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weave_async.errors import RecipeError
from weave_async.metrics.stage_times import StageTime
from weave_async.workers.process import CRASHED, OUT_OF_MEMORY, TIMED_OUT

MOST_IN_A_ROW = 3
"""Rows: when so many have ended a stage's worker with none between them that passed, it is not
their fault."""
_LOADING_SPREAD = 3.0
"""How much longer than once a stage may take to load, in another worker on a busier machine."""
_LOADING_SLACK_S = 0.3
_DID = {
    TIMED_OUT: "has hung",
    CRASHED: "has crashed its worker process",
    OUT_OF_MEMORY: "has run out of memory",
}


@dataclass(slots=True)
class _Stage:
    num_passed: int = 0
    loading_s: float | None = None
    num_lost_in_a_row: int = 0
    lost_at: int = -1


class StageLedger:
    """One for all workers of a pool. ``stages`` are kinds and names, as a worker has built them."""

    def __init__(self, deadline_s: float, first_call_deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._first_call_deadline_s = max(first_call_deadline_s, deadline_s)
        self.stages: Sequence[tuple[str, str]] = ()
        self._stages: dict[int, _Stage] = {}
        self._times: dict[int, StageTime] = {}

    def first_call_s(self, stage: int) -> float:
        """What the first call of a stage in a worker may take: much, until one has shown it."""
        loading_s = self._stage(stage).loading_s
        if loading_s is None:
            return self._first_call_deadline_s
        likely_s = self._deadline_s + _LOADING_SLACK_S + _LOADING_SPREAD * loading_s
        return min(likely_s, self._first_call_deadline_s)

    def num_passed(self, stage: int) -> int:
        return self._stage(stage).num_passed

    def count(self, results: Mapping[str, Any]) -> None:
        """Take in what a worker tells with its results."""
        for number, (num_samples, wall_s, cpu_s) in results["times"].items():
            self._stage(int(number)).num_passed += int(num_samples)
            time = self._times.setdefault(int(number), StageTime())
            time.num_samples += int(num_samples)
            time.wall_s += wall_s
            time.cpu_s += cpu_s
        for number, loading_s in results["loading_s"].items():
            stage = self._stage(int(number))
            stage.loading_s = max(stage.loading_s or 0.0, loading_s)

    def count_lost(self, stage: int, reason: str, *, lost_at: int) -> None:
        """A row has ended two workers in ``stage``, which ``lost_at`` samples had passed when it
        was first seen to. Raises ``RecipeError`` for the third one in a row.
        """
        account = self._stage(stage)
        is_next = account.lost_at == lost_at
        account.num_lost_in_a_row = account.num_lost_in_a_row + 1 if is_next else 1
        account.lost_at = lost_at
        if account.num_lost_in_a_row == MOST_IN_A_ROW:
            kind, name = self.stages[stage]
            raise RecipeError(
                f"{kind} '{name}' {_DID[reason]} on {MOST_IN_A_ROW} samples in a row: "
                "mend it or take it out; the samples stay pending"
            )

    def take_times(self) -> Mapping[str, StageTime]:
        """By ``kind:name``. Stages of one name, if there are such, stand together."""
        taken: dict[str, StageTime] = {}
        for number, time in sorted(self._times.items()):
            account = taken.setdefault(":".join(self.stages[number]), StageTime())
            account.num_samples += time.num_samples
            account.wall_s += time.wall_s
            account.cpu_s += time.cpu_s
        self._times.clear()
        return taken

    def _stage(self, number: int) -> _Stage:
        return self._stages.setdefault(number, _Stage())
