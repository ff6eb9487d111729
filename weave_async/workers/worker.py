"""The process in which stages run: rows in, what became of each out, until its pool is gone.

Whatever a stage does, it does here: it may hang, crash, or eat memory without harm to the run. The
pipe to the pool is out of the way of code that prints, or closes the standard descriptors.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from itertools import islice
from operator import is_not
from typing import Any, Literal, Protocol

from weave_async import wire
from weave_async.errors import WeaveError
from weave_async.records import Rejection, Sample
from weave_async.workers.connection import PoolConnection, ToPool
from weave_async.workers.precautions import end_with, limit_memory, moved_up
from weave_async.workers.progress import Phase, ProgressPage

EXIT_OUT_OF_MEMORY = 87
MOST_COPIES = 1_000
MOST_RESULT_BYTES = 16 << 20
RAISED, TOO_LARGE = "raised", "too_large_result"
_FLUSH_BYTES = 64 << 10
_FLUSH_AFTER_S = 0.02


class SampleStage(Protocol):
    """A stage that asks nobody, and needs to know of one sample only."""

    @property
    def kind(self) -> Literal["noise", "validation"]: ...

    @property
    def name(self) -> str: ...

    def apply(self, sample: Sample) -> Sequence[Sample]:
        """The sample, varied or judged, and copies of it behind it.

        A rejection is no exception: it is a sample with ``rejection``. ``MemoryError`` is to be let
        through, since it may be the fault of rows before.
        """


def main(pool_fd: int, page_fd: int, parent_pid: int) -> None:
    """Serve the pool at the other end of ``pool_fd``."""
    sys.argv = ["weave_async.workers.worker"]
    end_with(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pool's process to handle
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    faulthandler.enable(moved_up(os.dup(2)), all_threads=False)
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    worker = Worker(PoolConnection(moved_up(pool_fd)), ProgressPage(moved_up(page_fd)))
    try:
        worker.serve()
    except (EOFError, ConnectionError):
        os._exit(0)  # the pool has gone; threads of a stage's must not keep us


class Worker:
    """Takes frames of rows off its socket, one after the other."""

    def __init__(self, pool: PoolConnection, page: ProgressPage) -> None:
        self._pool = pool
        self._page = page
        self._stages: Sequence[SampleStage] = ()
        self._called: set[int] = set()
        self._memory_bytes = 0
        self._stage = 0  # at work now, or last
        self._since_s: float | None = None  # when it was called, while it is at work
        self._counts = _no_counts()
        self._passed = Counter[int]()  # samples of this frame, by stage
        self._loading_s: dict[int, float] = {}
        os.register_at_fork(after_in_child=self._be_a_fork)

    def serve(self) -> None:
        setup, _ = self._pool.receive()
        logging.getLogger().addHandler(ToPool(self._pool, self._at))
        try:
            self._stages = _built(setup["build"], setup["spec"])
        except Exception as error:  # whatever the builder of somebody's parts raises
            said = str(error) if isinstance(error, WeaveError) else _said(error)
            self._pool.send({"failed": said})
            return
        self._memory_bytes = setup["memory_bytes"]
        limit_memory(self._memory_bytes)
        self._pool.send({"stages": [[stage.kind, stage.name] for stage in self._stages]})
        while True:
            header, lines = self._pool.receive()
            self._work(header, lines)

    def _work(self, header: dict[str, Any], lines: Sequence[bytes]) -> None:
        """Rows in order; what is known of some goes out while others are still to be done."""
        stages = range(*header["stages"])
        first, num_bytes = 0, 0
        results: list[bytes] = []
        self._passed.clear()
        since = time.monotonic(), time.process_time()
        for row, line in enumerate(lines):
            self._stage = stages.start
            self._leave(row)
            try:
                result = self._outcome(row, line, stages, header["schemas"])
            except MemoryError:
                result = None  # only past this block is what the stage has taken let go
            now_s = self._leave(row)
            if result is None:
                self._send_results(first, results, since, is_last=False)
                os._exit(EXIT_OUT_OF_MEMORY)
            results.append(result)
            num_bytes += len(result)
            if num_bytes > _FLUSH_BYTES or now_s - since[0] > _FLUSH_AFTER_S:
                self._send_results(first, results, since, is_last=False)
                first, results, num_bytes = row + 1, [], 0
                since = time.monotonic(), time.process_time()
        self._send_results(first, results, since, is_last=True)

    def _outcome(self, row: int, line: bytes, stages: range, schemas: Sequence[Any]) -> bytes:
        sample = wire.sample_in(line, schemas)
        outputs, last = [sample], stages.start
        for number in stages:
            made = [each for output in outputs for each in self._apply(row, number, output)]
            if len(made) > MOST_COPIES:
                evidence = {"samples": len(made), "most": MOST_COPIES}
                made = [self._rejected(sample, number, TOO_LARGE, evidence)]
            if len(made) != len(outputs) or any(map(is_not, made, outputs)):
                last = number
            outputs = made
        try:
            result = wire.outcome_line(sample, outputs)
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            rejected = self._rejected(sample, last, RAISED, {"error": _said(error)})
            return wire.outcome_line(sample, [rejected])
        if len(result) > MOST_RESULT_BYTES:
            evidence = {"bytes": len(result), "most": MOST_RESULT_BYTES}
            rejected = self._rejected(sample, last, TOO_LARGE, evidence)
            return wire.outcome_line(sample, [rejected])
        return result

    def _apply(self, row: int, number: int, sample: Sample) -> Sequence[Sample]:
        if (sample.rejection is not None or sample.failure is not None) and not getattr(
            self._stages[number], "explains_all", False
        ):
            return (sample,)
        self._enter(row, number)
        try:
            made = list(islice(iter(self._stages[number].apply(sample)), MOST_COPIES + 1))
            num_chars = _num_changed_chars(sample, made)
            if num_chars > MOST_RESULT_BYTES:
                evidence = {"chars": num_chars, "most": MOST_RESULT_BYTES}
                made = [self._rejected(sample, number, TOO_LARGE, evidence)]
        except MemoryError:
            raise
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: it is the row's
            made = [self._rejected(sample, number, RAISED, {"error": _said(error)})]
        if not self._pool.is_open:
            # In a fork that has come back from the stage's code, or since the stage has closed all
            # it could: end now, while this row is known for it.
            os._exit(1)
        if number not in self._called:
            self._called.add(number)
            self._loading_s[number] = self._at_work_s(time.monotonic())
            limit_memory(self._memory_bytes)
        self._counts[number][0] += 1
        self._passed[number] += 1
        return made

    def _enter(self, row: int, number: int) -> None:
        """One clock for both: what is told of progress, and what a stage has taken."""
        now_s = time.monotonic()
        self._counts[self._stage][1] += self._at_work_s(now_s)
        self._stage, self._since_s = number, now_s
        phase = Phase.WORKING if number in self._called else Phase.LOADING
        self._page.write(phase, row, number, self._passed[number], now_s)

    def _leave(self, row: int) -> float:
        now_s = time.monotonic()
        self._counts[self._stage][1] += self._at_work_s(now_s)
        self._since_s = None
        self._page.write(Phase.MOVING, row, self._stage, self._passed[self._stage], now_s)
        return now_s

    def _at_work_s(self, now_s: float) -> float:
        return 0.0 if self._since_s is None else now_s - self._since_s

    def _rejected(
        self, sample: Sample, number: int, reason: str, evidence: dict[str, Any]
    ) -> Sample:
        stage = self._stages[number]
        return replace(sample, rejection=Rejection(stage.kind, stage.name, reason, evidence))

    def _send_results(
        self, first: int, results: Sequence[bytes], since: tuple[float, float], *, is_last: bool
    ) -> None:
        """``times`` is samples, wall and CPU seconds by stage. To read the CPU's clock for each
        would cost more than some stages do: its time is shared out by wall time.
        """
        wall_s, cpu_s = time.monotonic() - since[0], time.process_time() - since[1]
        share = min(1.0, cpu_s / wall_s) if wall_s else 0.0
        times = {
            str(number): [int(num), taken_s, share * taken_s]
            for number, (num, taken_s) in self._counts.items()
        }
        loading = {str(number): taken_s for number, taken_s in self._loading_s.items()}
        self._counts, self._loading_s = _no_counts(), {}
        header = {"first": first, "is_last": is_last, "times": times, "loading_s": loading}
        self._pool.send(header, results)

    def _at(self) -> str:
        return self._stages[self._stage].name if self._stages else "building"

    def _be_a_fork(self) -> None:
        """In a process that a stage has forked: keep off what is the worker's, and end with it."""
        self._page.detach()
        self._pool.close()
        end_with(os.getppid())


def _num_changed_chars(sample: Sample, made: Sequence[Sample]) -> int:
    """In the messages of what a stage has made; raises ``TypeError`` if it may not make that."""
    num_chars = 0
    for each in made:
        if each is not sample:
            if not isinstance(each, Sample):
                raise TypeError(f"it must return samples, and returned {each!r:.100}")
            wire.require_lineage(sample, each)
            num_chars += sum(len(message.content) for message in each.messages)
    return num_chars


def _no_counts() -> defaultdict[int, list[float]]:
    """Samples and seconds, by stage."""
    return defaultdict(lambda: [0, 0.0])


def _built(build: str, spec: Any) -> Sequence[SampleStage]:
    module, _, function = build.partition(":")
    return list(getattr(import_module(module), function)(spec))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:2000].encode(errors="replace").decode()
