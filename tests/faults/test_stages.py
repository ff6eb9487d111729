"""E1 and E3: stages of somebody else's that break, and memory that stays flat."""

from __future__ import annotations

import sys

import pytest

from invariants import read_rows

from .site import Site

NUM_ROWS = 300

STAGES = """\
from weave_async import Verdict

def number_in(sample):
    return int(sample.prompt.messages[-1].content.split()[-1])

def raises(sample):
    if number_in(sample) % 100 == 7:
        raise RuntimeError("by design")
    return Verdict(True)

def returns_anything(sample):
    odd = {1: None, 2: True, 3: "yes", 4: [Verdict(True)], 5: 0}
    return odd.get(number_in(sample) % 100, Verdict(True))

def recurses(sample):
    return recurses(sample) if number_in(sample) % 100 == 9 else Verdict(True)
"""


@pytest.mark.parametrize(
    ("stage", "num_guilty"), [("raises", 3), ("returns_anything", 15), ("recurses", 3)]
)
@pytest.mark.parametrize("key", ["validation", "selection"])
def test_a_stage_that_breaks_costs_the_guilty_rows_only(
    site: Site, key: str, stage: str, num_guilty: int
) -> None:
    (site.folder / "stages_of_mine.py").write_text(STAGES)
    site.recipe[key] = [f"stages_of_mine:{stage}"]
    site.write_rows(NUM_ROWS)
    ended = site.run("-c", "32")
    assert ended.exit_code == 1, ended.err  # a part of the recipe is broken: say so
    assert ended.summary["written"] == NUM_ROWS - num_guilty
    assert ended.summary["rejected"] == num_guilty
    reasons = {row["reason"] for row in read_rows(site.out / "rejected.jsonl")}
    assert reasons == {"raised"}
    assert len(ended.asked) == NUM_ROWS


TELLING_ITS_PEAK = """\
import atexit, pathlib, re, sys
from weave_async.cli.main import main

def tell():  # not ru_maxrss, which begins with that of the parent
    status = pathlib.Path("/proc/self/status").read_text()
    print("peak", re.search(r"VmHWM:\\s+(\\d+)", status)[1], file=sys.stderr)

atexit.register(tell)
main()
"""


def test_memory_does_not_grow_with_the_rows(site: Site) -> None:
    """A small E1: what a row leaves behind in memory, times a million, must fit."""
    most_bytes_per_row = 600  # a sample has 2 kB; some are the window's, which is bounded
    site.recipe["generate"]["mix"] = [{"endpoint": "simulated", "options": {"latency_s": 0.0}}]
    site.is_replayed = False
    peaks_kib = {}
    for num_rows in (5_000, 20_000):
        site.write_rows(num_rows)
        site.move_to(site.folder / f"out-{num_rows}")
        program = [sys.executable, "-c", TELLING_ITS_PEAK]
        ended = site.start_command([*program, *site.arguments("-c", "64")]).end()
        assert ended.exit_code == 0, ended.err
        peaks_kib[num_rows] = int(ended.err.rpartition("peak ")[2])
    bytes_per_row = (peaks_kib[20_000] - peaks_kib[5_000]) * 1024 / 15_000
    print(f"peaks {peaks_kib} KiB: {bytes_per_row:.0f} bytes a row")
    assert bytes_per_row < most_bytes_per_row
