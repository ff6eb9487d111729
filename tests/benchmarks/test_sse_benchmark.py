"""The benchmark of streamed chunks, with tiny numbers: that it reads all of them, both ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(*options: str) -> str:
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(BENCHMARKS / "sse.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_reader_is_measured_on_the_same_bytes() -> None:
    result = json.loads(benchmark("--chunks", "300", "--repeats", "2", "--json"))
    assert result["num_chunks"] == 300
    assert result["num_pieces"] > 1
    readers = result["readers"]
    assert {name.partition(",")[0] for name in readers} == {"weave_async", "openai SDK"}
    assert len(readers) == 4
    for figures in readers.values():
        rates = figures["chunks_per_cpu_s"]
        assert 0 < rates["min"] <= rates["median"] <= rates["max"]
    assert readers["openai SDK"]["ratio"] == {"median": 1.0, "min": 1.0, "max": 1.0}


def test_the_table_names_machine_and_spread() -> None:
    shown = benchmark("--chunks", "50", "--repeats", "1")
    assert "cores" in shown
    assert "chunks per CPU-second" in shown
    assert "[" in shown
