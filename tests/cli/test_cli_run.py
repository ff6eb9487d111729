"""``weave-async run``: summaries, streams, signals, and recovery from a kill."""

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

from .conftest import Program

SLOW = ("--option", "latency_s=0.05")


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "weave_async.cli", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, preexec_fn=heed_signals, **{**pipes, **options})


def heed_signals() -> None:
    """Whoever runs the tests in the background may have had signals ignored for all of us."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def count_answers(folder: Path) -> int:
    journals = folder.glob("journal/*.log")
    return sum(path.read_bytes().count(b'"kind":"answer"') for path in journals)


def wait_for_answers(process: subprocess.Popen[str], folder: Path, at_least: int) -> None:
    deadline = time.monotonic() + 20
    while count_answers(folder) < at_least:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_json_prints_one_summary_that_the_files_agree_with(
    weave_async: Program, recipe_file: Path
) -> None:
    outcome = weave_async("run", str(recipe_file), "-n", "20", "-o", "out/demo", "--json")
    assert outcome.exit_code == 0
    assert outcome.out.count("\n") == 1
    summary = outcome.json
    counts = [summary[end] for end in ("written", "rejected", "failed")]
    assert sum(counts) == summary["asked"] == 20
    lines = [
        Path(f"out/demo/{name}.jsonl").read_text().count("\n")
        for name in ("samples", "rejected", "failed")
    ]
    assert lines == counts


def test_the_summary_for_people_says_what_why_and_where(
    weave_async: Program, recipe_file: Path
) -> None:
    first = weave_async("run", str(recipe_file), "-o", "out")
    assert first.out.startswith("Complete: 40 samples in ")
    assert "out/samples.jsonl" in first.out
    assert "length: too_short" in first.out
    again = weave_async("run", str(recipe_file), "-o", "out")
    assert again.exit_code == 0
    assert "all 40 answers were here already, nothing was asked" in again.out


def test_progress_off_a_terminal_is_json_lines_on_stderr(
    weave_async: Program, recipe_file: Path
) -> None:
    outcome = weave_async("run", str(recipe_file), "-o", "out", "--json")
    events = [json.loads(line) for line in outcome.err.splitlines()]
    progress = [event for event in events if event["event"] == "progress"]
    assert progress
    assert {"asked", "written", "rejected", "failed", "pending"} <= set(progress[0])


def test_a_run_needs_no_recipe(weave_async: Program) -> None:
    Path("questions.txt").write_text("How are you today?\nWhat is your name?\n")
    outcome = weave_async(
        *("run", "--prompts", "questions.txt", "--provider", "simulated", "--model", "any"),
        *("--system", "Be brief.", "-n", "4", "-o", "out", "--json"),
    )
    assert outcome.json["written"] == 4
    row = json.loads(Path("out/samples.jsonl").read_text().splitlines()[0])
    assert [m["content"] for m in row["messages"]][:2] == ["Be brief.", "How are you today?"]
    assert row["lineage"]["model"] == "any"


@pytest.mark.parametrize(
    "fed", ['{"prompt": "one"}\n{"prompt": "two"}\n', "one\ntwo\n"], ids=["jsonl", "text"]
)
def test_standard_input_is_a_source(fed: str) -> None:
    process = start(
        *("run", "--prompts", "-", "-p", "simulated", "-o", "out", "--json"), stdin=subprocess.PIPE
    )
    out, err = process.communicate(fed, timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out)["asked"] == 2
    row = json.loads(Path("out/samples.jsonl").read_text().splitlines()[1])
    assert row["messages"][0]["content"] == "two"
    assert row["lineage"]["source"] in ("stdin.jsonl:2", "stdin.txt:2")


def test_flags_reach_the_recipe_and_the_endpoint(weave_async: Program, recipe_file: Path) -> None:
    outcome = weave_async(
        *("run", str(recipe_file), "--seed", "9", "--accept", "5", "-m", "other", "-c", "3"),
        *("--option", "empty_rate=0.5", "-o", "out", "--json"),
    )
    assert outcome.json["written"] == 5
    assert "completion: empty" in outcome.json["rejected_by_reason"]
    row = json.loads(Path("out/samples.jsonl").read_text().splitlines()[0])
    assert row["lineage"]["model"] == "other"
    assert "seed: 9" in Path("out/recipe.yaml").read_text()


def test_one_ctrl_c_lets_in_what_is_in_flight_and_the_next_run_goes_on(recipe_file: Path) -> None:
    arguments = ("run", str(recipe_file), "-n", "120", "-c", "4", "-o", "out", "--json", *SLOW)
    process = start(*arguments)
    wait_for_answers(process, Path("out"), at_least=20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    summary = json.loads(out)
    assert summary["status"] == "interrupted"
    assert summary["pending"] == 120 - count_answers(Path("out")) > 0
    finished = start(*arguments)
    out, err = finished.communicate(timeout=60)
    assert finished.returncode == 0, err
    assert json.loads(out)["recalled"] == 120 - summary["pending"]


def test_sigterm_stops_as_gently_and_says_so_in_its_exit_code(recipe_file: Path) -> None:
    process = start("run", str(recipe_file), "-n", "400", "-c", "4", "-o", "out", *SLOW)
    wait_for_answers(process, Path("out"), at_least=8)
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert "run the same command again to continue" in out


def test_the_summary_says_the_exit_code_of_the_process(recipe_file: Path) -> None:
    process = start("run", str(recipe_file), "-n", "400", "-c", "4", "-o", "out", "--json", *SLOW)
    wait_for_answers(process, Path("out"), at_least=8)
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert json.loads(out)["exit_code"] == process.returncode == 143


def test_a_closed_stderr_ends_no_paid_run(recipe_file: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    arguments = ("run", str(recipe_file), "-n", "60", "-c", "2", "-o", "out", "--json", *SLOW)
    process = start(*arguments, stderr=write)
    os.close(write)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out)["asked"] == 60


def test_streams_that_are_closed_from_the_start_are_no_obstacle(recipe_file: Path) -> None:
    program = f"{sys.executable} -m weave_async.cli run {recipe_file} -o out"
    done = subprocess.run(["sh", "-c", f"{program} 0<&- 1>&- 2>&-"], check=False, timeout=30)
    assert done.returncode == 0
    assert (Path("out") / "manifest.json").exists()


def test_a_module_in_the_working_directory_is_found(
    weave_async: Program, recipe_file: Path
) -> None:
    Path("my_rules.py").write_text(
        "from weave_async import Verdict\n"
        "def no_odd_ones(sample):\n"
        "    return Verdict('1' not in sample.prompt.messages[-1].content, 'odd')\n"
    )
    recipe_file.write_text(recipe_file.read_text().replace("exact", "'my_rules:no_odd_ones'"))
    outcome = weave_async("run", str(recipe_file), "-o", "out", "--json")
    assert outcome.exit_code == 0, outcome.err
    assert outcome.json["rejected_by_reason"]["my_rules:no_odd_ones: odd"] > 5


def test_without_o_each_prompts_file_has_its_own_folder(weave_async: Program) -> None:
    for name in ("first", "second"):
        Path(f"{name}.txt").write_text(f"the {name} question\n")
        assert weave_async("run", "--prompts", f"{name}.txt", "-p", "simulated").exit_code == 0
    assert Path("out/first/samples.jsonl").exists()
    assert Path("out/second/samples.jsonl").exists()


def test_a_signal_that_was_ignored_stays_ignored(recipe_file: Path) -> None:
    command = [sys.executable, "-m", "weave_async.cli", "run", str(recipe_file), "-n", "80"]
    process = subprocess.Popen(
        ["nohup", *command, "-c", "4", "-o", "out", *SLOW],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_answers(process, Path("out"), at_least=8)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.startswith("Complete: 80 samples")


def test_a_second_ctrl_c_drops_what_is_in_flight(recipe_file: Path) -> None:
    process = start(
        *("run", str(recipe_file), "-c", "4", "-o", "out", "--json", "--option", "latency_s=60")
    )
    assert process.stderr is not None
    process.stderr.readline()  # the first progress line: signals are handled from here on
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert "requests in flight" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert json.loads(out)["pending"] == 40


def test_after_kill_9_the_next_run_loses_and_repeats_nothing(recipe_file: Path) -> None:
    arguments = ("run", str(recipe_file), "-n", "240", "-c", "8", "--json", *SLOW)
    for kill_at in (30, 80, 150):
        process = start(*arguments, "-o", "killed")
        wait_for_answers(process, Path("killed"), at_least=kill_at)
        process.kill()
        process.communicate(timeout=30)
    durable = count_answers(Path("killed"))
    process = start(*arguments, "-o", "killed")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["recalled"] == durable
    assert count_answers(Path("killed")) == 240
    start(*arguments, "-o", "whole").communicate(timeout=60)
    assert Path("killed/samples.jsonl").read_bytes() == Path("whole/samples.jsonl").read_bytes()


def test_a_run_that_is_being_written_is_left_alone(weave_async: Program, recipe_file: Path) -> None:
    process = start("run", str(recipe_file), "-n", "400", "-c", "4", "-o", "out", *SLOW)
    wait_for_answers(process, Path("out"), at_least=4)
    outcome = weave_async("run", str(recipe_file), "-o", "out")
    assert outcome.exit_code == 75
    assert f"is being written by pid {process.pid}" in outcome.err
    process.kill()
    process.communicate(timeout=30)


def test_a_reader_that_leaves_ends_nothing_but_the_printing(recipe_file: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("run", str(recipe_file), "-o", "out", stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert Path("out/manifest.json").exists()


def test_what_is_printed_cannot_drive_the_terminal(weave_async: Program) -> None:
    Path("q.jsonl").write_text(json.dumps({"prompt": "a \x1b]52;c;ZXZpbA==\x07 b \x9b31m"}) + "\n")
    outcome = weave_async("preview", "--prompts", "q.jsonl", "-p", "simulated", "-n", "1")
    assert outcome.exit_code == 0
    assert "\x1b]" not in outcome.out
    assert "\x07" not in outcome.out
    assert "\x9b" not in outcome.out
