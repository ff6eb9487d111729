"""Whether a run folder keeps its promises, proved from the files alone. Nothing is written.

Three passes, each with flat memory: over the journal (and that of what stages have asked models,
where there is one), over the outputs, and over their bytes. What is kept are 16 to 24 bytes a
sample: where its answers stand, and which samples were met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weave_async.audit_outputs import EVERY_FILE, OutputPass, question
from weave_async.controller import decisions
from weave_async.errors import InputError, RunFolderError
from weave_async.findings import Audit, Check
from weave_async.journal import entries, frames
from weave_async.journal.calls import Calls
from weave_async.journal.index import Index, place_of
from weave_async.journal.segments import (
    FrameReader,
    Segment,
    is_damaged,
    list_segments,
    missing_numbers,
    path_of,
)
from weave_async.rundir import RunFolder


def audit(path: Path) -> Audit:
    """Look at everything. Raises ``RunFolderError`` if there is no run, or a newer one, there."""
    folder = RunFolder(path)
    folder.require_run()
    found = Audit()
    journal = _JournalPass(found)
    try:
        journal.read(list_segments(folder.journal) if folder.journal.is_dir() else [])
        if folder.consultations.is_dir():
            _JournalPass(found, of=" of the consultations").read(
                list_segments(folder.consultations)
            )
        manifest = folder.read_manifest()
        is_last = manifest is not None and manifest.get("epoch", 0) >= journal.last_epoch
        told = manifest.get("decisions") if manifest is not None and is_last else None
        if folder.decisions.exists() or told is not None:
            found.checks.append(_decisions_check(folder.decisions, told))
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
        lost = folder.lost_outputs()
        found.checks.append(
            Check(EVERY_FILE, "", [f"{name} is missing" for name in lost], len(lost))
        )
        return found
    reader = FrameReader(folder.journal)
    try:
        OutputPass(folder, manifest, journal.answers, reader).read(found, journal.last_epoch)
    finally:
        reader.close()
    return found


def _decisions_check(path: Path, told: Mapping[str, Any] | None) -> Check:
    """What a controller has decided: without it, nobody can draw the run's prompts again. ``told``
    is what the manifest says of it, where no later run has been here.
    """
    check = Check("every decision of the controller is whole")
    try:
        _, found = decisions.read(path)
    except RunFolderError as error:
        check.fail(str(error))
    else:
        check.counted = f"{len(found)} rounds decided"
        if told is not None and decisions.digest_of(found) != told:
            check.fail(f"{path} is not what the manifest knows: {told['rounds']} rounds decided")
    return check


class _JournalPass:
    """Every frame of the journal: is it whole, and does each call have its outcome?"""

    def __init__(self, found: Audit, of: str = "") -> None:
        self.answers = Index()
        self.last_epoch = 0
        self._notes = found.notes
        self._whole = Check(f"every frame of the journal{of} is whole")
        self._calls_check = Check(f"sent = answered + missed + unknown{of and ',' + of}")
        self._calls = Calls()
        self._kinds: Counter[str] = Counter()
        found.checks += [self._whole, self._calls_check]

    def read(self, segments: list[Segment]) -> None:
        for segment in segments:
            self._calls.begin_run(segment.epoch)
            self._read_segment(segment)
            self.last_epoch = max(self.last_epoch, segment.epoch)
        self._calls.end()
        for number in missing_numbers(segments):
            self._whole.fail(f"{path_of(segments[0].path.parent, number)} is missing")
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
                self._count_answer(segment, offset, sample_id, attempt_id, request_id)
            else:
                self._count(segment, offset, body)
            yield offset, body

    def _count_answer(
        self, segment: Segment, offset: int, sample_id: bytes, attempt_id: bytes, request_id: bytes
    ) -> None:
        self._kinds["answer"] += 1
        self._calls.answered(attempt_id, request_id)
        self.answers.insert(question(sample_id, request_id), place_of(segment.number, offset))

    def _count(self, segment: Segment, offset: int, body: bytes) -> None:
        try:
            entry = entries.parse(body)
        except ValueError as error:
            self._whole.fail(f"{segment.path} holds at byte {offset} no entry of ours: {error}")
            return
        kind = entry["kind"]
        if kind == "answer":
            ids = (entry.get(key, "") for key in ("sample_id", "attempt_id", "request_id"))
            self._count_answer(segment, offset, *(each.encode() for each in ids))
            return
        if kind == "sent":
            self._calls.sent(entry)
        elif kind == "missed":
            self._calls.missed(entry)
        self._kinds[kind] += 1
