"""What earlier runs left: torn tails are cut off, damage is refused, answers are indexed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weave_async.errors import RunFolderError
from weave_async.journal import entries, frames
from weave_async.journal.calls import Calls
from weave_async.journal.index import Index, key_of, place_of
from weave_async.journal.segments import (
    Segment,
    is_damaged,
    list_segments,
    missing_numbers,
    not_ours,
    path_of,
)
from weave_async.rundir import READ_BLOCK_BYTES, sync_folder

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """The journal as the next run finds it."""

    index: Index = field(default_factory=Index)
    calls: Calls = field(default_factory=Calls)
    openings: list[dict[str, Any]] = field(default_factory=list)
    """Those that differ in what is asked, of whom, or in their format; the last stands last."""
    last_epoch: int = 0
    last_number: int = 0

    def is_known(self, opening: Mapping[str, Any]) -> bool:
        """Whether the last opening says the same."""
        last = self.openings[-1] if self.openings else {}
        return all(
            opening.get(key) == last.get(key) for key in ("asks", "endpoints", "format_version")
        )


def recover(folder: Path) -> Recovered:
    """Mend what a crash leaves, and index every answer. Raises ``RunFolderError`` on damage."""
    segments = list_segments(folder)
    for number in missing_numbers(segments):
        raise RunFolderError(
            f"{path_of(folder, number)} is missing, and the answers in it would be bought again: "
            "restore it from a copy, or move the other segments away to start anew"
        )
    found = Recovered(Index(_num_expected(segments)))
    for segment in segments:
        end = _index(segment, found)
        if end < segment.limit:
            _cut_torn_tail(segment, end)
        if segment.is_new:
            _name(segment)
        found.last_number = segment.number
        found.last_epoch = max(found.last_epoch, segment.epoch)
        if "asks" in segment.opening and not found.is_known(segment.opening):
            found.openings.append(segment.opening)
    found.calls.end()
    return found


def _index(segment: Segment, found: Recovered) -> int:
    """Take up a segment's answers and calls; returns where its last whole frame ends."""
    found.calls.begin_run(segment.epoch)
    answers = _Answers(segment, found.calls)
    found.index.insert_all(answers)
    return answers.end


class _Answers:
    """Iterates over key and place of a segment's answers, and matches its calls on the way."""

    def __init__(self, segment: Segment, calls: Calls) -> None:
        self._segment = segment
        self._calls = calls
        self.end = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        question_in, answered = entries.question_in, self._calls.answered
        place, offset, body = place_of(self._segment.number, 0), 0, b""
        with self._segment.open() as file:
            for offset, body in self._segment.frames(file):
                ids = question_in(body)
                if ids is not None:
                    sample_id, attempt_id, request_id = ids.groups()
                    answered(attempt_id, request_id)
                    yield hash(sample_id), place + offset
                else:
                    key = self._slowly(offset, body)
                    if key is not None:
                        yield key, place + offset
        self.end = frames.end_of(offset, body) if body else 0

    def _slowly(self, offset: int, body: bytes) -> int | None:
        """The key, if this is an answer in another shape than we write today."""
        try:
            entry = entries.parse(body)
        except ValueError as error:
            raise not_ours(self._segment.path, offset, error) from error
        if entry["kind"] == "answer":
            attempt_id = entry.get("attempt_id", "").encode()
            self._calls.answered(attempt_id, entry["request_id"].encode())
            return key_of(entry["sample_id"])
        if entry["kind"] == "sent":
            self._calls.sent(entry)
        elif entry["kind"] == "missed":
            self._calls.missed(entry)
        return None


def _name(segment: Segment) -> None:
    """What a killed run did not come to: this segment and all before it are sound now."""
    path = path_of(segment.path.parent, segment.number)
    with segment.path.open("rb") as file:
        os.fsync(file.fileno())
    os.rename(segment.path, path)
    sync_folder(path.parent)


def _cut_torn_tail(segment: Segment, end: int) -> None:
    with segment.path.open("r+b") as file:
        if is_damaged(segment, file, end):
            raise RunFolderError(
                f"{segment.path} is damaged at byte {end}, and was whole once: "
                "restore it from a copy, or keep what is whole of it with "
                "`weave-async verify RUN --repair`"
            )
        logger.warning("%s: cut %d torn bytes off its end", segment.path, segment.limit - end)
        file.truncate(end)
        os.fsync(file.fileno())


def _num_expected(segments: Sequence[Segment]) -> int:
    """About how many answers there are, by the first block of the last full segment."""
    largest = max(segments, key=lambda segment: segment.limit, default=None)
    if largest is None or not largest.limit:
        return 0
    with largest.open() as file:
        block = file.read(READ_BLOCK_BYTES)
    num_bytes = sum(segment.limit for segment in segments)
    return block.count(b'{"kind":"answer"') * num_bytes // max(1, len(block))
