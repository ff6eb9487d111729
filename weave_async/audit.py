"""Whether a run folder keeps its promises, proved from the files alone. Nothing is written.

Three passes, each with flat memory: over the journal, over the outputs, and over their bytes. What
is kept are 16 to 24 bytes a sample: which answers there are, and which samples were met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import InputError, RunFolderError
from weave_async.journal import entries, frames
from weave_async.journal.calls import Calls
from weave_async.journal.index import Index, place_of
from weave_async.journal.segments import Segment, is_damaged, list_segments
from weave_async.rundir import OUTPUTS, READ_BLOCK_BYTES, RunFolder

MAX_PROBLEMS_NAMED = 5
_ENDS = {"samples": "written", "rejected": "rejected", "failed": "failed"}
"""Output file → the count of it in the manifest."""


@dataclass(slots=True)
class Check:
    """One promise: what it says, what was counted for it, and where it is broken."""

    name: str
    counted: str = ""
    problems: list[str] = field(default_factory=list)
    num_problems: int = 0

    @property
    def passed(self) -> bool:
        return self.num_problems == 0

    def fail(self, problem: str) -> None:
        """Count a problem; the first few are named."""
        self.num_problems += 1
        if len(self.problems) < MAX_PROBLEMS_NAMED:
            self.problems.append(problem)

    def as_dict(self) -> dict[str, Any]:
        return {
            "check": self.name,
            "passed": self.passed,
            "counted": self.counted,
            "num_problems": self.num_problems,
            "problems": self.problems,
        }


@dataclass(slots=True)
class Audit:
    """What was found. ``notes`` are no damage: a crash leaves such things, the next run mends."""

    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        checks = [check.as_dict() for check in self.checks]
        return {"passed": self.passed, "checks": checks, "notes": self.notes}


def audit(path: Path) -> Audit:
    """Look at everything. Raises ``RunFolderError`` if there is no run, or a newer one, there."""
    folder = RunFolder(path)
    folder.require_run()
    found = Audit()
    journal = _JournalPass(found)
    try:
        journal.read(list_segments(folder.journal) if folder.journal.is_dir() else [])
        manifest = folder.read_manifest()
    except InputError as error:
        found.checks.append(Check("the manifest is readable", "", [str(error)], 1))
        return found
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error}") from error
    if folder.unfinished():
        names = ", ".join(part.name for part in folder.unfinished())
        found.notes.append(f"unfinished: {names}: a run is going on here, or was cut short")
    if manifest is None:
        found.notes.append("there is no manifest: no run has come to its end here")
    else:
        _OutputPass(found, folder, manifest, journal.answers).read()
    return found


class _JournalPass:
    """Every frame of the journal: is it whole, and does each call have its outcome?"""

    def __init__(self, found: Audit) -> None:
        self.answers = Index()
        self._notes = found.notes
        self._whole = Check("every frame of the journal is whole")
        self._calls_check = Check("sent = answered + missed + unknown")
        self._calls = Calls()
        self._kinds: Counter[str] = Counter()
        found.checks += [self._whole, self._calls_check]

    def read(self, segments: list[Segment]) -> None:
        for segment in segments:
            self._calls.begin_run(segment.epoch)
            self._read_segment(segment)
        self._calls.end()
        self._whole.counted = (
            f"{self._kinds.total()} frames in {len(segments)} segments, "
            f"{self._kinds['answer']} answers"
        )
        self._judge_calls()

    def _judge_calls(self) -> None:
        calls, check = self._calls, self._calls_check
        num_unknown = len(calls.unknown)
        check.counted = (
            f"{calls.num_sent} = {calls.num_answered} + {calls.num_missed} + {num_unknown}"
        )
        if calls.num_unsent:
            check.fail(f"{calls.num_unsent} outcomes are of calls that were never sent")
        if num_unknown:
            tokens = sum(call.max_cost_tokens for call in calls.unknown)
            self._notes.append(
                f"{num_unknown} calls were out when a run ended, and may have been billed: "
                f"at most {tokens} tokens"
            )

    def _read_segment(self, segment: Segment) -> None:
        with segment.open() as file:
            end = frames.end_of_last(self._counted(segment, segment.frames(file)))
            if end == segment.limit:
                return
            if is_damaged(segment, file, end):
                self._whole.fail(f"{segment.path} is damaged at byte {end}, and was whole once")
            else:
                self._notes.append(
                    f"{segment.path} ends in {segment.limit - end} torn bytes, as after a crash: "
                    "the next run cuts them off"
                )

    def _counted(
        self, segment: Segment, found: Iterator[tuple[int, bytes]]
    ) -> Iterator[tuple[int, bytes]]:
        for offset, body in found:
            ids = entries.question_in(body)
            if ids is not None:
                sample_id, attempt_id, request_id = ids.groups()
                self._count_answer(sample_id, attempt_id, request_id)
            else:
                self._count(segment, offset, body)
            yield offset, body

    def _count_answer(self, sample_id: bytes, attempt_id: bytes, request_id: bytes) -> None:
        self._kinds["answer"] += 1
        self._calls.answered(attempt_id)
        self.answers.insert(_question(sample_id, request_id), 0)

    def _count(self, segment: Segment, offset: int, body: bytes) -> None:
        try:
            entry = orjson.loads(body)
            kind = entry["kind"]
            if kind == "answer":
                ids = (entry.get(key, "") for key in ("sample_id", "attempt_id", "request_id"))
                self._count_answer(*(each.encode() for each in ids))
                return
            if kind == "sent":
                self._calls.sent(entry)
            elif kind == "missed":
                self._calls.missed(entry)
            self._kinds[kind] += 1
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._whole.fail(f"{segment.path} holds at byte {offset} no entry: {error!r}")


class _OutputPass:
    """Every row of the outputs, and the files' bytes, against the manifest and the journal."""

    def __init__(
        self, found: Audit, folder: RunFolder, manifest: Mapping[str, Any], answers: Index
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._answers = answers
        self._met = Index()
        self._num_rows: Counter[str] = Counter()
        self._files = Check("every file is the one that was published")
        self._sum = Check("written + rejected + failed + pending = asked")
        self._rows = Check("rows are as many as the manifest says")
        self._once = Check("every sample ends once")
        self._answered = Check("every written or rejected row has its answer in the journal")
        found.checks += [self._files, self._sum, self._rows, self._once, self._answered]

    def read(self) -> None:
        files = self._manifest.get("files", {})
        num_answered = 0
        for name, entry in files.items():
            if Path(name).name != name:
                self._files.fail(f"the manifest names {name}, which is not in the folder")
                continue
            num_answered += self._read_file(self._folder.path / name, entry)
        self._files.counted = f"{len(files)} files, by SHA-256"
        self._once.counted = f"{self._met.num_keys} samples"
        self._answered.counted = f"{num_answered} rows"
        self._judge_counts(files)

    def _judge_counts(self, files: Mapping[str, Any]) -> None:
        ends = [self._manifest.get(key, 0) for key in (*_ENDS.values(), "pending")]
        asked = self._manifest.get("asked", 0)
        self._sum.counted = f"{' + '.join(map(str, ends))} = {asked}"
        if sum(ends) != asked:
            self._sum.fail(f"the manifest's counts add up to {sum(ends)}, not to {asked}")
        self._rows.counted = ", ".join(f"{self._num_rows[name]} {name}" for name in OUTPUTS)
        for name in files:
            stem = name.partition(".")[0]
            said = self._manifest.get(_ENDS.get(stem, ""), None)
            if said is not None and files[name]["rows"] != said:
                self._rows.fail(f"{name}: {files[name]['rows']} rows, but {said} {_ENDS[stem]}")

    def _read_file(self, path: Path, entry: Mapping[str, Any]) -> int:
        """Returns how many of its rows must have an answer."""
        digest, num_rows, num_answered = sha256(), 0, 0
        stem = path.name.partition(".")[0]
        try:
            with path.open("rb", buffering=READ_BLOCK_BYTES) as file:
                for line in file:
                    digest.update(line)
                    num_rows += 1
                    if path.suffix == ".jsonl" and stem in OUTPUTS:
                        num_answered += self._read_row(f"{path.name}:{num_rows}", line, stem)
        except OSError as error:
            self._files.fail(f"{path.name}: {error.strerror}")
            return 0
        if digest.hexdigest() != entry["sha256"]:
            self._files.fail(f"{path.name} has changed since it was published")
        if path.suffix == ".jsonl":
            self._num_rows[stem] += num_rows
            if num_rows != entry["rows"]:
                self._rows.fail(f"{path.name}: {num_rows} rows, not {entry['rows']}")
        return num_answered

    def _read_row(self, where: str, line: bytes, stem: str) -> bool:
        try:
            row = orjson.loads(line)
            sample_id = row["sample_id"].encode()
            request_id = row["lineage"]["request_id"].encode()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._files.fail(f"{where} is no row of ours: {error!r}")
            return False
        if hash(sample_id) in self._met:
            self._once.fail(f"{where}: {row['sample_id']} has ended before")
        self._met.insert(hash(sample_id), place_of(0, 0))
        if stem == "failed":
            return False
        if _question(sample_id, request_id) not in self._answers:
            self._answered.fail(f"{where}: no answer to {row['sample_id']} is in the journal")
        return True


def _question(sample_id: bytes, request_id: bytes) -> int:
    return hash((sample_id, request_id))
