"""A run that writes Parquet beside JSON Lines, killed and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from weave_async.audit import audit
from weave_async.sinks import parquet as parquet_sink

pytest.importorskip("pyarrow")

RECIPE = """\
name: shards
prompts: {source: seeds.txt, template: "{{ text }}"}
generate:
  mix: [{endpoint: simulated, options: {latency_s: 0.02}}]
output: {to: [jsonl, parquet]}
"""


def rows_of(run: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [
        row for path in sorted(run.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def test_shards_and_lines_are_the_same_rows_after_kills(tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("".join(f"question {n}\n" for n in range(400)))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    command = [
        sys.executable,
        "-m",
        "weave_async.cli",
        "run",
        "recipe.yaml",
        "-o",
        "run",
        "-c",
        "8",
    ]
    for lasts_s in (0.8, 1.1, None):
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with process:
            if lasts_s is not None:
                time.sleep(lasts_s)
                os.kill(process.pid, signal.SIGKILL)
    run = tmp_path / "run"
    lines = list(map(json.loads, (run / "samples.jsonl").read_text().splitlines()))
    rows = rows_of(run)
    assert len(rows) == len(lines) == 400
    assert [row["sample_id"] for row in rows] == [line["sample_id"] for line in lines]
    assert [row["messages"] for row in rows] == [line["messages"] for line in lines]
    assert not list(run.glob("*.part"))
    assert audit(run).passed


def test_a_sink_whose_library_is_missing_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    """Where pyarrow is not installed, as in a small environment."""
    (tmp_path / "seeds.txt").write_text("question\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    hidden = "import sys; sys.modules['pyarrow'] = None\n"
    start = f"{hidden}from weave_async.cli.main import main\nmain()"
    ended = subprocess.run(
        [sys.executable, "-c", start, "run", "recipe.yaml", "-o", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 78
    assert "pip install 'weave-async[parquet]'" in ended.stderr
    assert not (tmp_path / "run").exists()


def test_the_columns_are_those_that_trainers_look_for() -> None:
    assert list(parquet_sink.COLUMNS) == ["messages", "sample_id", "lineage"]
