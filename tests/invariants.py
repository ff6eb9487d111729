"""What must hold after any run, whatever happened to it: I1 to I12.

Everything is read from outside, with no code of ours: the files of the run folder, the log of the
endpoint, and what the processes printed. Invariants on rate windows (I7) need a clock that can be
trusted to the millisecond; they are checked in virtual time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from weave_async.testing.scripted_endpoint import RecordedRequest

OUTPUTS = ("samples", "rejected", "failed")
KILLED = -9
_HEAD_BYTES = len("0000003f 9f1c0a2e ")
_NEVER_PRINTED = re.compile(
    r"Traceback \(most recent|never retrieved|was never awaited|was destroyed|Exception ignored"
    r"|Fatal Python error|ResourceWarning"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """One process that worked on the run, and its part of the endpoint's log."""

    pid: int
    exit_code: int
    out: str
    err: str
    elapsed_s: float
    asked: tuple[str, ...]
    """Prompts, in the order in which they arrived."""
    known_before: frozenset[str]
    """Ids of the requests whose answers the journal held when the process started."""

    @property
    def summary(self) -> dict[str, Any]:
        """What ``--json`` printed."""
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded


def check_run(
    folder: Path,
    processes: Sequence[Ended],
    *,
    canary: str,
    num_received: int | None = None,
    budget_tokens: int | None = None,
    asks_alike: bool = True,
) -> None:
    """Raise ``AssertionError`` for the first invariant that does not hold.

    ``num_received`` counts what the endpoint got from these processes, where that is known.
    ``asks_alike``: all processes asked the same of the endpoint, so nothing is bought again.
    """
    check_what_was_printed(processes, canary)
    check_nobody_is_left(processes)
    if folder.is_dir():
        check_secret_is_in_no_file(folder, canary)
        check_rows(folder, last_exit_code=processes[-1].exit_code)
        if asks_alike:
            check_nothing_known_was_asked(folder, processes)
        if num_received is not None:
            check_calls(folder, num_received, processes)
    if budget_tokens is not None:
        spent = sum(
            answer["usage_tokens"]
            for of in ("journal", "consultations")
            for answer in answers(folder, of=of)
        )
        assert spent <= budget_tokens, f"I8: {spent} tokens spent of {budget_tokens}"


def check_what_was_printed(processes: Sequence[Ended], canary: str) -> None:
    for process in processes:
        printed = process.out + process.err
        assert canary not in printed, "I10: the API key was printed"
        unwanted = _NEVER_PRINTED.search(printed)
        assert not unwanted, f"I12: {unwanted and unwanted[0]!r} in\n{printed[-3000:]}"


def check_nobody_is_left(processes: Sequence[Ended]) -> None:
    """Each process had a session of its own, so that its children can be told."""
    for process in processes:
        if process.pid == os.getpid():
            continue
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            continue
        raise AssertionError(f"I9: pid {process.pid} has left a child behind")


