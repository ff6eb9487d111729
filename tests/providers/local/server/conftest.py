"""One real server process for the whole session, on a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tiny_models import MAX_CONTEXT

REPOSITORY = Path(__file__).parents[4]
MAX_CONCURRENCY, MAX_QUEUE = 4, 4


class ServerProcess:
    """`python -m providers.local.server` and the events it has printed."""

    def __init__(self, *options: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "providers.local.server", "--json-events", *options]
        self.popen = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        )

    def next_event(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, f"the server ended with {self.popen.wait()}: {self.stderr()}"
        event = json.loads(line)
        assert isinstance(event, dict)
        return event

    def wait_for(self, name: str) -> dict[str, Any]:
        while (event := self.next_event())["event"] != name:
            pass
        return event

    def stderr(self) -> str:
        assert self.popen.stderr is not None
        return self.popen.stderr.read().decode()

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        for pipe in (self.popen.stdout, self.popen.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def start_server() -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(*options: str, **more: Any) -> ServerProcess:
        started.append(ServerProcess(*options, **more))
        return started[-1]

    yield start
    for process in started:
        process.close()


def tiny_options(folder: Path) -> list[str]:
    options = ["--model", str(folder), "--port", "0", "--dtype", "float32", "--device", "cpu"]
    options += ["--max-concurrency", str(MAX_CONCURRENCY), "--max-queue", str(MAX_QUEUE)]
    return [*options, "--kv-tokens", str(MAX_CONCURRENCY * MAX_CONTEXT), "--threads", "1"]


@pytest.fixture(scope="session")
def server_url(tiny_folder: Path) -> Iterator[str]:
    process = ServerProcess(*tiny_options(tiny_folder))
    try:
        yield process.wait_for("ready")["url"]
    finally:
        process.close()


@pytest.fixture
def client(server_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server_url, timeout=30) as client:
        yield client
        wait_until(lambda: is_idle(client))  # a test leaves nothing running behind


def is_idle(client: httpx.Client) -> bool:
    health = client.get("/health").json()
    return bool(health["running"] == health["waiting"] == 0)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
