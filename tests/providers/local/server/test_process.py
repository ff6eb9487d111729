"""The life of the server process: how it starts, fails to start, and ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from .conftest import REPOSITORY, ServerProcess, tiny_options, wait_until

Start = Callable[..., ServerProcess]


def test_a_missing_folder_is_one_clear_line(start_server: Start, tmp_path: Path) -> None:
    process = start_server("--model", str(tmp_path / "nothing"), "--port", "0")
    event = process.wait_for("error")
    assert "no such model folder" in event["message"]
    assert "\n" not in event["message"]
    assert process.popen.wait(20) == event["exit_code"] == 78


def test_pickled_weights_are_refused(start_server: Start, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"trap")
    process = start_server("--model", str(tmp_path), "--port", "0")
    assert "holds no model.safetensors" in process.wait_for("error")["message"]
    assert process.popen.wait(20) == 78


def test_damaged_weights_are_refused(
    start_server: Start, tiny_folder: Path, tmp_path: Path
) -> None:
    for file in tiny_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"\xff" * 8 + weights.read_bytes()[8:])  # a header of 2**64 - 1 bytes
    process = start_server("--model", str(tmp_path), "--port", "0")
    assert "model.safetensors is damaged" in process.wait_for("error")["message"]
    assert process.popen.wait(30) == 78


@pytest.mark.parametrize(
    ("option", "value"), [("--device", "gpu"), ("--device", "cuda:x"), ("--dtype", "int8")]
)
def test_a_misspelt_option_is_said_before_anything_is_imported(
    start_server: Start, option: str, value: str
) -> None:
    process = start_server(option, value, "--port", "0")
    events = [process.next_event(), process.next_event()]
    assert [event["event"] for event in events] == ["loading", "error"]
    assert f"unknown {option[2:]} {value!r}; known: auto, " in events[1]["message"]
    assert process.popen.wait(20) == 78


def test_too_little_memory_is_one_clear_line(
    start_server: Start, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "huge"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": 1 << 20, "vocab_size": 1 << 24}
    (folder / "config.json").write_text(json.dumps(config))
    process = start_server("--model", str(folder), "--port", "0")
    event = process.wait_for("error")
    assert event["message"].startswith("huge needs about ")
    assert process.popen.wait(30) == event["exit_code"] == 69
    assert process.stderr() == ""


def test_the_steps_of_a_start_are_told(start_server: Start, tiny_folder: Path) -> None:
    process = start_server(*tiny_options(tiny_folder))
    events = [process.next_event()]
    while events[-1]["event"] != "ready":
        events.append(process.next_event())
    told = [event["step"] for event in events if event["event"] == "progress"]
    assert list(dict.fromkeys(told)) == ["importing", "loading"]
    assert [event["event"] for event in events if event["event"] != "progress"] == [
        *("loading", "loaded", "ready")
    ]


def test_a_taken_port_is_named_before_the_model_loads(start_server: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start_server("--port", str(port))
        event = process.next_event()
        assert event["event"] == "error"
        assert f"127.0.0.1:{port}" in event["message"]
        assert process.popen.wait(20) == event["exit_code"] == 69


def test_other_machines_need_a_key(start_server: Start) -> None:
    process = start_server("--host", "0.0.0.0", "--port", "0")
    event = process.next_event()
    assert "WEAVE_ASYNC_SERVER_API_KEY" in event["message"]
    assert event["exit_code"] == 78


def test_without_json_events_an_error_goes_to_stderr() -> None:
    command = [sys.executable, "-m", "providers.local.server", "--model", "/no/such", "--port", "0"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr == "error: no such model folder: /no/such\n"


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_loading_ends_it_without_a_traceback(
    start_server: Start, tiny_folder: Path, signum: int, code: int
) -> None:
    process = start_server(*tiny_options(tiny_folder))
    process.wait_for("loading")
    time.sleep(0.3)  # into the imports
    process.popen.send_signal(signum)
    assert process.popen.wait(10) == code
    assert process.stderr() == ""


def test_sigterm_ends_open_streams_after_a_grace_and_the_key_guards(
    start_server: Start, tiny_folder: Path
) -> None:
    env = {**os.environ, "WEAVE_ASYNC_SERVER_API_KEY": "s3cret"}
    process = start_server(*tiny_options(tiny_folder), env=env)
    url = process.wait_for("ready")["url"]
    body = {"model": "tiny", "prompt": "a", "stream": True, "ignore_eos": True, "max_tokens": 4000}
    with httpx.Client(base_url=url, timeout=20) as client:
        assert client.get("/v1/models").status_code == 401
        wrong = client.get("/v1/models", headers={"Authorization": "Bearer guess"})
        assert wrong.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/health").status_code == 200
        client.headers["Authorization"] = "Bearer s3cret"
        with client.stream("POST", "/v1/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.popen.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
    assert '"engine_stopped"' in rest[-1]
    assert process.popen.wait(10) == 143
    assert process.stderr() == ""


def test_the_server_dies_with_its_parent(tiny_folder: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *tiny_options(tiny_folder)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        server_pid = int(parent.stdout.readline())
        assert "loading" in parent.stdout.readline()
        parent.kill()
        parent.wait()
    wait_until(lambda: not is_alive(server_pid), 5)


PARENT = """
import subprocess, sys, time
command = [sys.executable, "-m", "providers.local.server", "--json-events"]
command += ["--exit-on-stdin-close", *sys.argv[1:]]
server = subprocess.Popen(command, stdin=subprocess.PIPE)
print(server.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    """Whether it runs: a zombie that nobody has buried yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
