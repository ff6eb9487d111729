"""The benchmark of local generation, with a server that only pretends and a tiny real model."""

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

from tiny_models import save_tiny_model

HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "benchmarks"
SMALL = ("--prompts", "4", "--prompts-alone", "2", "--max-tokens", "3", "--threads", "1")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def command(folder: Path, *options: str, delay_s: float = 0.0) -> list[str]:
    fake = f"{sys.executable} {HERE / 'fake_vllm.py'} {folder / 'pid'} {delay_s}"
    program = [sys.executable, str(BENCHMARKS / "local_server.py"), "--vllm", fake, *SMALL]
    return [*program, "--model", str(folder), "--output", str(folder / "result.json"), *options]


def environment() -> dict[str, str]:
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def measured(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The result as JSON, and as it was printed."""
    asked = command(folder, "--no-roofline", *options)
    done = subprocess.run(asked, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "result.json").read_text()), done.stdout


def in_benchmarks(code: str, *arguments: str) -> Any:
    """What ``code`` prints as JSON, run where the benchmark's modules are found."""
    asked = [sys.executable, "-c", code, *arguments]
    found = subprocess.run(asked, cwd=BENCHMARKS, env=environment(), capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def has_ended(pid: int) -> bool:
    """Soon, if not now: a killed process that is nobody's child here may take a moment."""
    for _ in range(500):
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_a_server_is_measured_each_round_while_stacks_that_fail_are_named(tmp_path: Path) -> None:
    result, printed = measured(
        tmp_path,
        *("--stacks", "openvino,vllm", "--ours", "broken=--no-such-option"),
        *("--rounds", "2", "--concurrency", "1,3"),
    )
    assert {(row["stack"], row["concurrency"]) for row in result["rows"]} == {
        ("vllm", 1),
        ("vllm", 3),
    }
    for row in result["rows"]:
        assert set(row["rounds"]) == {"0", "1"}
        assert row["precision"] == "bfloat16"
        assert row["output_tokens"]["median"] == 3
        assert 0 < row["e2e_p50_s"]["median"] <= row["e2e_p99_s"]["median"]
        assert row["tokens_per_s"]["min"] > 0
        assert row["peak_rss_mb"]["median"] > 1
        assert row["ttft_p50_s"] is None
    assert "No such option" in result["left_out"]["broken"]
    assert "openvino-genai" in result["left_out"]["openvino"]
    assert "left out" in printed
    assert all(bar["is_met"] is None for bar in result["bars"])
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_set_sends_every_prompt_once_and_the_warm_up_is_not_counted(tmp_path: Path) -> None:
    result, _ = measured(tmp_path, "--stacks", "vllm", "--rounds", "1", "--concurrency", "1,3")
    alone, together = (row["rounds"]["0"]["input_tokens"] for row in result["rows"])
    assert alone == pytest.approx((4 + 5) / 2)  # after three to warm up, by the fake's own count
    assert together == pytest.approx((6 + 7 + 8 + 9) / 4)


def test_streams_show_the_time_to_the_first_text(tmp_path: Path) -> None:
    options = ("--stacks", "vllm", "--rounds", "1", "--concurrency", "2", "--stream")
    (row,) = measured(tmp_path, *options)[0]["rows"]
    assert 0 < row["ttft_p50_s"]["median"] <= row["e2e_p50_s"]["median"]


def test_an_interrupt_ends_the_server_under_measurement(tmp_path: Path) -> None:
    options = ("--stacks", "vllm", "--concurrency", "1", "--no-roofline")
    asked = command(tmp_path, *options, delay_s=60)
    with subprocess.Popen(asked, env=environment(), stderr=subprocess.DEVNULL) as benchmark:
        while not (pid_file := tmp_path / "pid").exists() or not pid_file.read_text():
            assert benchmark.poll() is None
            time.sleep(0.02)
        benchmark.send_signal(signal.SIGINT)
        assert benchmark.wait() != 0
    assert not is_alive(int(pid_file.read_text()))


def test_a_stack_held_still_uses_no_cpu_and_ends_with_its_children(tmp_path: Path) -> None:
    code = """
import json, sys, time
from pathlib import Path
from local_generation.process_group import ProcessGroup
busy = "import os\\nos.fork()\\nwhile True: pass"
group = ProcessGroup([sys.executable, "-c", busy], Path(sys.argv[1]), {})
while group.cpu_s() < 0.1: time.sleep(0.02)
group.pause()
time.sleep(0.05)
before_s = group.cpu_s(); time.sleep(0.3); paused_s = group.cpu_s() - before_s
group.resume()
while group.cpu_s() <= before_s: time.sleep(0.02)
pids = [stat[-1] for stat in group._stats()]
group.end()
print(json.dumps({"paused_s": paused_s, "pids": pids}))
"""
    found = in_benchmarks(code, str(tmp_path))
    assert found["paused_s"] == 0
    assert len(found["pids"]) == 2
    assert all(has_ended(int(pid)) for pid in found["pids"])


def test_rounds_ask_different_conversations_and_distinct_ones_share_no_beginning() -> None:
    code = """
import json
from local_generation.load import conversations as make
print(json.dumps([make(8, seed, is_distinct=d) for seed, d in (("1", 0), ("2", 0), ("1", 1))]))
"""
    first, second, distinct = in_benchmarks(code)
    questions = {messages[-1]["content"] for messages in first + second}
    assert len(questions) == 16
    assert len({messages[0]["content"] for messages in first + second}) == 1
    assert len({messages[0]["content"][:40] for messages in distinct}) == 8


def test_our_command_line_and_the_naive_loop_are_measured_on_a_real_model(tmp_path: Path) -> None:
    save_tiny_model(tmp_path)
    options = ("--stacks", "naive bf16,weave-async", "--rounds", "1", "--concurrency", "1")
    rows = {row["stack"]: row for row in measured(tmp_path, *options)[0]["rows"]}
    assert {row["precision"] for row in rows.values()} <= {"bfloat16", "float32"}
    assert [row["output_tokens"]["median"] for row in rows.values()] == [3, 3]
    assert rows["weave-async"]["start_s"]["median"] > 0
    assert rows["weave-async"]["input_tokens"] == rows["naive bf16"]["input_tokens"]
