"""The benchmark of the controller, with tiny numbers: that both halves are measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(*options: str) -> str:
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(BENCHMARKS / "controller.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_tells_what_the_controller_brings_and_what_it_costs() -> None:
    small = ("--seeds", "2", "--tokens", "12000", "--round", "40", "--repeats", "1")
    told = benchmark(*small, "--rows", "100", "--latency-ms", "5", "--in-flight", "16")
    for name in ("accepted rows", "distinct-2 at equal rows", "Vendi of n-grams at equal rows"):
        [line] = [line for line in told.splitlines() if line.startswith(name)]
        assert line.endswith("]")
    assert "controller off" in told
    assert "controller on" in told
