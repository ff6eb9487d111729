"""Real servers, started for the tests that are marked ``peers``, each once."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

START_S = 120.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that runs, and what is its own way."""

    name: str
    base_url: str
    model: str
    lists_models: bool = True
    is_random: bool = False
    """Whether a tiny random model answers there, which hardly ever ends by itself."""


@pytest.fixture(scope="session")
def xpyd_sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    program = Path(sys.executable).with_name("xpyd-sim")
    if not program.exists():
        pytest.skip("xpyd-sim is not installed: make peers")
    port = free_port()
    # Without --host it listens to the whole network.
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", "sim-model", "--warmup-requests", "0"]
    command += ["--prefill-delay-ms", "50", "--decode-delay-per-token-ms", "1"]
    with running(command, port, "/health", tmp_path_factory.mktemp("xpyd-sim")):
        yield Peer("xpyd-sim", f"http://127.0.0.1:{port}/v1", "sim-model")


@pytest.fixture(scope="session")
def transformers_serve(
    tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peer]:
    program = Path(sys.executable).with_name("transformers")
    pytest.importorskip("fastapi", reason="transformers cannot serve without it: make peers")
    port = free_port()
    command = [str(program), "serve", tiny_folder.name, "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with running(command, port, "/health", tiny_folder.parent):
        yield Peer(
            "transformers serve",
            f"http://127.0.0.1:{port}/v1",
            tiny_folder.name,
            lists_models=False,  # it answers 500, where its cache folder is not there
            is_random=True,
        )


@pytest.fixture(scope="session")
def own_server(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    port = free_port()
    command = [sys.executable, "-m", "weave_async.cli", "serve", "--model", str(tiny_folder)]
    command += ["--port", str(port), "--device", "cpu", "--threads", "1"]
    with running(command, port, "/health", tmp_path_factory.mktemp("own-server")):
        yield Peer(
            "weave-async serve",
            f"http://127.0.0.1:{port}/v1",
            tiny_folder.name,
            is_random=True,
        )


@pytest.fixture(params=["xpyd_sim", "transformers_serve", "own_server"])
def peer(request: pytest.FixtureRequest) -> Peer:
    started: Peer = request.getfixturevalue(request.param)
    return started


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], port: int, path: str, folder: Path) -> Iterator[None]:
    """The server while this lasts, from when it answers ``path``."""
    log_path = folder / "server.log"
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env)
    try:
        give_up_s = time.monotonic() + START_S
        while not _answers(f"http://127.0.0.1:{port}{path}"):
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < give_up_s, log_path.read_text()
            time.sleep(0.1)
        yield
        assert process.poll() is None, log_path.read_text()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
