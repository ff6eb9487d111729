"""The benchmark of near-duplicates, with tiny numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(*options: str) -> subprocess.CompletedProcess[str]:
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(BENCHMARKS / "selection.py"), *options]
    command += ["--num-pairs", "60"]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)


def test_what_is_alike_is_refused_and_nothing_else() -> None:
    done = benchmark(
        *("--num-rows", "500", "--repeats", "2", "--memory-rows", "1000", "--json"),
        *("--peers-python", sys.executable),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert 0 < result["num_alike"] < result["num_pairs"]
    ours = result["tools"]["weave_async"]
    assert ours["recall"] >= 0.95
    assert ours["precision"] == 1
    assert 0 < ours["rows_per_cpu_s"]["min"] <= ours["rows_per_cpu_s"]["max"]
    assert result["large"]["refused"] == [False] * 1000
    assert result["large"]["cpu_s"] > 0
    assert {*result["tools"], *result["left_out"]} == {
        *("weave_async", "datasketch", "rensa", "semhash")
    }


def test_a_python_without_the_peers_leaves_them_out(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    done = benchmark("--num-rows", "100", "--repeats", "1", "--peers-python", str(python))
    assert done.returncode == 0, done.stderr
    assert "left out: datasketch is not installed" in done.stdout
    assert "weave_async" in done.stdout.splitlines()[-1]
