"""Rows per second and their cost: the whole command line, the bare transport, and plain loops."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any

from command_line import SPARE_S, Job, e2e_s, write_rows
from processes import HERE, Child, ChildFailed, Server, loopback_server
from stacks import EXIT_MISSING, STACKS
from tables import Latencies, spread

COMMAND_LINE = "weave-async"
RATIOS_OVER = ("raw_transport", "openai_sdk")


@dataclass(frozen=True, slots=True)
class Measurement:
    """``rows_per_s`` runs until the last answer of the server, for the command line from its first
    request on, for a loop from where it began to ask.

    ``process_rows_per_s`` is from start to exit, where the process did nothing else; ``cpu_us`` of
    the command line is the whole process's, of a loop the loop's. ``server_core`` is how busy the
    server was: near 1 it, and not the client, was measured. ``settled_p99_ms`` is added latency as
    well, without the first answers, which waited for their connections.
    """

    rows_per_s: float
    process_rows_per_s: float | None
    cpu_us: float
    core: float
    peak_rss_mb: float
    added_p50_ms: float
    added_p99_ms: float
    settled_p99_ms: float | None
    num_failed: int
    server_core: float


@dataclass(frozen=True, slots=True)
class Conditions:
    rows: int
    repeats: int
    in_flight: int
    seconds: float
    stacks: Sequence[str] = tuple(STACKS)
    latency_ms: float = 0.0
    tail: float = 0.0
    error_rate: float = 0.0

    @property
    def server_options(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in ("latency_ms", "tail", "error_rate")}

    def job(self, rows: Path, server: Server) -> Job:
        return Job(rows, self.rows, server.base_url, self.in_flight, self.latency_ms / 1000)

    def added_ms(self, latencies: Latencies) -> dict[str, Any]:
        """What is not the server's."""
        settled_s = latencies.settled_p99_s
        return {
            "added_p50_ms": latencies.p50_s * 1000 - self.latency_ms,
            "added_p99_ms": latencies.p99_s * 1000 - self.latency_ms,
            "settled_p99_ms": settled_s and settled_s * 1000 - self.latency_ms,
        }


@dataclass(slots=True)
class Comparison:
    """What was measured of each stack, round by round; and why a stack was left out."""

    rounds: dict[str, list[Measurement]] = field(default_factory=lambda: defaultdict(list))
    left_out: dict[str, str] = field(default_factory=dict)
    parts_us: dict[str, float] = field(default_factory=dict)
    sampled_cpu_us: float | None = None
    server_loop: str = ""

    def ratio(self, name: str, over: str) -> float | None:
        """Of rows per second: the median over the rounds, in each of which both ran."""
        pairs = zip(self.rounds[name], self.rounds.get(over, ()), strict=False)
        ratios = [mine.rows_per_s / theirs.rows_per_s for mine, theirs in pairs]
        return median(ratios) if ratios else None

    def as_dict(self) -> dict[str, Any]:
        stacks: dict[str, dict[str, Any]] = {}
        for name, rounds in self.rounds.items():
            spreads = {f.name: spread([getattr(m, f.name) for m in rounds]) for f in COLUMNS}
            ratios = {f"ratio_over_{over}": self.ratio(name, over) for over in RATIOS_OVER}
            stacks[name] = {**spreads, **ratios}
        return {
            "server_loop": self.server_loop,
            "stacks": stacks,
            "left_out": self.left_out,
            "parts_us": self.parts_us,
            "sampled_cpu_us": self.sampled_cpu_us,
        }


COLUMNS = fields(Measurement)


def compare(conditions: Conditions, folder: Path) -> Comparison:
    """Every stack once per round, so that a slow minute of the machine meets them all."""
    comparison = Comparison()
    rows = write_rows(folder / "rows.jsonl", conditions.rows)
    for _ in range(conditions.repeats):
        comparison.rounds[COMMAND_LINE].append(
            on_server(conditions, lambda *at: measure_command_line(conditions, rows, *at))
        )
        for stack in conditions.stacks:
            if stack in comparison.left_out:
                continue
            try:
                comparison.rounds[stack].append(
                    on_server(conditions, lambda *at, it=stack: measure_stack(conditions, it, *at))
                )
            except ChildFailed as failure:
                comparison.rounds.pop(stack, None)
                comparison.left_out[stack] = why_left_out(failure)
    on_server(conditions, lambda *at: attribute(comparison, conditions, rows, *at))
    return comparison


def on_server(conditions: Conditions, measure: Callable[[Server, Path], Any]) -> Any:
    """``measure`` with a fresh server and an empty folder."""
    with loopback_server(**conditions.server_options) as server:
        with tempfile.TemporaryDirectory() as folder:
            return measure(server, Path(folder))


def measure_command_line(
    conditions: Conditions, rows: Path, server: Server, folder: Path
) -> Measurement:
    job = conditions.job(rows, server)
    with job.start(folder) as run:
        finished = run.wait(timeout_s=job.timeout_s)
    stats, summary = server.stats(), job.summary(finished)
    span_s = stats["last_answer_s"] - stats["first_request_s"]
    latencies = Latencies.of(list(e2e_s(folder)), conditions.in_flight)
    return Measurement(
        rows_per_s=stats["answered"] / span_s,
        process_rows_per_s=conditions.rows / finished.wall_s,
        cpu_us=finished.cpu_s / conditions.rows * 1e6,
        core=finished.cpu_s / finished.wall_s,
        peak_rss_mb=finished.peak_rss_mb,
        **conditions.added_ms(latencies),
        num_failed=summary["failed"] + summary["pending"],
        server_core=stats["cpu_s"] / span_s,
    )


def measure_stack(conditions: Conditions, stack: str, server: Server, folder: Path) -> Measurement:
    program = [str(HERE / "stacks.py"), stack, "--base-url", server.base_url]
    program += ["--in-flight", str(conditions.in_flight), "--seconds", str(conditions.seconds)]
    with Child(program, folder) as loop:
        finished = loop.wait(timeout_s=conditions.seconds + SPARE_S)
    stats, result = server.stats(), json.loads(finished.stdout)
    span_s = stats["last_answer_s"] - result["started_s"]
    return Measurement(
        rows_per_s=result["num_answered"] / span_s,
        process_rows_per_s=None,
        cpu_us=result["cpu_s"] / result["num_answered"] * 1e6,
        core=result["cpu_s"] / span_s,
        peak_rss_mb=finished.peak_rss_mb,
        **conditions.added_ms(Latencies(**result["latencies"])),
        num_failed=result["num_failed"],
        server_core=stats["cpu_s"] / span_s,
    )


def attribute(
    comparison: Comparison, conditions: Conditions, rows: Path, server: Server, folder: Path
) -> None:
    """Where the CPU of a row goes: the shares of a sampled run, of the cost of those without."""
    job = conditions.job(rows, server)
    with job.start_sampled(folder) as run:
        finished = run.wait(timeout_s=job.timeout_s)
    cpu_s = json.loads((folder / "parts.json").read_text())["cpu_s"]
    cpu_us = median(m.cpu_us for m in comparison.rounds[COMMAND_LINE])
    sampled_s = sum(cpu_s.values())
    comparison.parts_us = {part: used_s / sampled_s * cpu_us for part, used_s in cpu_s.items()}
    comparison.sampled_cpu_us = finished.cpu_s / conditions.rows * 1e6
    comparison.server_loop = server.loop


def why_left_out(failure: ChildFailed) -> str:
    last_line = str(failure).strip().rpartition("\n")[2]
    if failure.exit_code == EXIT_MISSING:
        return f"{last_line} is not installed: pip install 'weave-async[bench]'"
    return last_line
