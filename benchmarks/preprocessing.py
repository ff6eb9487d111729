"""How much sooner a dataset is there when answers stream through the stages, step by step instead.

    python benchmarks/preprocessing.py [--rows 20000] [--in-flight 500] [--latencies-ms 0,250,1000]

The same 20,000 answers of the simulated endpoint, by the same parts with the same seeds, made

- **streaming**: one `weave-async run`, which varies, checks and compares while it asks;
- **in steps**: a run that only asks, and then a script for each step, each of which reads the file
  of the one before: validate, noise (with a check of what it has changed), deduplicate, format;
- **in steps, 2 processes**: the same, with validation and noise over all cores.

All must write the same rows. *Preprocessing* is the time beyond that of the run that only asks.
How much of the whole it is depends on how fast the endpoint is, hence several latencies; figures
are medians over the repeats, ratios are of what was measured in one round.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from statistics import median

import orjson

from about_machine import about_machine
from made_prompts import write_prompts
from process_tree import tree_rss_mb
from tables import table

HERE = Path(__file__).parent
PARTS = """\
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
"""
ASKING = """\
name: preprocessing
measure: off
prompts: {source: prompts.txt, template: "{{ text }}"}
generate:
  mix: [{endpoint: simulated, model: simulatedBEHAVIOUR}]
  params: {max_tokens: 100}
"""
LOOK_EVERY_S = 0.05
STEPS = ("validate", "noise", "deduplicate", "format")


@dataclass(slots=True)
class Timing:
    """``first_row_s`` is until the first row of the dataset; ``asking_s`` is what a run takes that
    only asks, in the same round.
    """

    wall_s: float = 0.0
    asking_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_mb: float = 0.0
    first_row_s: float = 0.0
    digest: str = ""
    num_rows: int = 0
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def after_s(self) -> float:
        return self.wall_s - self.asking_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--latencies-ms", default="0,250,1000", help="of the endpoint, by comma")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(about_machine())
    for latency_ms in map(float, given.latencies_ms.split(",")):
        compare(given.rows, given.in_flight, latency_ms / 1000, given.repeats)


def compare(num_rows: int, in_flight: int, latency_s: float, repeats: int) -> None:
    ways: dict[str, Callable[[Path, int], Timing]] = {
        "in steps": lambda folder, n: in_steps(folder, n, processes=1),
        "in steps, 2 processes": lambda folder, n: in_steps(folder, n, processes=2),
        "streaming": streaming,
    }
    timings: dict[str, list[Timing]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                write_recipes(Path(folder), num_rows, latency_s)
                timings[name].append(way(Path(folder), in_flight))
        for each in timings.values():
            each[-1].asking_s = timings["in steps"][-1].steps["generate"]
    digests = {timing.digest for each in timings.values() for timing in each}
    same = "the same rows" if len(digests) == 1 else "NOT THE SAME ROWS"
    kept = timings["streaming"][0].num_rows
    print(f"\n{num_rows:,} answers at {1000 * latency_s:g} ms, {in_flight} in flight: ", end="")
    print(f"{kept:,} rows each, {same}\n")
    show(timings)


def show(timings: dict[str, list[Timing]]) -> None:
    header = ("way", "wall s", "×", "preprocessing s", "×", "first row s", "CPU s", "peak MB")
    base = timings["in steps"]
    rows = []
    for name, each in timings.items():
        walls = [one.wall_s for one in each]
        rows.append(
            [
                name,
                f"{median(walls):.1f} [{min(walls):.1f}–{max(walls):.1f}]",
                f"{_ratio(each, base, lambda one: one.wall_s):.2f}",
                f"{median(one.after_s for one in each):.1f}",
                f"{_ratio(each, base, lambda one: one.after_s):.2f}",
                f"{median(one.first_row_s for one in each):.1f}",
                f"{median(one.cpu_s for one in each):.1f}",
                f"{median(one.peak_rss_mb for one in each):.0f}",
            ]
        )
    print(table(header, rows))
    steps = base[0].steps
    print("\nin steps: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps.items()))


def _ratio(
    these: Sequence[Timing], those: Sequence[Timing], figure: Callable[[Timing], float]
) -> float:
    """The median over rounds: what was measured one after the other."""
    return median(figure(one) / figure(other) for one, other in zip(these, those, strict=True))


def write_recipes(folder: Path, num_rows: int, latency_s: float) -> None:
    write_prompts(folder / "prompts.txt", num_rows)
    behaviour = f", options: {{latency_s: {latency_s}, latency_spread: 0.3}}" if latency_s else ""
    asking = ASKING.replace("BEHAVIOUR", behaviour)
    (folder / "asking.yaml").write_text(asking)
    (folder / "whole.yaml").write_text(asking + PARTS)


def streaming(folder: Path, in_flight: int) -> Timing:
    watch = Watch(folder / "whole/samples.jsonl.part")
    _run(folder, "whole", in_flight, watch)
    return watch.timing(folder / "whole/samples.jsonl")


def in_steps(folder: Path, in_flight: int, *, processes: int) -> Timing:
    watch = Watch(folder / "format.jsonl")
    steps = {"generate": _run(folder, "asking", in_flight, watch)}
    place = folder / "asking/samples.jsonl"
    for step in STEPS:
        after = folder / f"{step}.jsonl"
        script = [HERE / "preprocessing_steps.py", step, folder / "whole.yaml", place, after]
        steps[step] = watch.over([*map(str, script), "--processes", str(processes)])
        place = after
    timing = watch.timing(place)
    timing.steps = steps
    return timing


def _run(folder: Path, name: str, in_flight: int, watch: Watch) -> float:
    words = ["-m", "weave_async.cli", "run", f"{folder / name}.yaml", "-c", str(in_flight)]
    return watch.over([*words, "-o", str(folder / name)])


class Watch:
    """Programs one after the other, from its making on: what they take, and when ``rows`` holds
    something.
    """

    def __init__(self, rows: Path) -> None:
        self._rows = rows
        self._began_s = time.monotonic()
        self._cpu_before_s = _children_cpu_s()
        self._peak_rss_mb = 0.0
        self._first_row_s: float | None = None

    def over(self, arguments: Sequence[str]) -> float:
        """Run a program to its end; returns its seconds."""
        began_s = time.monotonic()
        with tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=subprocess.DEVNULL,
                stderr=err,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
            while process.poll() is None:
                self._look(process.pid)
                time.sleep(LOOK_EVERY_S)
            if process.returncode:
                err.seek(0)
                raise SystemExit(f"{arguments} ended with {process.returncode}: {err.read()!r}")
        self._look(process.pid)
        return time.monotonic() - began_s

    def timing(self, dataset: Path) -> Timing:
        wall_s = time.monotonic() - self._began_s
        rows = [orjson.loads(line) for line in dataset.read_bytes().splitlines()]
        told = sorted(orjson.dumps([row["sample_id"], row["messages"]]) for row in rows)
        return Timing(
            wall_s=wall_s,
            cpu_s=_children_cpu_s() - self._cpu_before_s,
            peak_rss_mb=self._peak_rss_mb,
            first_row_s=wall_s if self._first_row_s is None else self._first_row_s,
            digest=sha256(b"\n".join(told)).hexdigest(),
            num_rows=len(rows),
        )

    def _look(self, pid: int) -> None:
        self._peak_rss_mb = max(self._peak_rss_mb, tree_rss_mb(pid))
        if self._first_row_s is None and self._rows.exists() and self._rows.stat().st_size:
            self._first_row_s = time.monotonic() - self._began_s


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
