"""A Ray cluster of two nodes on this machine, at two loopback addresses, and what dies on it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

HEAD, SECOND = "127.0.0.2", "127.0.0.3"
OBJECT_STORE_BYTES = 80_000_000
PATIENCE_S = 60.0


class TwoNodes:
    """Ray's own processes; a context manager. Nothing of it is left behind, and no other Ray is
    touched. Without a token it takes commands from anybody.
    """

    def __init__(self, variables: Mapping[str, str], *, has_token: bool = True) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets want short paths
        self.mark = secrets.token_hex(16)
        self.environment = {
            **os.environ,
            **variables,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token" if has_token else "disabled",
            "TEST_CLUSTER": self.mark,
        }
        if has_token:
            self.environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        self._port = _free_port()
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"{HEAD}:{self._port}"

    def __enter__(self) -> Self:
        self._start(HEAD, "--head", f"--port={self._port}", "--include-dashboard=false")
        self._start(SECOND, f"--address={self.address}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in reversed(self._started):
            process.terminate()
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in self.pids():
            _kill(pid)
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self, title: bytes = b"") -> list[int]:
        """Processes of this cluster, those alone whose title begins so."""
        return [pid for pid, found in self._processes() if found.startswith(title)]

    def kill_one(self, title: bytes, which: int = 0) -> None:
        """Kill a process, once there is one."""
        _kill(self._one(title, which))

    def suspend_one(self, title: bytes, *, for_s: float) -> None:
        pid = self._one(title)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(for_s)
        os.kill(pid, signal.SIGCONT)

    def _one(self, title: bytes, which: int = 0) -> int:
        give_up_s = time.monotonic() + PATIENCE_S
        while not (pids := self.pids(title)):
            assert time.monotonic() < give_up_s, [found for _, found in self._processes()]
            time.sleep(0.05)
        return pids[which % len(pids)]

    def logs(self) -> Iterator[bytes]:
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path.read_bytes()

    def _processes(self) -> Iterator[tuple[int, bytes]]:
        mark = f"TEST_CLUSTER={self.mark}".encode()
        for path in Path("/proc").iterdir():
            if not path.name.isdigit() or int(path.name) == os.getpid():
                continue
            try:
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    yield int(path.name), (path / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile, or is somebody else's
                continue

    def _start(self, address: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += [f"--node-ip-address={address}", "--num-cpus=1"]
        command += [f"--object-store-memory={OBJECT_STORE_BYTES}", *arguments]
        if "--head" in arguments:
            command.append(f"--temp-dir={self.folder}")
        log = self.folder / f"start-{address}.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        self._started.append(process)
        give_up_s = time.monotonic() + PATIENCE_S
        while b"Ray runtime started" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_s, log.read_text()
            time.sleep(0.1)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.create_server((HEAD, 0)) as listener:
        port: Any = listener.getsockname()[1]
        return int(port)