def check_secret_is_in_no_file(folder: Path, canary: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert canary.encode() not in path.read_bytes(), f"I10: the API key is in {path}"


def check_rows(folder: Path, *, last_exit_code: int) -> None:
    """I1, I2, I3, I4 and I9: each sample ended once, and the files agree with the manifest."""
    rows = {name: read_rows(folder / f"{name}.jsonl") for name in OUTPUTS}
    ids = Counter(sample_id(row) for name in OUTPUTS for row in rows[name])
    of_a_kill = last_exit_code == KILLED  # between two renames, outputs are of two runs
    twice = [id for id, count in ids.items() if count > 1]
    assert of_a_kill or not twice, f"I1/I3: ended twice: {twice[:5]}"
    answered = {answer["request_id"] for answer in answers(folder)}
    for name in ("samples", "rejected"):
        for row in rows[name]:
            assert row["lineage"]["request_id"] in answered, f"I4: no answer for {sample_id(row)}"
    manifest_path = folder / "manifest.json"
    if of_a_kill or not manifest_path.exists():
        return
    manifest = json.loads(manifest_path.read_bytes())
    counts = {"written": "samples", "rejected": "rejected", "failed": "failed"}
    for count, name in counts.items():
        content = (folder / f"{name}.jsonl").read_bytes()
        listed = manifest["files"][f"{name}.jsonl"]
        assert len(rows[name]) == manifest[count] == listed["rows"], f"I2: {name}: {manifest}"
        assert hashlib.sha256(content).hexdigest() == listed["sha256"], f"I2: {name}"
    ended = sum(manifest[count] for count in counts)
    assert ended + manifest["pending"] == manifest["asked"], f"I1: {manifest}"
    if manifest["status"] == "complete" and last_exit_code == 0:
        assert not list(folder.rglob("*.part")), "I9: a *.part is left"


def check_nothing_known_was_asked(folder: Path, processes: Sequence[Ended]) -> None:
    """I6: no process asked for what the journal held when it started.

    The log goes by prompts: of one with several completions, all must have been known.
    """
    prompts = prompts_by_request_id(folder)
    for process in processes:
        unknown = {prompt for id, prompt in prompts.items() if id not in process.known_before}
        known = {prompts[id] for id in process.known_before if id in prompts} - unknown
        again = known.intersection(process.asked)
        assert not again, f"I6: bought again: {sorted(again)[:5]}"


def check_calls(folder: Path, num_received: int, processes: Sequence[Ended]) -> None:
    """I5: the journal names every call that reached the endpoint.

    A call that found no connection may have arrived or not. A process that was killed may have died
    between the note and the call, or the other way round: by no more than it had in flight, which
    is at most all that it asked. Format 1 has no notes.
    """
    if not any(frame.get("format_version", 1) > 1 for frame in frames(folder)):
        return
    num_sent = num_unconnected = 0
    for frame in [*frames(folder), *frames(folder, of="consultations")]:
        if frame["kind"] == "sent":
            num_sent += len(frame["calls"])
        elif frame["kind"] == "missed":
            num_unconnected += frame["failure"]["error"] in ("connect", "unsent")
    slack = sum(len(process.asked) for process in processes if process.exit_code not in (0, 1))
    few, many = num_sent - num_unconnected - slack, num_sent + slack
    assert few <= num_received <= many, f"I5: {num_sent} noted, {num_received} received"


# --- reading the folder, without the code that wrote it ------------------------------------------


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an output, none if it is not there."""
    if not path.exists():
        return []
    return [orjson.loads(line) for line in path.read_bytes().split(b"\n") if line]


def sample_id(row: dict[str, Any]) -> str:
    return str(row["sample_id"])


def prompt_of(row: dict[str, Any]) -> str:
    """What the endpoint was asked for this row: its log goes by that."""
    return next(str(m["content"]) for m in row["messages"] if m["role"] == "user")


def prompts_by_request_id(folder: Path) -> dict[str, str]:
    rows = [row for name in OUTPUTS for row in read_rows(folder / f"{name}.jsonl")]
    return {row["lineage"]["request_id"]: prompt_of(row) for row in rows}


def answers(folder: Path, *, of: str = "journal") -> list[dict[str, Any]]:
    """The journal's answers: ``request_id``, ``sample_id``, ``usage_tokens``."""
    return [
        {
            "request_id": frame["request_id"],
            "sample_id": frame["sample_id"],
            "usage_tokens": sum(count or 0 for count in frame["response"]["usage"].values()),
        }
        for frame in frames(folder, of=of)
        if frame["kind"] == "answer"
    ]


def frames(folder: Path, *, of: str = "journal") -> Iterator[dict[str, Any]]:
    """All whole frames of a journal: the samples', or that of ``consultations``. A torn one may end
    a segment.
    """
    for path in sorted(folder.glob(f"{of}/*.log")) + sorted(folder.glob(f"{of}/*.new")):
        yield from _frames_in(path.read_bytes())


def _frames_in(blob: bytes) -> Iterator[dict[str, Any]]:
    at = 0
    while len(head := blob[at : at + _HEAD_BYTES]) == _HEAD_BYTES and head[8:9] == b" ":
        length, crc = int(head[:8], 16), int(head[9:17], 16)
        end = at + _HEAD_BYTES + length
        body = blob[at + _HEAD_BYTES : end]
        if blob[end : end + 1] != b"\n":
            return
        assert crc32(body) == crc, f"a frame at byte {at} is damaged"
        yield orjson.loads(body)
        at = end + 1


def completions(requests: Sequence[RecordedRequest]) -> list[RecordedRequest]:
    """The requests that would be billed."""
    return [request for request in requests if request.path.endswith("/completions")]


def prompt_in(request: RecordedRequest) -> str:
    return str(request.body["messages"][-1]["content"])
