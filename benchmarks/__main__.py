"""Runs the benchmarks one after the other, and writes what they print with the machine above it.

    python benchmarks                       those that take minutes, into benchmarks/RESULTS.md
    python benchmarks --quick               with tiny numbers, in a minute or two: that they run
    python benchmarks --only sse limiter    these alone; --only controller: one of the long ones

Each is a process of its own. Of one that fails the page has the last words, and the others go on;
the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from about_machine import about_machine
from questions import BENCHMARKS, HERE, Benchmark

RESULTS = HERE / "RESULTS.md"
LONGEST_S = 3600.0
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Outcome:
    """``problem`` is why there is no result, or not all of it."""

    benchmark: Benchmark
    command: Sequence[str]
    printed: str
    took_s: float
    load: float
    problem: str | None = None


def main() -> None:
    given = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = [each for each in BENCHMARKS if is_chosen(each, given)]
    given.output.parent.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    heading = about_machine()
    for benchmark in chosen:
        print(f"{benchmark.name} ...", file=sys.stderr, flush=True)
        outcome = run(benchmark, given)
        outcomes.append(outcome)
        if outcome.problem:
            print(f"{benchmark.name}: {outcome.problem}", file=sys.stderr)
        # After each, so that an interrupted hour is not lost.
        given.output.write_text(page(heading, outcomes, given), encoding="utf-8")
    print(given.output)
    sys.exit(any(outcome.problem for outcome in outcomes))


def parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    names = [each.name for each in BENCHMARKS]
    parser = argparse.ArgumentParser(
        prog="python benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="tiny numbers: that they run")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--output", type=Path, help=f"[{RESULTS.name}, or out/ if quick]")
    parser.add_argument("--longest-s", type=float, default=LONGEST_S, help="of each [3600]")
    given = parser.parse_args()
    if given.quick and given.only:
        for each in BENCHMARKS:
            if each.name in given.only and each.quick is None:
                parser.error(f"{each.name} cannot be had quickly")
    if given.output is None:
        quick = HERE.parent / "out" / "benchmarks-quick.md"
        given.output = quick if given.quick else RESULTS
    return given


def is_chosen(benchmark: Benchmark, given: argparse.Namespace) -> bool:
    if given.only:
        return benchmark.name in given.only
    return benchmark.quick is not None if given.quick else not benchmark.is_long


def run(benchmark: Benchmark, given: argparse.Namespace) -> Outcome:
    command = benchmark.command(quick=given.quick)
    load, begun_s = os.getloadavg()[0], time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=HERE,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its servers end with it
    )
    problem = None
    try:
        printed, complaints = process.communicate(timeout=given.longest_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, complaints = process.communicate()
        problem = f"took longer than {given.longest_s:g} s"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    if problem is None and process.returncode:
        problem = f"ended with {process.returncode}"
    if problem is not None:
        problem = "\n".join([problem, *complaints.splitlines()[-LAST_LINES:]])
    return Outcome(benchmark, command, printed, time.monotonic() - begun_s, load, problem)


def environment() -> dict[str, str]:
    """Paths that hold in any folder; the project's own first, for where it is not installed."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    absolute = [os.path.abspath(path) for path in paths]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), *absolute])}


# --- the page ------------------------------------------------------------------------------------


def page(heading: str, outcomes: Iterable[Outcome], given: argparse.Namespace) -> str:
    lines = [
        "# Results",
        "",
        f"Written by `{shlex.join(['python', 'benchmarks', *sys.argv[1:]])}`. What is "
        "asked, under which conditions, and how to read the tables: [README](README.md).",
        "",
        heading,
    ]
    if given.quick:
        lines += ["", "**Quick: too short to compare anything.**"]
    for outcome in outcomes:
        lines += ["", *section(outcome)]
    return "\n".join(lines) + "\n"


def section(outcome: Outcome) -> Iterator[str]:
    yield f"## {outcome.benchmark.name}"
    yield ""
    yield outcome.benchmark.question
    yield ""
    yield (
        f"`python benchmarks/{shlex.join(outcome.command)}`: {outcome.took_s:.0f} s, "
        f"load {outcome.load:.1f} at the beginning"
    )
    if outcome.problem:
        reason, _, told = outcome.problem.partition("\n")
        yield ""
        yield f"**Failed**: it {reason}."
        if told:
            yield from fenced(told)
    if outcome.printed.strip():
        yield from fenced(outcome.printed)


def fenced(text: str) -> Iterator[str]:
    yield ""
    yield "```text"
    for line in text.strip("\n").splitlines():
        yield line.rstrip().replace(f"{HERE.parent}/", "")  # of no use elsewhere
    yield "```"


if __name__ == "__main__":
    main()
