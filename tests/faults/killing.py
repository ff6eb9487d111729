"""``python killing.py FOLDER TEMPLATE ARGUMENT…``: die at each step that a run takes on the disk.

A step is a call of ``os`` that opens, syncs, renames or removes something in the run folder. For
every n, a child of this process works in ``FOLDER/n``, a copy of ``TEMPLATE`` (or nothing, where
that does not exist), and kills itself instead of taking step n. The last child gets through.
Prints the number of steps. Forking spares the imports: a child takes a tenth of a start.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from providers import openai_compatible
from providers.transport import reqwest
from weave_async.cli import loop, progress, run
from weave_async.cli.main import main
from weave_async.sinks import jsonl as jsonl_sink
from weave_async.sources import jsonl as jsonl_source

STEPS = ("open", "fsync", "fdatasync", "replace", "rename", "unlink", "truncate", "ftruncate")
IMPORTED = (openai_compatible, reqwest, loop, progress, run, jsonl_sink, jsonl_source)
"""Before the fork, not in every child."""


def die_at(step: int, folder: Path) -> None:
    """From now on, count the steps in ``folder``, and do not take this one."""
    taken = 0

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(target: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal taken
            path = os.readlink(f"/proc/self/fd/{target}") if type(target) is int else str(target)
            if Path(path).is_relative_to(folder):
                taken += 1
                if taken == step:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(target, *arguments, **options)

        return counted

    for name in STEPS:
        setattr(os, name, deadly(getattr(os, name)))


def run_until(step: int, folder: Path, arguments: list[str]) -> int:
    """The exit code of a child that dies at that step."""
    pid = os.fork()
    if pid == 0:
        output = os.open(folder.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["weave-async", "run", *arguments, "-o", str(folder)]
        die_at(step, folder)
        try:
            main()
        except SystemExit as exited:
            sys.stdout.flush()
            os._exit(exited.code if isinstance(exited.code, int) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at_every_step(folders: Path, template: Path, arguments: list[str]) -> int:
    """How many steps there are; their folders are left as the deaths left them."""
    step, exit_code = 0, -signal.SIGKILL
    while exit_code == -signal.SIGKILL:
        step += 1
        folder = folders / str(step)
        if template.exists():
            shutil.copytree(template, folder)
        exit_code = run_until(step, folder, arguments)
    assert exit_code == 0, folder.with_suffix(".txt").read_text()
    return step - 1


if __name__ == "__main__":
    print(kill_at_every_step(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
