"""Both ends of the pipe to a stack that generates inside its own process.

The child says on its first line that it is ready and in which precision; then each line asks for a
set of answers, and one line answers. Standard library only: the child may be another Python's.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from local_generation.load import Answered, Load, as_document
from local_generation.process_group import ProcessGroup, StackFailed

Generate = Callable[[Load], Answered]
HERE = Path(__file__).parent


class InProcess:
    """A child that runs ``answer_sets``. Starting waits until it is ready."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        timeout_s: float,
    ) -> None:
        paths = [str(HERE.parent), environment.get("PYTHONPATH", "")]
        modules = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self.group = ProcessGroup(command, folder, {**environment, **modules}, has_pipes=True)
        self._timeout_s = timeout_s
        try:
            self.precision = str(self._read()["precision"])
            self.start_s = time.monotonic() - self.group.started_s
        except BaseException:
            self.group.end()
            raise

    def answer(self, load: Load) -> Answered:
        pipe = self.group.process.stdin
        assert pipe is not None
        with suppress(BrokenPipeError):  # it has ended, and reading tells why
            pipe.write(json.dumps(as_document(load)).encode() + b"\n")
            pipe.flush()
        return Answered(**self._read())

    def _read(self) -> dict[str, object]:
        pipe = self.group.process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], self._timeout_s)
        if not ready:
            raise StackFailed(f"no answer within {self._timeout_s:.0f} s")
        line = pipe.readline()
        if not line:
            self.group.process.wait()
            self.group.require_alive()
        document: dict[str, object] = json.loads(line)
        return document


def answer_sets(precision: str, generate: Generate) -> None:
    """The child's life, once its model is loaded; ends with the parent's end of the pipe."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print where they like
    lines.write(json.dumps({"precision": precision}) + "\n")
    for line in sys.stdin:
        lines.write(json.dumps(asdict(generate(Load(**json.loads(line))))) + "\n")
