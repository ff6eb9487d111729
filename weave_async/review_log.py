"""``review.jsonl``: what people have decided on the rows of a run, a line per decision.

::

    {"at": "2026-11-23T08:30:00.123Z", "reviewer": "ana", "sample_id": "3d3b12d57f6e3a85-0",
     "decision": "reject", "reason": "off topic", "edited": null, "text_sha256": "…",
     "stratum": "written: others"}

Lines are only ever added. ``decision`` is accept, reject, skip, or undo, which takes back the last
line of that reviewer that has not been taken back; an undo says nothing else. ``edited`` is the
completion as a person would have it, with accept. ``text_sha256`` is of the row's turns as they
stood: one whose text has changed since was not reviewed; what rules say of it may change. Files of
several people can be joined by ``cat``.
"""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast

import orjson

from weave_async.errors import InputError, RunLockedError
from weave_async.rundir import open_regular, storage_errors, sync_folder

Decision = Literal["accept", "reject", "skip"]
DECISIONS: tuple[Decision, ...] = ("accept", "reject", "skip")
_UNDO = "undo"
_PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class HumanVerdict:
    """One person's decision on one row. ``at`` is UTC, in ISO 8601."""

    at: str
    reviewer: str
    sample_id: str
    decision: Decision
    reason: str | None
    edited: str | None
    text_sha256: str
    stratum: str


class ReviewLog:
    """The decisions so far. ``standing`` are those that were not taken back: of each reviewer on
    each sample, the latest.
    """

    def __init__(self) -> None:
        self.standing: dict[tuple[str, str], HumanVerdict] = {}
        self._history: dict[str, list[HumanVerdict]] = defaultdict(list)
        self._reviewers_of: dict[str, list[str]] = defaultdict(list)

    def __repr__(self) -> str:
        return f"<ReviewLog {len(self.standing)} verdicts of {len(self.reviewers)}>"

    @classmethod
    def read(cls, path: Path) -> ReviewLog:
        """Empty where there is no file yet; a torn last line was never acknowledged to anybody.

        Raises ``InputError`` that names the line which is none of ours.
        """
        log = cls()
        try:
            with open_regular(path) as lines:
                for number, line in enumerate(lines, 1):
                    if not line.endswith(b"\n"):
                        break
                    log._take_in(line, f"{path}:{number}")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        return log

    @property
    def reviewers(self) -> Collection[str]:
        return sorted({reviewer for reviewer, _ in self.standing})

    def of(self, sample_id: str) -> list[HumanVerdict]:
        """What stands of it, a verdict per reviewer."""
        reviewers = self._reviewers_of.get(sample_id, ())
        found = (self.standing.get((reviewer, sample_id)) for reviewer in reviewers)
        return [verdict for verdict in found if verdict is not None]

    def latest_of(self, reviewer: str) -> Iterator[HumanVerdict]:
        """What that person has decided, the last first: what an undo would take back."""
        return reversed(self._history.get(reviewer, []))

    def _take_in(self, line: bytes, where: str) -> None:
        try:
            entry = orjson.loads(line)
            if entry["decision"] == _UNDO:
                self.undo(_text(entry, "reviewer"))
            else:
                self.add(_verdict_in(entry))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{where} is no review: {error}; take the line out, or bring the file back"
            ) from error

    def add(self, verdict: HumanVerdict) -> None:
        key = (verdict.reviewer, verdict.sample_id)
        self.standing[key] = verdict
        self._history[verdict.reviewer].append(verdict)
        reviewers = self._reviewers_of[verdict.sample_id]
        if verdict.reviewer not in reviewers:
            reviewers.append(verdict.reviewer)

    def undo(self, reviewer: str) -> HumanVerdict | None:
        """Take back that person's last decision; what they had said of the row before stands
        again. ``None`` where there is nothing to take back.
        """
        history = self._history.get(reviewer)
        if not history:
            return None
        undone = history.pop()
        key = (reviewer, undone.sample_id)
        before = (each for each in reversed(history) if each.sample_id == undone.sample_id)
        if (earlier := next(before, None)) is not None:
            self.standing[key] = earlier
        else:
            del self.standing[key]
        return undone


class ReviewWriter:
    """Adds to ``review.jsonl``. Use with ``with``: as long as it lasts, nobody else adds.

    ``log`` is what the file says. Raises ``RunLockedError`` where another process writes it,
    ``StorageError`` where the disk refuses: the decision is then neither in the file nor in the
    log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with storage_errors(path):
            self._fd = os.open(path, flags, _PRIVATE_FILE)
        try:
            self._lock()
            self.log = ReviewLog.read(path)
            self._end = self._cut_torn_line()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> ReviewWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def record(self, verdict: HumanVerdict) -> None:
        """Return once it is durable."""
        self._append(asdict(verdict))
        self.log.add(verdict)

    def undo(self, reviewer: str) -> HumanVerdict | None:
        """As ``ReviewLog.undo``; returns once it is durable."""
        if next(self.log.latest_of(reviewer), None) is None:
            return None
        self._append({"at": now(), "reviewer": reviewer, "decision": _UNDO})
        return self.log.undo(reviewer)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLockedError(
                f"{self._path} is being written by another `weave-async review`: use its page, "
                "with --reviewer once for each person, or stop it first"
            ) from None

    def _cut_torn_line(self) -> int:
        """Where the next line begins."""
        with storage_errors(self._path):
            content = self._path.read_bytes()
            end = content.rfind(b"\n") + 1
            os.ftruncate(self._fd, end)
            sync_folder(self._path.parent)
        return end

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = orjson.dumps(entry) + b"\n"
        with storage_errors(self._path):
            try:
                left = memoryview(line)
                while left:
                    left = left[os.write(self._fd, left) :]
                os.fsync(self._fd)
            except OSError:
                os.ftruncate(self._fd, self._end)  # half a line would swallow the next one
                raise
        self._end += len(line)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _verdict_in(entry: Mapping[str, Any]) -> HumanVerdict:
    decision = entry["decision"]
    if decision not in DECISIONS:
        raise ValueError(f"decision {decision!r} is none of {', '.join(DECISIONS)}, {_UNDO}")
    texts = {name: _text(entry, name) for name in ("at", "reviewer", "sample_id", "text_sha256")}
    for name in ("reason", "edited"):
        if not isinstance(entry[name], str | None):
            raise TypeError(f"{name} is no text")
    return HumanVerdict(
        **texts,
        decision=cast("Decision", decision),
        reason=entry["reason"],
        edited=entry["edited"],
        stratum=_text(entry, "stratum"),
    )


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value
