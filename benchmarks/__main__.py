"""Runs the benchmarks one after the other, and writes what they print with the machine above it.

    python benchmarks                    the default ones, into benchmarks/RESULTS.md: about half an hour
    python benchmarks --quick            all of them with tiny numbers: that they run, no figures
    python benchmarks --only sse limiter --output out/results.md

Each is a process of its own. One that fails is said to have, with its last words, and the others go
on; the exit code is 1 then. A ``.json`` beside the output is not needed: most print JSON themselves.
"""

from __future__ import annotations

import argparse
import ast
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

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
LONGEST_S = 3600.0
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A program and its words. ``takes`` is the time of the whole one on two cores, as people say
    it; ``is_long`` is run only when named, or quickly. No ``quick`` words: it has no quick mode.
    """

    name: str
    words: str
    quick: str | None
    takes: str
    is_long: bool = False

    @property
    def program(self) -> Path:
        return HERE / self.words.split()[0]

    def command(self, *, quick: bool) -> list[str]:
        words = self.quick if quick and self.quick is not None else self.words
        return shlex.split(words)

    @property
    def question(self) -> str:
        return (ast.get_docstring(ast.parse(self.program.read_text())) or "").partition("\n")[0]


BENCHMARKS = (
    Benchmark("simulated", "simulated.py", "simulated.py --samples 300 --repeats 1", "1 min"),
    Benchmark(
        "engine",
        "engine.py",
        "engine.py --rows 500 --repeats 1 --seconds 0.3 --in-flight 16",
        "5 min",
    ),
    Benchmark(
        "engine-latency",
        "engine.py --latency-ms 500 --in-flight 2000 --stacks ''",
        "engine.py --latency-ms 50 --in-flight 64 --rows 500 --repeats 1 --stacks ''",
        "2 min",
    ),
    Benchmark("sse", "sse.py", "sse.py --chunks 500 --repeats 1", "1 min"),
    Benchmark("limiter", "limiter.py", "limiter.py --requests 500 --repeats 1 --minutes 3", "15 s"),
    Benchmark(
        "backends",
        "backends.py",
        "backends.py --repeats 1 --seconds 1.5 --streams 16",
        "2 min",
    ),
    Benchmark(
        "stages-validation",
        "stages.py validation",
        "stages.py validation --num-texts 20 --repeats 1",
        "1 min",
    ),
    Benchmark(
        "stages-noise",
        "stages.py noise",
        "stages.py noise --num-texts 50 --repeats 1 --noise typos casing",
        "3 min",
    ),
    Benchmark(
        "selection",
        "selection.py --memory-rows 1000000",
        "selection.py --num-rows 200 --num-pairs 50 --repeats 1",
        "10 min",
    ),
    Benchmark(
        "choosing",
        "choosing.py noise_texts.txt -k 10",
        "choosing.py noise_texts.txt -k 10",
        "1 min",
    ),
    Benchmark(
        "controller",
        "controller.py",
        "controller.py --seeds 2 --tokens 12000 --round 40 --repeats 1 --rows 100 "
        "--latency-ms 5 --in-flight 16",
        "15 min",
        is_long=True,
    ),
    Benchmark(
        "local-server",
        "local_server.py",
        "local_server.py --quick",
        "1 h",
        is_long=True,
    ),
    Benchmark("diversity", "diversity.py", None, "1 h", is_long=True),
    Benchmark("downstream", "downstream.py --draws 3", None, "2 h", is_long=True),
)
PARTS = frozenset(
    {
        *("about_machine", "command_line", "cpu_sampler", "downstream_data", "downstream_parts"),
        *("exact_timing", "loopback_server", "processes", "scenarios", "selection_tools", "stacks"),
        *("stages_datatrove", "stages_noise", "stages_noise_peers", "stages_validation", "tables"),
        *("throughput", "uneven_endpoint"),
    }
)
"""Modules that answer no question by themselves."""


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
    words = [word for word in sys.argv[1:] if word]
    lines = [
        "# Results",
        "",
        f"Written by `{shlex.join(['python', 'benchmarks', *words])}`. What is asked, under which "
        "conditions, and how to read the tables: [README](README.md).",
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
    yield f"`python benchmarks/{shlex.join(outcome.command)}`: {outcome.took_s:.0f} s, load at the "
    yield f"beginning {outcome.load:.1f}"
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
    yield from (line.rstrip() for line in text.strip("\n").splitlines())
    yield "```"


if __name__ == "__main__":
    main()
