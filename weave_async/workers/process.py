"""One worker, seen from the pool: started, given rows, watched, and ended for good.

Its standard descriptors belong to the code that runs in it. What we say to each other goes through
a socket of our own, which closes here whatever a fork of the worker's still holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weave_async import wire
from weave_async.errors import RecipeError
from weave_async.workers.progress import Phase, Progress, ProgressPage, new_page
from weave_async.workers.stderr import StderrTail, shown
from weave_async.workers.worker import EXIT_OUT_OF_MEMORY

logger = logging.getLogger(__name__)

TIMED_OUT, CRASHED, OUT_OF_MEMORY = "timed_out", "crashed", "out_of_memory"
# sys.path is ours before anything is imported: modules beside a recipe are found there as here, and
# nothing that lies in the working directory is taken for one of ours.
_BOOTSTRAP = """import os, sys
for library in "OMP", "OPENBLAS", "MKL":
    os.putenv(library + "_NUM_THREADS", "1")
sys.path[:] = sys.argv[4:]
from weave_async.workers.worker import main
main(*map(int, sys.argv[1:4]))"""
"""What runs before any import that is not Python's own. The workers are the parallelism: no
library is to start threads of its own."""
IDLE_DEADLINE_S = 60.0
"""To take rows up, or to tell what became of them: neither is a row's doing."""
_SURE_AFTER_S = 0.02
"""A row that looks stuck is looked at twice: the first look may have met a page half written."""
_TRACEBACK_GRACE_S = 0.2
_EXIT_GRACE_S = 0.5
_REAP_WITHIN_S = 1.0
_FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')
_MOST_FRAMES = 5
_HERE = os.path.dirname(__file__)

