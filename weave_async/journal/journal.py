"""Answers, durable before any stage sees them.

What happens in one turn of the event loop is gathered and written at its end, so that a killed
process loses no more than that turn. A thread of our own syncs whatever has been written since its
last sync (group commit), and only then are samples handed on: no stage ever sees an answer that a
power cut could take back.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import RunFolderError, WeaveError
from weave_async.journal import calls, entries, frames
from weave_async.journal.commit import GroupCommit
from weave_async.journal.disk import Disk
from weave_async.journal.index import key_of
from weave_async.journal.recovery import recover
from weave_async.journal.segments import FrameReader, Segment, list_segments
from weave_async.journal.writer import Writer
from weave_async.records import Failure, Request, Sample
from weave_async.rundir import FORMAT_VERSION, storage_errors


class Journal:
    """The append-only log of one run. ``recall`` finds what earlier runs in this folder bought.

    ``asks`` is what shapes this run's requests, ``endpoints`` says of each its model and address.
    Both stand in the opening of every segment; ``asked_before`` is what the last earlier one was
    opened with, and ``asked_alike`` is whether all of them asked the same as this one: then
    ``may_hold`` is enough to know. ``epoch`` is the number of this run in its folder. ``unknown``
    are the calls that were out when an earlier run ended: they may have been billed.

    When the disk refuses, ``failed`` says so and ``on_trouble`` is called, once, from the loop:
    nothing more should be asked, but what still comes in can be recorded, into a reserve kept for
    that. Without ``on_trouble``, ``commits`` raises. ``require_ours`` is called twice a second, and
    raises ``RunFolderError`` once the folder is no longer ours alone: then ``commits`` raises it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        asks: Mapping[str, Any],
        endpoints: Mapping[str, Mapping[str, Any]] | None = None,
        on_trouble: Callable[[WeaveError], None] | None = None,
        require_ours: Callable[[], None] = lambda: None,
        disk: Disk | None = None,
    ) -> None:
        self._asks = orjson.loads(orjson.dumps(asks))  # as it will be read again
        self._endpoints = endpoints or {}
        self._folder = folder
        try:
            found = recover(folder)
        except OSError as error:
            raise RunFolderError(f"cannot read {folder}: {error.strerror}") from error
        self.asked_before = found.openings[-1]["asks"] if found.openings else None
        self.asked_alike = all(self._is_like_ours(opening) for opening in found.openings)
        self.epoch = found.last_epoch + 1
        self.num_recalled = found.index.num_keys
        self.unknown = found.calls.unknown
        self.all_sellers = {
            seller for opening in found.openings for seller in calls.sellers_in(opening).values()
        }
        self.sellers_before = {
            name: seller
            for opening in found.openings
            for name, seller in calls.sellers_in(opening).items()
        }
        self._index = found.index
        self._reader = FrameReader(folder)
        self._writer = Writer(
            folder, found.last_number + 1, opening=self._opening, disk=disk or Disk()
        )
        self._commit = GroupCommit(
            self._writer,
            gather=self._sent_frame,
            on_trouble=on_trouble,
            require_ours=require_ours,
        )
        self._attempts: dict[str, str] = {}  # request → its call that is out
        self._sends: list[tuple[str, str, int]] = []
        self._started_at = time.time()
        self._started_s = time.monotonic()
        self._at_s = 0.0
        self._is_kept = False

    def __repr__(self) -> str:
        return f"<Journal run {self.epoch}, {self.num_recalled} recalled, {self._commit!r}>"

    @property
    def failed(self) -> WeaveError | None:
        """Why the disk takes no more, if it does not."""
        return self._commit.failed

    @property
    def changes(self) -> list[str]:
        """Dotted names of what is asked otherwise than before; none in a new journal."""
        return (
            [] if self.asked_before is None else list(_differences(self.asked_before, self._asks))
        )

    @cached_property
    def spent(self) -> Mapping[calls.Seller, calls.Spent]:
        """What earlier runs have used at worst, by seller. Parses the whole journal, once."""
        return calls.spent(self._earlier_segments())

    @property
    def spent_tokens(self) -> int:
        return sum(account.tokens for account in self.spent.values())

    @property
    def last_epoch(self) -> int:
        """The last run of which the journal tells once it is closed: a replay leaves no trace."""
        is_replay = self._writer.is_begun and self._writer.is_empty and self._leaves_no_trace
        return self.epoch - 1 if is_replay else self.epoch

    @property
    def _leaves_no_trace(self) -> bool:
        """Once nothing has been recorded: asked alike, and nobody will answer later."""
        return self.asked_before in (None, self._asks) and not self._is_kept

    def begin(self) -> None:
        """Open a segment of our own, before anything is asked: a disk that refuses, refuses now."""
        with storage_errors(self._folder):
            self._writer.begin()

    def keep(self) -> None:
        """Requests are out whose answers may come to a later run: say who was asked, whatever
        comes of this one.
        """
        self._is_kept = True

    def may_hold(self, sample_id: str) -> bool:
        """Whether there is an answer to this sample, be it to another request. Reads no disk."""
        return key_of(sample_id) in self._index

    def recall(self, sample: Sample) -> Sample | None:
        """The sample as it was answered or failed, if this very request was bought before.

        The first that fits counts, whichever endpoint it came from.
        """
        for place in self._index.get(key_of(sample.sample_id)):
            entry = self._reader.read(place)
            if entries.fits(
                entry,
                sample_id=sample.sample_id,
                request_id=sample.request.request_id,
                max_tokens=sample.request.params.max_tokens,
            ):
                return _as_answered(sample, entry)
        return None

    def shelve(self, samples: Iterable[Sample]) -> None:
        """Have ``recall`` find these samples of this run, which ``commits`` has handed on."""
        for sample in samples:
            self._index.insert(key_of(sample.sample_id), self._commit.place_of(sample))

    def sent(self, request: Request, *, tokens: int) -> None:
        """A call goes out. All of one turn of the loop make one frame."""
        self._expect_entry()
        self._attempts[request.request_id] = request.attempt_id
        self._sends.append((request.attempt_id, request.request_id, tokens))

    def missed(self, request: Request, failure: Failure) -> None:
        """A call brought no answer."""
        self._expect_entry()
        if self._attempts.get(request.request_id) == request.attempt_id:
            del self._attempts[request.request_id]
        entry = entries.missed(request, failure, at_s=self._at_s)
        self._commit.put(frames.encode(entry))

    def discarded(self, sample: Sample, failure: Failure) -> None:
        """An answer that is not kept, since it will be asked for again. What it has cost, counts.

        Of several answers to one call, the one that carries the call's name stands for them all.
        """
        if sample.request.attempt_id:
            self._expect_entry()
            entry = entries.discarded(sample, failure, at_s=self._at_s)
            self._commit.put(frames.encode(entry))

    def record(self, sample: Sample, *, stage: str = "") -> None:
        """Take an answered or failed sample; ``commits`` yields it once it is durable.

        Never waits: whoever starts samples bounds how many there can be. ``stage`` is who asked,
        where that was a stage of the pipeline.
        """
        self._expect_entry()
        request = sample.request
        last_sent = self._attempts.pop(request.request_id, "")
        attempt_id = request.attempt_id or last_sent
        entry = entries.from_sample(sample, attempt_id=attempt_id, at_s=self._at_s, stage=stage)
        self._commit.put(frames.encode(entry), sample)

    def finish(self) -> None:
        """No more samples will come: ``commits`` ends when the last group is durable."""
        self._commit.finish()

    def commits(self) -> AsyncIterator[list[Sample]]:
        """Groups of samples whose frames are on disk, in the order in which they were recorded.

        Raises ``StorageError`` when answers cannot be kept, ``RunFolderError`` when the folder has
        gone.
        """
        return self._commit.groups()

    def close(self) -> None:
        """Let go of the files; what was not yet written and synced is, first."""
        try:
            self._commit.close()
        finally:
            self._writer.close(discard=self._leaves_no_trace)
            self._reader.close()

    def _expect_entry(self) -> None:
        if self._commit.expect():
            self._at_s = round(time.monotonic() - self._started_s, 3)

    def _sent_frame(self) -> bytes | None:
        """The calls of this turn of the loop."""
        if not self._sends:
            return None
        entry = {"kind": "sent", "at_s": self._at_s, "calls": self._sends}
        self._sends = []
        return frames.encode(entry)

    def _opening(self, cut: Mapping[int, int]) -> bytes:
        """``cut``: how far earlier segments count that the disk would not sync to their end."""
        entry = {
            "kind": "open",
            "format_version": FORMAT_VERSION,
            "epoch": self.epoch,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started_at": self._started_at,
            "endpoints": self._endpoints,
            "asks": self._asks,
        }
        if cut:
            entry["cut"] = {str(number): size for number, size in cut.items()}
        return frames.encode(entry)

    def _is_like_ours(self, opening: Mapping[str, Any]) -> bool:
        ours = {"asks": self._asks, "format_version": FORMAT_VERSION}
        return all(opening[key] == value for key, value in ours.items())

    def _earlier_segments(self) -> list[Segment]:
        return [each for each in list_segments(self._folder) if each.epoch < self.epoch]


def _as_answered(sample: Sample, entry: Mapping[str, Any]) -> Sample:
    """The sample with what the journal holds, whoever it was that answered."""
    model = entry.get("model", sample.request.model)  # others than the planned one: since failover
    sent = None if model == sample.request.model else replace(sample.request, model=model)
    return sample.answered(entries.outcome_of(entry), endpoint=entry["endpoint"], sent=sent)


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Dotted names of what two nested mappings do not share; of lists, the list's."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        if before != now:
            yield path
        return
    for key in sorted({*before, *now}):
        yield from _differences(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))
