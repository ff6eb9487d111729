"""A model server as a child process: started on a free port, heard while it loads, ended with us.

The child lives in a session of its own, so that Ctrl-C in the terminal is ours to handle, and holds
the other end of a pipe, so that it ends when this process does, even by SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

from weave_async.errors import ConnectError, EndpointGoneError, RecipeError, WeaveError

from .events import Event, event_in, in_words

logger = logging.getLogger(__name__)

_SECRETS = re.compile(r"WEAVE_ASYNC_.*|(?!HF_|HUGGING_FACE_).*_(?:KEY|TOKEN|SECRET|PASSWORD)")
"""What the child is not told: a key is for the endpoint it was set for, and on loopback, behind a
port that nobody else knows, it needs none. Those of the Hugging Face Hub let it load a model."""
# -P: a folder `providers` in the working directory must not hide the installed one.
SERVER_COMMAND = (sys.executable, "-P", "-m", "providers.local.server")
LONGEST_START_S = 600.0
STILL_LOADING_EVERY_S = 5.0
LONGEST_STOP_S = 5.0
_STDERR_LINES_KEPT = 20
_EXIT_CONFIG = 78


class ServerProcess:
    """One server, called ``name`` in messages. A context manager: leaving it ends the process."""

    def __init__(self, arguments: Sequence[str], name: str = "") -> None:
        self._arguments = arguments
        self._called = f"local server ({name})" if name else "local server"
        self._process: Process | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES_KEPT)
        self._reading: list[asyncio.Task[None]] = []
        self._heard_of_start = asyncio.Event()
        self._ready: Event | None = None
        self._loaded: Event = {}
        self._failure: WeaveError | None = None
        self._heard_at_s = 0.0

    def __repr__(self) -> str:
        process = self._process
        if process is None:
            return "<ServerProcess not started>"
        state = "running" if process.returncode is None else f"exited {process.returncode}"
        return f"<ServerProcess {process.pid} {state}>"

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(*SERVER_COMMAND, *self._arguments),
            *("--port=0", "--json-events", "--exit-on-stdin-close"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            env={n: value for n, value in os.environ.items() if not _SECRETS.fullmatch(n)},
        )
        self._reading = [
            asyncio.create_task(self._read_stderr(self._process), name="local server stderr"),
            asyncio.create_task(self._read_events(self._process), name="local server events"),
        ]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Ask it to end, and see that it does, even if whoever waits for that is cancelled."""
        process = self._process
        assert process is not None
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_STOP_S):
                    await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if process.stdin is not None:
                process.stdin.close()
            await asyncio.gather(*self._reading)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def has_exited(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    @property
    def base_url(self) -> str:
        return f"{self._said_ready()['url']}/v1"

    @property
    def served_model(self) -> str:
        """What it calls its model: of a folder or a file, the last name."""
        return str(self._said_ready()["model"])

    @property
    def loaded(self) -> Event:
        """What it said of itself once it had loaded: device, dtype, threads. Empty before."""
        return self._loaded

    async def wait_until_ready(self) -> None:
        """Return once it answers requests. Says at INFO how far it is meanwhile.

        Raises ``RecipeError`` for a model or an option that cannot be, and ``ConnectError`` for
        what another try may mend, such as too little memory.
        """
        loop = asyncio.get_running_loop()
        started_s = self._heard_at_s = loop.time()
        while not self._heard_of_start.is_set():
            if loop.time() - started_s > LONGEST_START_S:
                raise ConnectError(
                    f"the {self._called} was not ready within {LONGEST_START_S:.0f} s"
                )
            try:
                async with asyncio.timeout(STILL_LOADING_EVERY_S):
                    await self._heard_of_start.wait()
            except TimeoutError:
                if loop.time() - self._heard_at_s >= STILL_LOADING_EVERY_S:
                    self._tell(f"still loading ({loop.time() - started_s:.0f} s)")
        if self._failure is not None:
            raise self._failure
        self._tell(f"ready after {loop.time() - started_s:.1f} s")

    def require_alive(self) -> None:
        """Raise ``EndpointGoneError`` if it has ended: somebody else may have its port by now."""
        if self.has_exited:
            raise EndpointGoneError(self.last_words())

    def last_words(self) -> str:
        """Why the process ended, as far as it said."""
        said = "\n  ".join(self._stderr) or "it said nothing"
        return f"the {self._called} has ended{self._manner_of_end()}:\n  {said}"

    def _manner_of_end(self) -> str:
        code = None if self._process is None else self._process.returncode
        if code is None or code >= 0:
            return f" with exit code {code}"
        manner = f", killed by {_signal_name(-code)} (exit code {code})"
        if code == -signal.SIGKILL:
            manner += (
                ", most likely because the memory ran out: a smaller model, a lower "
                "max_concurrency or fewer kv_tokens need less"
            )
        return manner

    def _said_ready(self) -> Event:
        assert self._ready is not None, "it is ready"
        return self._ready

    def _tell(self, message: str, level: int = logging.INFO) -> None:
        logger.log(level, "%s: %s", self._called, message)

    async def _read_events(self, process: Process) -> None:
        """To the end of its life: a pipe that nobody empties would stop it one day."""
        assert process.stdout is not None
        async for line in process.stdout:
            self._hear(event_in(line))
        await process.wait()
        await self._reading[0]
        if not self._heard_of_start.is_set():
            self._failure = ConnectError(self.last_words())
            self._heard_of_start.set()

    def _hear(self, event: Event) -> None:
        self._heard_at_s = asyncio.get_running_loop().time()
        if event["event"] == "ready" and self._ready is None:
            self._ready = event
            self._heard_of_start.set()
        elif event["event"] == "error":
            kind: Any = RecipeError if event.get("exit_code") == _EXIT_CONFIG else ConnectError
            self._failure = kind(f"the {self._called} cannot start: {in_words(event)}")
            self._heard_of_start.set()
        else:
            if event["event"] == "loaded":
                self._loaded = event
            level = logging.WARNING if event["event"] == "warning" else logging.INFO
            self._tell(in_words(event), level)

    async def _read_stderr(self, process: Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self._stderr.append(line.decode(errors="replace").rstrip()[:500])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
