"""``decisions.jsonl``: what was decided for each round, and on what evidence.

A decision is durable before the first request that follows it goes out. So a run that goes on after
a crash asks what it would have asked, and whoever reads the run later can draw its prompts again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import RunFolderError
from weave_async.rundir import open_private, open_regular, storage_errors, sync_folder

VERSION = 1


@dataclass(frozen=True, slots=True)
class Decision:
    """The weights of one round, by dimension, in the order of its arms.

    ``evidence`` is what they rest on, for people: it is not read again.
    """

    round: int
    first_ordinal: int
    weights: Mapping[str, Sequence[float]]
    evidence: Mapping[str, Any] = field(default_factory=dict)


class DecisionLog:
    """The decisions of one run folder. ``shape`` is what they depend on: rounds and arms.

    Those of another shape are no decisions about this run, and count as none: they are replaced
    with the first that is made.
    """

    def __init__(self, path: Path, shape: Mapping[str, Any]) -> None:
        """Reads what is there. Raises ``RunFolderError`` where it is damaged, or of another
        version.
        """
        self._path = path
        self._opening = orjson.loads(
            orjson.dumps({"kind": "open", "version": VERSION, "shape": shape})
        )
        self._is_begun = False
        opening, decisions = read(path)
        self.decisions = decisions if opening == self._opening else []

    def __repr__(self) -> str:
        return f"<DecisionLog {len(self.decisions)} in {self._path}>"

    def append(self, decision: Decision) -> None:
        """Return once it is durable. Raises ``StorageError`` where it cannot be."""
        self.decisions.append(decision)
        with storage_errors(self._path):
            if self._is_begun and self._path.exists():  # else all that we know is written again
                self._append(_line_of(decision))
            else:
                self._begin()

    def _begin(self) -> None:
        """Write all anew: the file may end in a torn line, or be of another shape."""
        part = self._path.with_name(self._path.name + ".part")
        with open_private(part) as file:
            file.write(orjson.dumps(self._opening) + b"\n")
            file.writelines(map(_line_of, self.decisions))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._path)
        sync_folder(self._path.parent)
        self._is_begun = True

    def _append(self, line: bytes) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            left = memoryview(line)
            while left:  # a disk that is nearly full takes a part, and says so by its length
                left = left[os.write(fd, left) :]
            os.fsync(fd)
        finally:
            os.close(fd)


def read(path: Path) -> tuple[dict[str, Any] | None, list[Decision]]:
    """What a file opens with, ``None`` where there is nothing yet, and its decisions in order.

    Raises ``RunFolderError`` where it is damaged, or of another version.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except FileNotFoundError:
        return None, []
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
    whole = content[: content.rfind(b"\n") + 1]  # a torn line is of a round that never began
    if not whole:
        return None, []
    first, *lines = whole.splitlines()
    try:
        opening = orjson.loads(first)
        version, shape = opening["version"], opening["shape"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, 1, error) from error
    if version != VERSION:
        raise RunFolderError(
            f"{path} is of version {version}, and this weave-async reads version {VERSION}: go on "
            "with the one that wrote it, or choose another folder with -o"
        )
    decisions: list[Decision] = []
    for number, line in enumerate(lines, 2):
        try:
            decisions.append(_decision_in(orjson.loads(line), shape, decisions))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _damaged(path, number, error) from error
    return opening, decisions


def digest_of(decisions: Sequence[Decision]) -> dict[str, Any]:
    """By which a manifest knows them again."""
    digest = sha256()
    for decision in decisions:
        digest.update(_line_of(decision))
    return {"rounds": len(decisions), "sha256": digest.hexdigest()}


def _decision_in(
    entry: Mapping[str, Any], shape: Mapping[str, Any], before: Sequence[Decision]
) -> Decision:
    """Raises what a damaged entry leads to."""
    decision = Decision(entry["round"], entry["first_ordinal"], entry["weights"], entry["evidence"])
    for name, num_arms in shape["dimensions"].items():
        weights = decision.weights[name]
        if len(weights) != num_arms or min(weights) < 0 or not 0 < sum(weights) < math.inf:
            raise ValueError(f"weights of {name}: {weights}")
    if decision.round != 1 + shape["lag"] + len(before):
        raise ValueError(f"round {decision.round} stands where another should")
    return decision


def _damaged(path: Path, number: int, error: Exception) -> RunFolderError:
    return RunFolderError(
        f"{path}:{number} is damaged ({error!r}), and without it nobody knows what was asked from "
        "there on: restore it from a copy, or choose another folder with -o"
    )


def _line_of(decision: Decision) -> bytes:
    entry = {"kind": "decision", **asdict(decision)}
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
