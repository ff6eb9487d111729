"""Rows per second and memory of a whole run on the simulated endpoint: the program's own cost.

    python benchmarks/simulated.py [--samples 20000] [--repeats 3]

Each line is a process of its own, ``weave-async run``, timed from outside; the figures are medians
over the repeats. There is no network in it: what an HTTP endpoint adds is another benchmark.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

RECIPE = Path(__file__).parents[1] / "examples/support_queries/recipe.yaml"


@dataclass(frozen=True, slots=True)
class Timing:
    wall_s: float
    cpu_s: float
    peak_rss_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'samples':>8} {'in flight':>9} {'rows/s':>8} {'µs CPU/row':>10} {'peak RSS MB':>11}")
    with tempfile.TemporaryDirectory() as folder:
        outputs = set()
        for samples in (arguments.samples // 10, arguments.samples):
            for concurrency in (4, 400):
                place = Path(folder) / f"{samples}-{concurrency}"
                timings = [
                    timed(samples, concurrency, place / str(i)) for i in range(arguments.repeats)
                ]
                show(samples, concurrency, timings)
                outputs.add((samples, (place / "0/samples.jsonl").read_bytes()))
    same = "identical" if len(outputs) == 2 else "NOT identical"
    print(f"samples.jsonl at 4 and at 400 in flight: {same}")


def timed(samples: int, concurrency: int, output: Path) -> Timing:
    command = [sys.executable, "-m", "weave_async.cli", "run", str(RECIPE), "--json"]
    command += ["-p", "simulated", "-n", str(samples), "-c", str(concurrency), "-o", str(output)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    wall_s = time.perf_counter() - started
    return Timing(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def show(samples: int, concurrency: int, timings: list[Timing]) -> None:
    rows_per_s = samples / median(timing.wall_s for timing in timings)
    cpu_us = median(timing.cpu_s for timing in timings) / samples * 1e6
    rss_mb = median(timing.peak_rss_mb for timing in timings)
    print(f"{samples:>8} {concurrency:>9} {rows_per_s:>8,.0f} {cpu_us:>10.0f} {rss_mb:>11.0f}")


if __name__ == "__main__":
    main()
