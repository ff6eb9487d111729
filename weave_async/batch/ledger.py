"""How far each batch of a run has got, a line per step, on the disk before the next step is taken.

::

    written ─▶ uploaded ─▶ creating ─▶ created ─▶ ended ─▶ downloaded ─▶ collected
       └──────────┴──▶ dropped

``creating`` stands before the request that costs: whoever finds it without ``created`` looks the
batch up at the provider before creating another.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import RunFolderError
from weave_async.flow.budget import Cost
from weave_async.rundir import ledger_of, storage_errors, sync_folder

_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600


@dataclass(slots=True)
class BatchRecord:
    """What is known of one batch. ``tokens`` and ``usd`` are what it can cost at worst.

    ``asks`` is the digest of all that shapes the run's requests; ``written_at`` is wall-clock time.
    """

    number: int
    endpoint: str
    num_requests: int
    digest: str
    tokens: int
    usd: float
    asks: str
    written_at: float
    file_id: str | None = None
    batch_id: str | None = None
    status: str | None = None
    step: str = "written"

    @property
    def worst_cost(self) -> Cost:
        return Cost(self.tokens, self.usd)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.step in ("collected", "dropped")

    @property
    def may_exist(self) -> bool:
        """Whether the provider may have been told to answer it."""
        return self.step not in ("written", "uploaded", "dropped")

    def __str__(self) -> str:
        return self.batch_id or f"number {self.number}"


_FACTS = frozenset(field.name for field in fields(BatchRecord))


class Ledger:
    """The batches of one run folder. ``run_id`` names the run to the provider."""

    def __init__(self, folder: Path) -> None:
        self._path = ledger_of(folder)
        self.records: dict[int, BatchRecord] = {}
        self.run_id = ""
        if self._path.exists():
            self._read()

    def __repr__(self) -> str:
        return f"<Ledger {len(self.records)} batches, {len(self.unfinished())} unfinished>"

    def unfinished(self) -> list[BatchRecord]:
        return [record for record in self.records.values() if not record.is_over]

    @property
    def last_number(self) -> int:
        return max(self.records, default=0)

    def begin(self) -> None:
        """Make the folder, and give the run its name, unless it has one."""
        with storage_errors(self._path):
            self._path.parent.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        if not self.run_id:
            self._append({"step": "begun", "run_id": secrets.token_hex(8)})
            sync_folder(self._path.parent)

    def note_written(self, **facts: Any) -> BatchRecord:
        """A file of requests is on the disk."""
        number = facts["number"]
        self._append({"step": "written", "written_at": time.time(), **facts})
        return self.records[number]

    def note(self, record: BatchRecord, step: str, **facts: Any) -> None:
        """This batch has come so far. Returns when that is durable."""
        self._append({"step": step, "number": record.number, **facts})

    def _append(self, entry: dict[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with storage_errors(self._path):
            fd = os.open(self._path, flags, _PRIVATE_FILE)
            try:
                os.write(fd, orjson.dumps(entry) + b"\n")
                os.fsync(fd)
            finally:
                os.close(fd)
        self._apply(entry)

    def _read(self) -> None:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise RunFolderError(f"cannot read {self._path}: {error.strerror}") from error
        whole = content[: content.rfind(b"\n") + 1]
        for line_number, line in enumerate(whole.splitlines(), 1):
            try:
                self._apply(orjson.loads(line))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise RunFolderError(
                    f"{self._path}:{line_number} is damaged ({error!r}): without it, what was "
                    "bought there would be bought again. Restore it from a copy"
                ) from error
        if len(whole) < len(content):  # as after a crash; the next line must not hang on to it
            with storage_errors(self._path):
                os.truncate(self._path, len(whole))

    def _apply(self, entry: dict[str, Any]) -> None:
        if entry["step"] == "begun":
            self.run_id = entry["run_id"]
            return
        known = {name: value for name, value in entry.items() if name in _FACTS}
        if entry["step"] == "written":
            self.records[entry["number"]] = BatchRecord(**known)
            return
        record = self.records[entry["number"]]
        for name, value in known.items():
            setattr(record, name, value)
