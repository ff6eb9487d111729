"""The benchmark of limiters, with tiny numbers: it tells who keeps to a limit and who does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = ("--requests", "200", "--repeats", "2", "--minutes", "3")


def benchmark(*options: str) -> str:
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(BENCHMARKS / "limiter.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(benchmark(*SMALL, "--json"))
    return told


def test_ours_uses_a_limit_nearly_whole_and_no_window_exceeds_it(result: dict[str, Any]) -> None:
    ours = result["rates"]["weave_async"]
    assert 0.95 < ours["share_used"] <= 1
    assert 0.95 < ours["share_in_60_s"] <= 1
    assert ours["share_in_1_s"] <= 1.1  # but for a part of one request


def test_bursts_and_answers_that_become_quicker_show(result: dict[str, Any]) -> None:
    rates = result["rates"]
    assert rates["aiolimiter, 600 in 60 s"]["share_in_60_s"] == pytest.approx(2, rel=0.01)
    assert rates["semaphore of 5"]["share_used"] == pytest.approx(1.5, rel=0.02)


def test_who_lets_large_requests_starve_is_seen(result: dict[str, Any]) -> None:
    tokens = result["tokens"]
    ours, plain = tokens["weave_async"], tokens["aiolimiter, 60,000 in 60 s"]
    assert ours["longest_large_wait_s"] < 1.1 * ours["longest_small_wait_s"]
    assert plain["longest_large_wait_s"] == pytest.approx(180)  # until the end
    assert ours["share_in_60_s"] <= 1.02


def test_every_cost_has_a_spread_over_the_repeats(result: dict[str, Any]) -> None:
    costs = result["cost_us"]
    assert {"semaphore", "aiolimiter", "weave_async"} <= set(costs)
    assert costs["weave_async"]["free"]["median"] > 0
    for of in costs.values():
        for figures in of.values():
            assert figures["min"] <= figures["median"] <= figures["max"]


def test_the_tables_name_machine_and_conditions() -> None:
    shown = benchmark(*SMALL)
    for words in ("cores", "200 requests a turn", "µs CPU/request", "in 60 s", "small waits"):
        assert words in shown
