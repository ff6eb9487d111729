"""Bugs on purpose, each in a copy of the tree: the tests named beside it must go red.

``python tests/seeded_bugs.py [WORD…]`` tries those whose name holds one of the words, or all. A bug
that no test catches ends it with 1, and so does one that no longer fits the code: a list that is
not kept up proves nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ("weave_async", "providers", "tests", "examples", "pyproject.toml")
PATIENCE_S = 300
NOTHING_RAN = (4, 5)
"""pytest's exit codes for "no such test", which must not pass for "caught"."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A text that stands once in a file, and what is put in its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """``tests`` are arguments of pytest: any of them must fail."""

    name: str
    edits: Sequence[Edit]
    tests: str


def bug(name: str, path: str, old: str, new: str, *, tests: str) -> Bug:
    return Bug(name, [Edit(path, old, new)], tests)


BUGS = [
    bug(
        "drop the journal's sync",
        "weave_async/journal/disk.py",
        "        os.fdatasync(fd)\n",
        "        pass\n",
        tests="tests/faults/test_durability.py",
    ),
    bug(
        "skip the sync of the folder",
        "weave_async/rundir.py",
        "    try:\n        os.fsync(fd)\n    finally:\n",
        "    try:\n        pass\n    finally:\n",
        tests="tests/faults/test_durability.py",
    ),
    bug(
        "publish an output without its sync",
        "weave_async/rundir.py",
        "            os.fsync(self._file.fileno())\n",
        "",
        tests="tests/faults/test_durability.py",
    ),
    bug(
        "write the manifest before the outputs",
        "weave_async/run.py",
        "        for outputs in self._outputs.values():\n            for file in outputs:\n"
        "                files[",
        "        self.folder.write_manifest({})\n"
        "        for outputs in self._outputs.values():\n            for file in outputs:\n"
        "                files[",
        tests="tests/faults/test_durability.py",
    ),
    bug(
        "write outputs in place",
        "weave_async/rundir.py",
        '        self._part = path.with_name(path.name + ".part")\n        with storage',
        "        self._part = path\n        with storage",
        tests="tests/faults/test_steps.py -k later",
    ),
    bug(
        "acknowledge before the sync",
        "weave_async/journal/commit.py",
        "        await loop.run_in_executor(self._thread, self._writer.sync, segments)\n",
        "        loop.run_in_executor(self._thread, self._writer.sync, segments)\n",
        tests="tests/journal/test_journal.py",
    ),
    bug(
        "accept a frame whose checksum is wrong",
        "weave_async/journal/frames.py",
        '        if line[:HEAD_BYTES] != b"%08x %08x " % (len(body), crc32(body)) or',
        '        if line[:8] != b"%08x" % len(body) or',
        tests="tests/journal/test_frames.py",
    ),
    bug(
        "forget answers of the run before",
        "weave_async/run.py",
        "                places[ordinal] = RECALLED\n",
        "                places[ordinal] = RECALLED if ordinal else 0\n",
        tests="tests/faults/test_resume.py -k nothing_else",
    ),
    bug(
        "take no lock",
        "weave_async/rundir.py",
        "            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        tests="tests/faults/test_rivals.py",
    ),
    bug(
        "count a row twice",
        "weave_async/run.py",
        "        self.metrics.count_end(sample)\n",
        "        self.metrics.count_end(sample)\n        self.metrics.count_end(sample)\n",
        tests="tests/faults/test_inputs.py -k odd_input",
    ),
    bug(
        "write a row twice",
        "weave_async/run.py",
        "                file.write(_encoded(sink, sample))\n",
        "                file.write(_encoded(sink, sample) * 2)\n",
        tests="tests/faults/test_inputs.py -k odd_input",
    ),
    bug(
        "keep the key in the manifest",
        "weave_async/run.py",
        '                "name": self.recipe.name,\n',
        '                "name": os.environ.get("WEAVE_ASYNC_API_KEY"),\n',
        tests="tests/faults/test_inputs.py -k odd_input",
    ),
    bug(
        "drop what is in flight at the first signal",
        "weave_async/engine.py",
        "            if not self._is_sending(worker):\n                worker.cancel()\n",
        "            worker.cancel()\n",
        tests="tests/faults/test_signals.py -k one_signal",
    ),
    bug(
        "ask for the next row before the answer is written",
        "weave_async/dispatch.py",
        "            await asyncio.sleep(0)  # the journal writes it, and what",
        "            pass  # the journal writes it, and what",
        tests="tests/test_engine.py -k in_the_journal_before",
    ),
    bug(
        "give up what is in flight when an output's disk is full",
        "weave_async/engine.py",
        "            return error\n        return None\n",
        "            raise\n        return None\n",
        tests="tests/faults/test_disk.py -k full_disk",
    ),
    bug(
        "leak a slot on cancel",
        "weave_async/flow/admission.py",
        "            admission._lost(self)\n",
        "            admission._lost(self)\n            return\n",
        tests="tests/flow/test_admission.py",
    ),
    bug(
        "wake by amount",
        "weave_async/flow/line.py",
        "        (self._front if in_front else self._back).append((entry, turn))\n",
        "        (self._front if in_front else self._back).append((entry, turn))\n"
        "        self._back = deque(sorted(self._back, key=lambda waiting: waiting[0].tokens))\n",
        tests="tests/flow/test_admission.py",
    ),
    bug(
        "settle twice",
        "weave_async/flow/admission.py",
        "            self._budget.settle(slot.cost, slot.cost if cost is None else cost)\n",
        "            self._budget.settle(slot.cost, slot.cost if cost is None else cost)\n" * 2,
        tests="tests/flow",
    ),
    bug(
        "keep the transport's retries",
        "providers/openai_compatible.py",
        "    async def complete(self, request: Request) -> Response:\n",
        "    async def complete(self, request: Request) -> Response:\n"
        "        try:\n            return await self._complete(request)\n"
        "        except ProviderError:\n            return await self._complete(request)\n\n"
        "    async def _complete(self, request: Request) -> Response:\n",
        tests="tests/faults/test_endpoints.py -k refused_row",
    ),
    bug(
        "ignore Retry-After",
        "weave_async/blame.py",
        "        slot.throttled(error.retry_after_s)\n",
        "        slot.throttled(None)\n",
        tests="tests/test_dispatch.py",
    ),
    bug(
        "count a 429 as an attempt",
        "weave_async/blame.py",
        "            self._throttled(error, slot, tries)\n            return\n",
        "            self._throttled(error, slot, tries)\n            tries.attempts += 1\n"
        "            raise DeadlineError('429') from error\n",
        tests="tests/test_dispatch.py",
    ),
]


def seed(bug: Bug, tree: Path) -> bool:
    """Put the bug into a tree; whether it fits."""
    for edit in bug.edits:
        path = tree / edit.path
        text = path.read_text() if path.exists() else ""
        if text.count(edit.old) != 1:
            return False
        path.write_text(text.replace(edit.old, edit.new))
    return True


def verdict_on(bug: Bug, folder: Path) -> str:
    """``caught``, or what else became of it."""
    for name in TREE:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    if not seed(bug, folder):
        return "DOES NOT FIT the code any more"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *bug.tests.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode in NOTHING_RAN:
        return "NO SUCH TEST"
    return "caught" if done.returncode == 1 else f"NOT CAUGHT\n{done.stdout[-2000:]}"


def verdicts(words: Sequence[str]) -> Iterator[str]:
    for bug in BUGS:
        if words and not any(word in bug.name for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            begun_s = time.monotonic()
            verdict = verdict_on(bug, Path(folder))
        print(f"{bug.name:<45} {time.monotonic() - begun_s:5.1f} s  {verdict}", flush=True)
        yield verdict


if __name__ == "__main__":
    found = list(verdicts(sys.argv[1:]))
    sys.exit(0 if found and set(found) == {"caught"} else 1)
