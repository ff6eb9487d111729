"""Child processes on a core of their own, what they cost, and the loopback server among them.

Linux only: affinity, pidfd and the signal at the parent's death.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.request import ProxyHandler, build_opener

HERE = Path(__file__).parent
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = _CORES[0], _CORES[-1]
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_open = build_opener(ProxyHandler({})).open


class ChildFailed(Exception):
    """A process that ended badly or took too long; ``str`` of it ends with its last messages."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended well; ``started_s`` is by ``time.monotonic()``."""

    started_s: float
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    stdout: str


class Child:
    """A Python program on the client's core, started in ``folder``; not to outlive its ``with``."""

    def __init__(self, arguments: Sequence[str | Path], folder: Path) -> None:
        self._command = [sys.executable, *(str(word) for word in arguments)]
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        self.started_s = time.monotonic()
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,  # no .env of the project's
                env=clean_environment(),
                preexec_fn=lambda: prepare_child(CLIENT_CORE),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def rss_mb(self) -> float | None:
        """Resident memory now; None once the process has ended."""
        try:
            statm = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        except OSError:
            return None
        return int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 or None

    def wait(self, *, timeout_s: float) -> Finished:
        """Raise ``ChildFailed`` where it did not end by itself, in time and with 0."""
        pidfd = os.pidfd_open(self._process.pid)
        try:
            ready, _, _ = select.select([pidfd], [], [], timeout_s)
        finally:
            os.close(pidfd)
        if not ready:
            os.kill(self._process.pid, signal.SIGKILL)
        wall_s = time.monotonic() - self.started_s
        _, status, usage = os.wait4(self._process.pid, 0)
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        if code or not ready:
            why = f"ended with {code}" if ready else f"took longer than {timeout_s:.0f} s"
            tail = self._stderr.read_text(errors="replace")[-2000:]
            raise ChildFailed(f"{' '.join(self._command)} {why}\n{tail}", code)
        cpu_s, peak_mb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        return Finished(self.started_s, wall_s, cpu_s, peak_mb, self._stdout.read_text())

    def has_ended(self) -> bool:
        """Without reaping it: ``wait`` wants to know what it used."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None


@dataclass(frozen=True, slots=True)
class Server:
    """A running ``loopback_server.py``."""

    port: int
    loop: str

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        with _open(f"http://127.0.0.1:{self.port}/stats", timeout=30) as reply:
            stats: dict[str, Any] = json.load(reply)
        return stats


@contextmanager
def loopback_server(**options: float | None) -> Iterator[Server]:
    """A fresh server on its own core, gone at the end; ``options`` are its command line's."""
    command = [sys.executable, str(HERE / "loopback_server.py")]
    for name, value in options.items():
        if value:
            command += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: prepare_child(SERVER_CORE),
    )
    with process:  # closes its standard input, which ends it, and waits
        assert process.stdout is not None
        try:
            yield Server(**json.loads(process.stdout.readline()))
        finally:
            process.kill()


def prepare_child(core: int) -> None:
    """Runs in the child before it becomes another program."""
    os.sched_setaffinity(0, {core})
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def clean_environment() -> Mapping[str, str]:
    """Ours without settings of the program measured, and with paths that hold in any folder."""
    ours = ("WEAVE_ASYNC_", "OPENAI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    if paths := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, paths.split(os.pathsep)))
    return kept