TakeResults = Callable[[Mapping[str, Any], Sequence[bytes]], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is to be, and how long it may take. ``allowed_s`` is for a stage's first call
    in a worker, by the stage's number.
    """

    build: str
    spec: Mapping[str, Any]
    memory_bytes: int
    deadline_s: float
    start_deadline_s: float
    first_call_s: Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended. ``row`` is what it was at, ``None`` if at none; ``num_passed`` samples
    of the same rows had come through ``stage`` before.
    """

    row: int | None
    stage: int
    num_passed: int
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


class WorkerProcess:
    """Made by ``start_worker``. Once it has died, or been killed, it is of no use."""

    def __init__(
        self,
        setup: Setup,
        process: Process,
        page: ProgressPage,
        stderr: StderrTail,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.has_served = False
        self._setup = setup
        self._process = process
        self._page = page
        self._stderr = stderr
        self._reader, self._writer = streams
        self._timer: asyncio.TimerHandle | None = None
        self._suspected: Progress | None = None
        self._hung: Progress | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        state = "running" if self._process.returncode is None else "ended"
        return f"<WorkerProcess {self._process.pid} {state}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait_until_ready(self) -> Sequence[tuple[str, str]]:
        """Have it build its stages; their kinds and names. Raises ``RecipeError`` if it cannot."""
        setup = self._setup
        sent = {"build": setup.build, "spec": setup.spec, "memory_bytes": setup.memory_bytes}
        self._writer.write(wire.frame(sent))
        try:
            async with asyncio.timeout(setup.start_deadline_s):
                header, _ = await self._next_frame()
        except TimeoutError:
            why = f"it was not ready within {setup.start_deadline_s:.0f} s"
        except (EOFError, ConnectionError, ValueError):
            death = await self._death()
            why = f"it {death.reason}: {death.evidence}"
        else:
            if "failed" not in header:
                return [(kind, name) for kind, name in header["stages"]]
            why = header["failed"]
        raise RecipeError(f"the stages cannot be built in a worker process: {why}")

    async def run(
        self,
        stages: range,
        lines: Sequence[bytes],
        schemas: Sequence[Any],
        take: TakeResults,
    ) -> Death | None:
        """Have rows processed. ``take`` is called with results as they come, in order; ``None`` if
        they have all come.
        """
        self.has_served = True
        self._page.wait()  # the worker waits too, and leaves the page alone
        self._watch()
        try:
            sent = {"stages": [stages.start, stages.stop], "schemas": schemas}
            self._writer.write(wire.frame(sent, lines))
            while True:
                results, outcomes = await self._next_frame()
                take(results, outcomes)
                if results["is_last"]:
                    return None
        except (EOFError, ConnectionError, ValueError):
            return await self._death()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _next_frame(self) -> tuple[dict[str, Any], list[bytes]]:
        """The next one that is not for the log. Raises ``ValueError`` for what is no frame."""
        while True:
            length = await self._reader.readexactly(wire.LENGTH_BYTES)
            num_bytes = int.from_bytes(length, "little")
            if num_bytes > wire.MOST_FRAME_BYTES:
                raise ValueError(f"a frame of {num_bytes} bytes")
            header, lines = wire.parsed(await self._reader.readexactly(num_bytes))
            if "logged" not in header:
                return header, lines
            level, stage, name, said, num_untold = header["logged"]
            more = f" (and {num_untold} more before)" if num_untold else ""
            logger.log(level, "'%s' in a worker: %s: %s%s", stage, name, shown(said), more)

    # --- hanging --------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look at its page when the present row must be done; if it is not, kill the worker."""
        progress, now_s = self._page.read(), time.monotonic()
        left_s = progress.since_s + self._allowed_s(progress) - now_s
        loop = asyncio.get_running_loop()
        if left_s > 0:
            # What a first call may take can become less: look again before that is over.
            look_after_s = max(min(left_s, self._setup.deadline_s), 0.001)
            self._timer = loop.call_later(look_after_s, self._watch)
        elif progress != self._suspected:
            self._suspected = progress
            self._timer = loop.call_later(_SURE_AFTER_S, self._watch)
        else:
            self._hung = progress
            _kill_group(self.pid, signal.SIGABRT)  # faulthandler writes where it is
            self._timer = loop.call_later(_TRACEBACK_GRACE_S, _kill_group, self.pid, signal.SIGKILL)

    def _allowed_s(self, progress: Progress) -> float:
        if progress.phase == Phase.WORKING:
            return self._setup.deadline_s
        if progress.phase == Phase.LOADING:
            return self._setup.first_call_s(progress.stage)
        return max(IDLE_DEADLINE_S, self._setup.deadline_s)

    # --- ending ---------------------------------------------------------------------------------

    async def _death(self) -> Death:
        """What it died of, and at what. It is dead afterwards, if it was not before."""
        await self._wait_for_exit(_EXIT_GRACE_S)  # it may only have closed its end
        code = self._process.returncode
        _kill_group(self.pid, signal.SIGKILL)
        await self._wait_for_exit(_REAP_WITHIN_S)
        progress = self._page.read()
        await self.kill()
        row = None if progress.phase == Phase.WAITING else progress.row
        if self._hung is not None:
            if self._hung != progress:
                row = None  # it went on at the last moment: nobody's fault
            reason, evidence = TIMED_OUT, {"deadline_s": self._setup.deadline_s}
        elif code == EXIT_OUT_OF_MEMORY:
            reason, evidence = OUT_OF_MEMORY, {"memory_bytes": self._setup.memory_bytes}
        else:
            reason, evidence = CRASHED, _ending(code)
        words = _last_words(self._stderr.text)
        return Death(row, progress.stage, progress.num_passed, reason, {**evidence, **words})

    async def kill(self) -> None:
        """End it, and give back all that it took here. May be called again if it was cancelled."""
        if not self._is_closed:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            _kill_group(self.pid, signal.SIGKILL)
            self._writer.transport.abort()
            self._page.close()
        try:
            await self._wait_for_exit(_REAP_WITHIN_S)
            with contextlib.suppress(TimeoutError):  # a fork in a group of its own may hold it
                async with asyncio.timeout(_EXIT_GRACE_S):
                    await self._stderr.wait_until_closed()
        finally:
            self._stderr.close()

    async def _wait_for_exit(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._process.wait()


async def start_worker(setup: Setup) -> WorkerProcess:
    """A process that is on its way to be a worker; ``wait_until_ready`` waits for it."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as undo:
        page = new_page()
        undo.callback(page.close)
        ours, its = socket.socketpair()
        undo.callback(ours.close)
        stderr_fd, its_stderr_fd = os.pipe()
        stderr_file = undo.enter_context(os.fdopen(stderr_fd, "rb", 0))
        path = [entry or os.getcwd() for entry in sys.path]
        fds = (its.fileno(), page.fd)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _BOOTSTRAP, *map(str, fds), str(os.getpid()), *path),
                stdin=DEVNULL,
                stdout=its_stderr_fd,
                stderr=its_stderr_fd,
                pass_fds=fds,
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            )
        except OSError as error:
            raise RecipeError(f"no worker process can be started: {error}") from error
        finally:
            its.close()
            os.close(its_stderr_fd)
        undo.push_async_callback(process.wait)
        undo.callback(_kill_group, process.pid, signal.SIGKILL)
        stderr = StderrTail()
        await loop.connect_read_pipe(lambda: stderr, stderr_file)
        undo.callback(stderr.close)
        streams = await asyncio.open_connection(sock=ours, limit=1 << 20)
        undo.pop_all()
        return WorkerProcess(setup, process, page, stderr, streams)


def _kill_group(pid: int, number: int) -> None:
    """A worker leads a group of its own, in which is all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _ending(code: int | None) -> dict[str, Any]:
    if code is None:
        return {"ending": "it closed its pipe to the pool"}
    if code >= 0:
        return {"exit_code": code}
    with contextlib.suppress(ValueError):
        return {"signal": signal.Signals(-code).name}
    return {"signal": str(-code)}


def _last_words(stderr: str) -> dict[str, Any]:
    """Where it was, as far as faulthandler said so; and what else it wrote last."""
    written, _, fault = stderr.rpartition("Fatal Python error: ")
    if not fault or _FRAME.search(fault) is None:
        written, fault = stderr, ""
    frames = [f"{file}:{line} in {name}" for file, line, name in _FRAME.findall(fault)]
    ours = next((i for i, frame in enumerate(frames) if frame.startswith(_HERE)), len(frames))
    words: dict[str, Any] = {}
    if frames[:ours]:
        words["where"] = frames[: min(ours, _MOST_FRAMES)]
    if written.strip():
        words["stderr"] = shown(written.strip()[-500:])
    return words
