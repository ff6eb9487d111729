"""A stack's processes as one thing: started, held still while others are measured, ended.

Linux only: ``/proc``, the signal at the parent's death.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

GRACE_S = 10.0
LOOK_EVERY_S = 0.02
TAIL_CHARS = 1500
PR_SET_PDEATHSIG = 1
RESET_PEAK = "5"  # to clear_refs: the peak starts again from what is resident now
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)


class StackFailed(Exception):
    """A stack that did not start, or did not answer; ``str`` of it says why."""


class ProcessGroup:
    """A command and all that it starts, which must not outlive ``end``."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        has_pipes: bool = False,
    ) -> None:
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        self.started_s = time.monotonic()
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            try:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE if has_pipes else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if has_pipes else out,
                    stderr=err,
                    cwd=folder,  # no .env of the project's
                    env=environment,
                    start_new_session=True,  # Ctrl-C reaches us alone, and we end it
                    preexec_fn=_die_with_parent,
                )
            except OSError as error:
                raise StackFailed(f"{command[0]} cannot be started: {error}") from error

    def pause(self) -> None:
        """Nothing of it runs until ``resume``; what it holds in memory stays."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """First by SIGTERM, and what remains of the group by SIGKILL."""
        self._signal(signal.SIGTERM)
        self.resume()  # a stopped process does not see the first signal
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        self._signal(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def require_alive(self) -> None:
        code = self.process.poll()
        if code is not None:
            raise StackFailed(f"ended with {code}: {self.last_words()}")

    def last_words(self) -> str:
        return self._stderr.read_text(errors="replace").strip()[-TAIL_CHARS:]

    def stdout(self) -> str:
        """What it printed so far; nothing where its output is a pipe."""
        return self._stdout.read_text(errors="replace")

    def cpu_s(self) -> float:
        """Used so far by the processes that live, and by those they have waited for."""
        return sum(sum(map(int, stat[11:15])) for stat in self._stats()) / TICKS_PER_S

    def peak_rss_mb(self) -> float:
        """The processes' own peaks added up, since ``reset_peak``: shared pages count each time."""
        peaks_kb = 0
        for stat in self._stats():
            with suppress(OSError):  # it has ended meanwhile
                status = Path(f"/proc/{stat[-1]}/status").read_text()
                peaks_kb += int(status.partition("VmHWM:")[2].split(maxsplit=1)[0] or 0)
        return peaks_kb / 1024

    def reset_peak(self) -> None:
        for stat in self._stats():
            with suppress(OSError):
                Path(f"/proc/{stat[-1]}/clear_refs").write_text(RESET_PEAK)

    def _stats(self) -> Iterator[list[str]]:
        """Of each process of the group, ``/proc/PID/stat`` from its state on, then the PID."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:  # the session: a child may lead a group
                    yield [*fields, path.parent.name]

    def _signal(self, number: int) -> None:
        for stat in list(self._stats()):
            with suppress(ProcessLookupError):
                os.kill(int(stat[-1]), number)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
