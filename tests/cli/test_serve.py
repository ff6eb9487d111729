"""``serve``: what it says, what it hands on, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from weave_async import registry

from .conftest import Program

COMMAND = [sys.executable, "-m", "weave_async.cli", "serve"]
SMALL = ["--port", "0", "--dtype", "float32", "--device", "cpu", "--threads", "1", "-c", "2"]


@pytest.fixture
def serving(tiny_folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "-m", str(tiny_folder), *SMALL, "--kv-tokens", "8192"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        yield process
        process.kill()


def test_it_tells_how_to_use_it_and_a_second_interrupt_ends_it(
    serving: subprocess.Popen[str],
) -> None:
    assert serving.stdout is not None
    lines: list[str] = []
    while "Ctrl-C" not in (line := serving.stdout.readline()):
        assert line, serving.communicate()
        lines.append(line)
    said = "".join(lines)
    url = re.findall(r"serving tiny at (http://127\.0\.0\.1:\d+/v1)\n", said)[0]
    assert f"WEAVE_ASYNC_BASE_URL={url} weave-async run" in said
    [example] = re.findall(r"-d '(.*)'", said)
    body = {**json.loads(example), "stream": True, "max_tokens": 4000, "ignore_eos": True}
    with (
        httpx.Client(timeout=60) as client,
        client.stream("POST", f"{url}/chat/completions", json=body) as answer,
    ):
        pieces = answer.iter_lines()
        assert next(pieces).startswith("data: ")
        serving.send_signal(signal.SIGINT)
        while is_open(url):  # two signals in a row could arrive as one
            time.sleep(0.02)
        serving.send_signal(signal.SIGINT)
        with contextlib.suppress(httpx.RemoteProtocolError):
            assert len(list(pieces)) < 4000
    _, err = serving.communicate(timeout=60)
    assert serving.returncode == 130
    assert err == ""


def is_open(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "says", "exit_code"),
    [
        (["-m", "./nowhere"], "no such model folder: nowhere", 78),
        (["--host", "0.0.0.0"], "set WEAVE_ASYNC_SERVER_API_KEY", 78),
        (["--port", "{taken}"], "choose another --port", 69),
    ],
)
def test_a_start_that_fails_is_one_line_and_an_exit_code(
    arguments: list[str], says: str, exit_code: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, *(port if each == "{taken}" else each for each in arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
    assert done.returncode == exit_code
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("weave-async: error: ")
    assert says in done.stderr


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the server: what it was called with. It says what is in ``events``."""
    called: dict[str, Any] = {"events": []}

    def serve(**options: Any) -> int:
        for event in called.pop("events"):
            options["on_event"](event)
        called.update(options)
        return 0

    monkeypatch.setattr(registry, "load", lambda kind, name: serve)
    return called


def test_what_is_not_said_is_left_to_the_server(
    weave_async: Program, server: dict[str, Any]
) -> None:
    assert weave_async("serve").exit_code == 0
    assert server["max_concurrency"] == 64
    assert not {"kv_tokens", "max_context", "threads", "engine"} & server.keys()


def test_all_options_reach_the_server(weave_async: Program, server: dict[str, Any]) -> None:
    said = [
        "--kv-tokens",
        "4096",
        "--engine",
        "transformers",
        "--max-queue",
        "7",
        "--max-context",
        "99",
    ]
    assert weave_async("serve", *said, "--threads", "3", "-c", "5").exit_code == 0
    assert server["kv_tokens"] == 4096
    assert server["engine"] == "transformers"
    assert (server["max_queue"], server["max_context"]) == (7, 99)
    assert (server["threads"], server["max_concurrency"]) == (3, 5)
    assert weave_async("serve", "--engine", "warp").exit_code == 2


def test_events_that_are_not_known_are_shown_as_they_are(
    weave_async: Program, server: dict[str, Any]
) -> None:
    server["events"] = [
        {"event": "converting", "percent": 40},
        {"event": "hint", "message": "once only \x1b[2J"},
        {"event": "loaded", "device": "cpu"},
    ]
    lines = weave_async("serve").out.splitlines()
    assert lines == ["converting percent 40", "once only �[2J", "loaded device cpu"]


def test_beyond_this_machine_the_example_sends_a_key(
    weave_async: Program, server: dict[str, Any]
) -> None:
    server["events"] = [{"event": "ready", "model": "m", "url": "http://10.0.0.1:8000"}]
    assert 'Bearer $WEAVE_ASYNC_SERVER_API_KEY"' in weave_async("serve").out
