"""The benchmark of ``weave-async bench``, with tiny numbers: shown beside logged, of one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ONCE = ("--repeats", "1")
ASK = """
import json, sys, time, urllib.request
url, seconds = sys.argv[1], float(sys.argv[2])
body = json.dumps({"model": "exact", "messages": [], "stream": True}).encode()
ends_s = time.monotonic() + seconds
while time.monotonic() < ends_s:
    urllib.request.urlopen(urllib.request.Request(url, body)).read()
print("I was quick")
"""


def benchmark(*options: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(BENCHMARKS / "backends.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == exit_code, done.stderr
    return done


def test_what_is_shown_stands_beside_what_the_server_logged(tmp_path: Path) -> None:
    peer = tmp_path / "peer.py"
    peer.write_text(ASK)
    told: dict[str, Any] = json.loads(
        benchmark(
            *(*ONCE, "--seconds", "1", "--streams", "16", "--json"),
            *("--peer", f"plain={sys.executable} {peer} {{url}} {{seconds}}"),
            *("--peer", "broken=/nonexistent/tool {url}"),
        ).stdout
    )
    exact = told["scenarios"]["exact"]
    ours = exact["tools"]["weave-async bench"]
    assert ours["logged"]["e2e_s.p50"]["median"] == pytest.approx(0.73, rel=0.05)
    assert ours["said"]["e2e_s.p50"]["median"] >= ours["logged"]["e2e_s.p50"]["median"]
    assert ours["logged"]["requests_per_s"]["median"] == pytest.approx(16 / 0.73, rel=0.3)
    assert ours["said"]["requests_per_s"]["median"] == pytest.approx(16 / 0.73, rel=0.3)
    assert 16 <= ours["took"]["connections"]["median"] <= 16 + 7
    assert ours["took"]["first_request_s"]["median"] > 0
    plain = exact["tools"]["plain"]
    assert plain["took"]["requests_per_s"]["median"] == pytest.approx(1 / 0.73, rel=0.3)
    assert plain["said"]["requests_per_s"] is None
    assert plain["stdout"] == "I was quick\n"
    assert "No such file" in exact["left_out"]["broken"]
    assert {"guidellm", "aiperf", "wrk"} <= set(exact["left_out"])
    at_once = told["scenarios"]["at once"]["tools"]["weave-async bench"]
    assert at_once["logged"]["requests_per_s"]["median"] > 50


def test_the_tables_say_who_was_left_out_and_why() -> None:
    shown = benchmark(*ONCE, "--seconds", "0.3", "--streams", "2").stdout
    for words in ("shown", "logged", "difference", "TTFT p99, ms", "connections", "at once"):
        assert words in shown
    assert "guidellm: left out, " in shown


def test_a_peer_without_a_command_is_refused() -> None:
    assert "--peer takes NAME=COMMAND" in benchmark("--peer", "wrk", exit_code=2).stderr
