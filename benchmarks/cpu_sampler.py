"""The command line under a sampling profiler: whose code the main thread's CPU went to.

    python benchmarks/cpu_sampler.py PARTS.json run --prompts rows.jsonl …

Every millisecond of CPU a signal looks at the stack and gives the CPU that the *main thread* has
used since the last look to the innermost frame of ours: a look that some other thread's CPU has
caused thus weighs next to nothing. Libraries and C code count for whoever of ours called them; only
the event loop's own C code, in which nobody can look, counts for whoever of ours it calls next.
Other threads are read from ``/proc``, where the scheduler counts in nanoseconds.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType

from weave_async.cli.main import main as command_line

INTERVAL_S = 0.001
THREADS_EVERY_S = 0.05
ROOT = Path(sys.modules["weave_async"].__path__[0]).parent
PARTS = {  # the first that fits counts
    "weave_async/cli/": "command line",
    "weave_async/plan.py": "plan and render",
    "weave_async/render.py": "plan and render",
    "weave_async/seeding.py": "plan and render",
    "weave_async/sources/": "plan and render",
    "weave_async/dispatch": "dispatch and admission",
    "weave_async/flow/": "dispatch and admission",
    "weave_async/guard.py": "dispatch and admission",
    "weave_async/estimate.py": "dispatch and admission",
    "weave_async/journal/": "journal",
    "weave_async/stages.py": "stages",
    "weave_async/noise/": "stages",
    "weave_async/validation/": "stages",
    "weave_async/selection/": "stages",
    "weave_async/sinks/": "outputs",
    "weave_async/rundir.py": "outputs",
    "weave_async/": "engine and records",
    "providers/": "provider",
}
EVENT_LOOP, IMPORTS = "event loop", "imports"
THREADS = {
    "journal": "journal thread",
    "tokio": "transport threads",
    "pyreqwest": "transport threads",
}
OTHER_THREADS = "other threads"


class Sampler:
    """CPU seconds by part; together the whole process's, but for its exit."""

    def __init__(self) -> None:
        self._seen_s = time.thread_time()
        self._main_s = defaultdict(float, {IMPORTS: self._seen_s})  # so far there was no more
        self._thread_s: dict[int, float] = {}
        self._thread_names: dict[int, str] = {}
        self._threads_read_at_s = 0.0

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._look)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._look(signal.SIGPROF, None)

    def parts(self) -> dict[str, float]:
        cpu_s = self._main_s.copy()
        for thread_id, used_s in self._thread_s.items():
            cpu_s[self._part_of_thread(thread_id)] += used_s
        # What threads used between the last look at them and their end.
        cpu_s[OTHER_THREADS] += max(0.0, time.process_time() - sum(cpu_s.values()))
        return dict(sorted(cpu_s.items(), key=lambda part: -part[1]))

    def _look(self, number: int, frame: FrameType | None) -> None:
        used_s = time.thread_time()
        self._main_s[part_of(frame)] += used_s - self._seen_s
        self._seen_s = used_s
        if (now_s := time.monotonic()) - self._threads_read_at_s > THREADS_EVERY_S:
            self._threads_read_at_s = now_s
            self._read_threads()

    def _read_threads(self) -> None:
        """Often, because a thread that has ended leaves nothing to read."""
        main = threading.main_thread().native_id
        python_names = {thread.native_id: thread.name for thread in threading.enumerate()}
        for folder in Path("/proc/self/task").iterdir():
            thread_id = int(folder.name)
            if thread_id == main:
                continue
            with suppress(OSError):  # it has ended meanwhile
                nanoseconds = int((folder / "schedstat").read_text().split()[0])
                self._thread_s[thread_id] = nanoseconds / 1e9
                if thread_id not in self._thread_names:
                    name = python_names.get(thread_id) or (folder / "comm").read_text().strip()
                    self._thread_names[thread_id] = name

    def _part_of_thread(self, thread_id: int) -> str:
        name = self._thread_names.get(thread_id, "")
        return next((part for sign, part in THREADS.items() if sign in name), OTHER_THREADS)


def part_of(frame: FrameType | None) -> str:
    """The part that the innermost frame of ours belongs to."""
    while frame is not None:
        part = part_of_file(frame.f_code.co_filename)
        if part is not None:
            return part
        frame = frame.f_back
    return EVENT_LOOP


@cache
def part_of_file(file_name: str) -> str | None:
    if file_name.startswith("<frozen importlib"):
        return IMPORTS
    if not file_name.startswith(str(ROOT)):
        return None
    inside = Path(file_name).relative_to(ROOT).as_posix()
    return next((part for start, part in PARTS.items() if inside.startswith(start)), None)


def main() -> None:
    result, *sys.argv[1:] = sys.argv[1:]
    sampler = Sampler()
    sampler.start()
    try:
        command_line()
    finally:
        sampler.stop()
        Path(result).write_text(json.dumps({"cpu_s": sampler.parts()}))


if __name__ == "__main__":
    main()
