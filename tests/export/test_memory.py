"""An export holds a few rows at a time, however many there are."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from export.made_runs import make_run, row
from weave_async.export.making import Export, Wanted, to_file

NUM_ROWS = 600


def peak_bytes(folder: Path, format: str, num_prompts: int) -> int:
    rows = []
    for n in range(num_prompts):
        rows.append(row(f"p{n}-0", f"Good {n} {'x' * 200}", ask=f"{n}?"))
        rows.append(row(f"p{n}-1", "Bad.", ask=f"{n}?", rejected=("validation", "short")))
    export = Export(make_run(folder, rows), Wanted(format, force=True))
    del rows
    tracemalloc.start()
    try:
        to_file(export, folder.with_suffix(".jsonl"), "jsonl")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("format", ["messages", "kto", "preference"])
def test_four_times_the_rows_take_no_more_memory(tmp_path: Path, format: str) -> None:
    peak_bytes(tmp_path / "warm", format, 10)
    few = peak_bytes(tmp_path / "few", format, NUM_ROWS)
    many = peak_bytes(tmp_path / "many", format, 4 * NUM_ROWS)
    assert many < few + 100_000  # the rows themselves would be 2 MB more
