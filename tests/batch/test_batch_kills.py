"""A run that is killed at any step of its batches buys none of them twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

from batch_bench import NUM_ROWS, Bench

DYING = Path(__file__).with_name("dying.py")
PATIENCE_S = 60.0


def write_recipe(bench: Bench) -> dict[str, str]:
    """The recipe as a file, and the environment to run it in."""
    resolved = bench.recipe().with_absolute_paths().resolved()
    (bench.folder / "recipe.yaml").write_text(yaml.safe_dump(resolved))
    return {
        **os.environ,
        "WEAVE_ASYNC_BASE_URL": bench.endpoint.base_url,
        "WEAVE_ASYNC_API_KEY": "sk-canary-0123456789",
    }


def test_killed_at_any_step_it_completes_afterwards_and_buys_no_batch_twice(bench: Bench) -> None:
    bench.generate = {"batch": {"max_requests": 7}}
    bench.endpoint.num_polls = 2
    deaths = bench.folder / "deaths"
    deaths.mkdir()
    ended = subprocess.run(
        [sys.executable, DYING, deaths, "recipe.yaml"],
        cwd=bench.folder,
        env=write_recipe(bench),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr
    num_steps = int(ended.stdout)
    assert num_steps > 40  # two batches: a line of the ledger per step, two files each, synced
    bench.mode = "batch"
    expected = None
    for step in range(1, num_steps + 1):
        summary = bench.run(deaths / str(step))
        assert (summary.exit_code, summary.written) == (0, NUM_ROWS), (step, summary)
        samples = (deaths / str(step) / "samples.jsonl").read_bytes()
        expected = expected or samples
        assert samples == expected
    bought = Counter(
        (batch.metadata["weave_async_run"], batch.metadata["weave_async_file"])
        for batch in bench.endpoint.batches
    )
    assert set(bought.values()) == {1}
    assert len(bench.endpoint.asked) == (num_steps + 1) * NUM_ROWS


def test_ctrl_c_leaves_the_batch_with_the_provider_and_says_how_to_go_on(bench: Bench) -> None:
    bench.endpoint.num_polls = 10**6
    process = subprocess.Popen(
        [sys.executable, "-m", "weave_async.cli", "run", "recipe.yaml", "-o", str(bench.out)],
        cwd=bench.folder,
        env=write_recipe(bench),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever starts the tests in the background has Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    give_up_s = time.monotonic() + PATIENCE_S
    while not (bench.endpoint.batches and bench.endpoint.batches[0].num_polls):
        assert time.monotonic() < give_up_s
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "run the same command again to collect" in err
    assert "sk-canary" not in err
    bench.endpoint.num_polls = 1
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.batches) == 1
