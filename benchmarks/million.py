"""A million prompts through the whole pipeline in one command: time, memory, and how both grow.

    python benchmarks/million.py [--sizes 10000,100000,1000000]

Render, admission, journal, noise, five rules (length, required, refusal, repetition, language),
near-duplicates, JSON Lines and Parquet: one ``weave-async run`` per size, a process timed from
outside, memory summed over it and its workers. The endpoint is the simulated one: what HTTP costs
besides is measured by ``engine.py``.

Time must grow as the rows do, and memory only by what near-duplicates must remember: the growth per
row from size to size is printed, and so is resident memory over time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from about_machine import about_machine
from made_prompts import write_prompts
from process_tree import tree_rss_mb
from tables import table

RECIPE = """\
name: million
prompts: {source: prompts.txt, template: "{{ text }}"}
generate:
  mix: [{endpoint: simulated, model: simulated}]
  params: {max_tokens: 100}
noise:
  - typos: {rate: 0.02}
validation:
  - length: {min_words: 5}
  - required: {any: [About, about]}
  - refusal
  - repetition
  - language: {allowed: [en]}
selection:
  - near_duplicates
output: {to: [jsonl, parquet]}
"""
LOOK_EVERY_S = 1.0
NUM_SHOWN = 12
"""Looks at memory that are printed, spread over the run."""


@dataclass(slots=True)
class Measured:
    """``rss_mb`` is by seconds since the start."""

    num_rows: int
    wall_s: float
    written: int
    metrics: dict[str, Any]
    disk_mb: float
    rss_mb: list[tuple[float, float]] = field(default_factory=list)

    @property
    def peak_rss_mb(self) -> float:
        return max(mb for _, mb in self.rss_mb)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000,1000000", help="rows, by comma")
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where runs are kept; else they are deleted")
    given = parser.parse_args()
    print(about_machine())
    runs = []
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        for size in map(int, given.sizes.split(",")):
            runs.append(measured(size, given.in_flight, Path(place) / str(size)))
            show_run(runs[-1])
    show_growth(runs)


def measured(num_rows: int, in_flight: int, folder: Path) -> Measured:
    folder.mkdir()
    write_prompts(folder / "prompts.txt", num_rows)
    (folder / "recipe.yaml").write_text(RECIPE)
    words = ["-m", "weave_async.cli", "run", "recipe.yaml", "-o", "run", "-c", str(in_flight)]
    began_s, rss_mb = time.monotonic(), []
    with (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=err
        )
        while process.poll() is None:
            rss_mb.append((time.monotonic() - began_s, tree_rss_mb(process.pid)))
            time.sleep(LOOK_EVERY_S)
    wall_s = time.monotonic() - began_s
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}: {folder / 'err'}")
    metrics = json.loads((folder / "run/metrics.json").read_text())
    files = [path for path in (folder / "run").rglob("*") if path.is_file()]
    disk_mb = sum(path.stat().st_size for path in files) / 2**20
    return Measured(num_rows, wall_s, metrics["written"], metrics, disk_mb, rss_mb)


def show_run(run: Measured) -> None:
    figures = (
        f"{run.wall_s:,.1f} s",
        f"{run.num_rows / run.wall_s:,.0f} rows/s",
        f"{run.written:,} written",
        f"at most {run.peak_rss_mb:,.0f} MB",
        f"{run.disk_mb:,.0f} MB on disk",
    )
    print(f"\n{run.num_rows:,} prompts: {', '.join(figures)}\n")
    stages = run.metrics["stages"]
    rows = [
        [name, f"{stage['samples']:,}", f"{stage['wall_s']:.1f}", f"{stage['cpu_s']:.1f}"]
        for name, stage in stages.items()
    ]
    print(table(("stage", "samples", "wall s", "CPU s"), rows))
    print(
        "\nresident memory: " + ", ".join(f"{s:,.0f} s {mb:,.0f} MB" for s, mb in _few(run.rss_mb))
    )


def _few(looks: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    step = max(1, len(looks) // NUM_SHOWN)
    return [*looks[::step], looks[-1]]


def show_growth(runs: Sequence[Measured]) -> None:
    """From each size to the next: a straight line costs the same for every row."""
    if len(runs) < 2:
        return
    print("\nby each row more:\n")
    rows = []
    for before, after in itertools.pairwise(runs):
        more = after.num_rows - before.num_rows
        kept = after.written - before.written
        mb = after.peak_rss_mb - before.peak_rss_mb
        rows.append(
            [
                f"{before.num_rows:,} to {after.num_rows:,}",
                f"{1e6 * (after.wall_s - before.wall_s) / more:,.0f}",
                f"{mb * 2**20 / more:,.0f}",
                f"{mb * 2**20 / max(1, kept):,.0f}",
                f"{(after.disk_mb - before.disk_mb) * 2**20 / more:,.0f}",
            ]
        )
    header = ("rows", "µs", "bytes of memory", "by each written", "bytes on disk")
    print(table(header, rows))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
