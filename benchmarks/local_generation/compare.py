"""Every stack once per round, one at a time, the others held still."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import fmean, median
from typing import Any

from local_generation.load import Answered, Load, conversations
from local_generation.process_group import ProcessGroup, StackFailed
from local_generation.stacks import LeftOut, RunningStack, Setting, Stack
from tables import Latencies, spread

WARM_UP_TOKENS = 8
Row = tuple[str, int]
"""A stack and a concurrency."""


@dataclass(frozen=True, slots=True)
class Conditions:
    rounds: int
    concurrencies: Sequence[int]
    prompts: int
    prompts_alone: int
    max_tokens: int
    temperature: float
    top_p: float
    is_distinct: bool
    is_restarted: bool

    def load(self, round_: int, concurrency: int) -> Load:
        number = self.prompts_alone if concurrency == 1 else max(self.prompts, concurrency)
        return self._load(number, f"{round_} {concurrency}", concurrency, self.max_tokens)

    def warm_up(self, concurrency: int) -> Load:
        tokens = min(WARM_UP_TOKENS, self.max_tokens)
        return self._load(concurrency, "warm-up", concurrency, tokens)

    def _load(self, number: int, seed: str, concurrency: int, max_tokens: int) -> Load:
        asked = conversations(number, seed, is_distinct=self.is_distinct)
        return Load(asked, concurrency, max_tokens, self.temperature, self.top_p)


@dataclass(frozen=True, slots=True)
class Measurement:
    """``tokens_per_s`` is output tokens by the wall time of the whole set.

    CPU and memory are of all the stack's processes, without the client; the peak is the set's own.
    """

    tokens_per_s: float
    output_tokens: float
    input_tokens: float
    e2e_p50_s: float | None
    e2e_p99_s: float | None
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    peak_rss_mb: float
    cpu_s_per_1000_tokens: float
    client_core: float | None

    @classmethod
    def of(cls, answered: Answered, cpu_s: float, peak_rss_mb: float) -> Measurement:
        num_tokens = sum(answered.output_tokens)
        if not num_tokens:
            raise StackFailed("it answered without a single token")
        e2e, ttft = (_latencies(of) for of in (answered.e2e_s, answered.ttft_s))
        client_s = answered.client_cpu_s
        return cls(
            tokens_per_s=num_tokens / answered.wall_s,
            output_tokens=fmean(answered.output_tokens),
            input_tokens=fmean(answered.input_tokens),
            e2e_p50_s=e2e and e2e.p50_s,
            e2e_p99_s=e2e and e2e.p99_s,
            ttft_p50_s=ttft and ttft.p50_s,
            ttft_p99_s=ttft and ttft.p99_s,
            peak_rss_mb=peak_rss_mb,
            cpu_s_per_1000_tokens=cpu_s / num_tokens * 1000,
            client_core=None if client_s is None else client_s / answered.wall_s,
        )


@dataclass(slots=True)
class Comparison:
    """``rounds`` holds each row's measurements by the number of the round."""

    rounds: dict[Row, dict[int, Measurement]] = field(default_factory=lambda: defaultdict(dict))
    paths: dict[str, str] = field(default_factory=dict)
    precisions: dict[str, str] = field(default_factory=dict)
    start_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    left_out: dict[str, str] = field(default_factory=dict)

    def tokens_per_s(self, row: Row) -> float | None:
        found = [measured.tokens_per_s for measured in self.rounds.get(row, {}).values()]
        return median(found) if found else None

    def ratio(self, row: Row, over: Row) -> float | None:
        """Of tokens per second: the median over the rounds in which both were measured."""
        mine, theirs = self.rounds.get(row, {}), self.rounds.get(over, {})
        ratios = [mine[r].tokens_per_s / theirs[r].tokens_per_s for r in mine if r in theirs]
        return median(ratios) if ratios else None

    def as_dict(self) -> dict[str, Any]:
        rows = [
            {
                "stack": name,
                "concurrency": concurrency,
                "path": self.paths[name],
                "precision": self.precisions[name],
                "start_s": spread(self.start_s[name]),
                **{
                    f.name: spread([getattr(m, f.name) for m in rounds.values()])
                    for f in fields(Measurement)
                },
                "rounds": {str(number): asdict(m) for number, m in rounds.items()},
            }
            for (name, concurrency), rounds in self.rounds.items()
        ]
        return {"rows": rows, "left_out": self.left_out}


@dataclass(slots=True)
class Running:
    """The stacks that have been started, at most one of which runs."""

    setting: Setting
    folder: Path
    _stacks: dict[str, RunningStack] = field(default_factory=dict)

    def start(self, stack: Stack) -> tuple[RunningStack, bool]:
        """And whether it was started just now, or only held still until now."""
        if running := self._stacks.get(stack.name):
            running.group.resume()
            return running, False
        place = self.folder / stack.name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        self._stacks[stack.name] = stack.start(self.setting, place)
        return self._stacks[stack.name], True

    def pause(self, name: str) -> None:
        self._stacks[name].group.pause()

    def end(self, name: str) -> None:
        if running := self._stacks.pop(name, None):
            running.group.end()

    def end_all(self) -> None:
        for name in list(self._stacks):
            self.end(name)


def compare(
    stacks: Sequence[Stack], conditions: Conditions, setting: Setting, folder: Path
) -> Comparison:
    """A stack that fails is left out from then on; what it did before still counts."""
    comparison = Comparison()
    running = Running(setting, folder)
    try:
        for round_ in range(conditions.rounds):
            # There and back, so that a drift of the machine meets none of them always first.
            for stack in stacks if round_ % 2 == 0 else reversed(stacks):
                if stack.name in comparison.left_out:
                    continue
                try:
                    _measure(stack, round_, conditions, running, comparison)
                except (LeftOut, StackFailed) as reason:
                    comparison.left_out[stack.name] = str(reason)
                    _tell(f"{stack.name}: left out, {reason}")
                    running.end(stack.name)
    finally:
        running.end_all()
    return comparison


def _measure(
    stack: Stack, round_: int, conditions: Conditions, running: Running, comparison: Comparison
) -> None:
    concurrencies = stack.concurrencies(conditions.concurrencies)
    live, is_new = running.start(stack)
    if is_new:
        comparison.paths[stack.name] = stack.path
        comparison.precisions[stack.name] = live.precision
        comparison.start_s[stack.name].append(live.start_s)
    live.answer(conditions.warm_up(max(concurrencies)))
    for concurrency in concurrencies:
        measured = _measure_set(live.group, live, conditions.load(round_, concurrency))
        comparison.rounds[stack.name, concurrency][round_] = measured
        _tell(
            f"round {round_ + 1} of {conditions.rounds}, {stack.name} at {concurrency}: "
            f"{measured.tokens_per_s:,.1f} tok/s"
        )
    if conditions.is_restarted:
        running.end(stack.name)
    else:
        running.pause(stack.name)


def _measure_set(group: ProcessGroup, live: RunningStack, load: Load) -> Measurement:
    group.reset_peak()
    before_s = group.cpu_s()
    answered = live.answer(load)
    return Measurement.of(answered, group.cpu_s() - before_s, group.peak_rss_mb())


def _latencies(seconds: Sequence[float]) -> Latencies | None:
    return Latencies.of(seconds, 0) if seconds else None


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
