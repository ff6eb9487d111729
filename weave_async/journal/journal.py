"""Answers, durable before any stage sees them.

Samples are appended as they come in, in any order. One thread of our own writes and syncs whatever
has gathered since its last sync (group commit), and only then are the samples handed on. So a crash
loses at most the answers whose sync had not returned, and none that a stage has seen.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import orjson

from weave_async.errors import RunFolderError
from weave_async.journal import frames
from weave_async.records import Response, Sample, Usage
from weave_async.rundir import FORMAT_VERSION, storage_errors, sync_folder

logger = logging.getLogger(__name__)


class Journal:
    """The append-only log of one run. ``recall`` finds what earlier runs in this folder bought.

    ``asks`` is what shapes this run's requests. It opens every segment, and ``asked_before`` is
    what the last earlier segment was opened with.
    """

    def __init__(self, folder: Path, *, asks: Mapping[str, Any]) -> None:
        self._asks = orjson.loads(orjson.dumps(asks))  # as it will be read again
        opening = {"kind": "open", "format_version": FORMAT_VERSION, "asks": self._asks}
        self._opening = frames.encode(opening)
        self.asked_before: dict[str, Any] | None = None
        self._offsets: dict[str, tuple[IO[bytes], int]] = {}
        self._segments: list[IO[bytes]] = []
        self._folder = folder
        try:
            self._recover()
        except BaseException:
            self._close_segments()
            raise
        numbers = [int(path.stem) for path in self._paths()]
        self._tail_path = folder / f"{max(numbers, default=0) + 1:06d}.log"
        self._tail: IO[bytes] | None = None
        self._is_sound = True
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._pending: list[bytes] = []
        self._samples: list[Sample] = []
        self._changed = asyncio.Event()
        self._finished = False

    def __repr__(self) -> str:
        return f"<Journal {len(self._offsets)} recalled, {len(self._samples)} to sync>"

    @property
    def changes(self) -> list[str]:
        """Dotted names of what is asked otherwise than before; none in a new journal."""
        return (
            [] if self.asked_before is None else list(_differences(self.asked_before, self._asks))
        )

    @property
    def num_recalled(self) -> int:
        """Answers that earlier runs left here."""
        return len(self._offsets)

    def begin(self) -> None:
        """Open a segment of our own, before anything is asked: a disk that refuses, refuses now."""
        with storage_errors(self._folder):
            self._tail = self._new_segment()

    asked_alike = False
    epoch = 1

    def may_hold(self, sample_id: str) -> bool:
        return True

    def sent(self, request, *, tokens):
        pass

    def missed(self, request, failure):
        pass

    def shelve(self, samples):
        self._shelved = getattr(self, "_shelved", {})
        for s in samples:
            self._shelved[s.request.request_id] = s.response or s.failure

    def recall(self, sample: Sample) -> Response | None:
        """The answer to this request, if it was bought before. The first one counts."""
        self._shelved = getattr(self, "_shelved", {})
        if sample.request.request_id in self._shelved:
            return self._shelved.pop(sample.request.request_id)
        place = self._offsets.get(sample.request.request_id)
        return None if place is None else _response_from(frames.read_at(*place)["response"])

    def record(self, sample: Sample) -> None:
        """Take an answered or failed sample; ``commits`` yields it once it is durable.

        Never waits: whoever starts samples bounds how many there can be.
        """
        self._pending.append(frames.encode(_as_record(sample)))
        self._samples.append(sample)
        self._changed.set()

    def finish(self) -> None:
        """No more samples will come: ``commits`` ends when the last group is durable."""
        self._finished = True
        self._changed.set()

    async def commits(self) -> AsyncIterator[list[Sample]]:
        """Groups of samples whose frames are on disk, in the order in which they were recorded."""
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            self._changed.clear()
            group, blob = self._samples, b"".join(self._pending)
            self._samples, self._pending = [], []
            if group:
                await loop.run_in_executor(self._thread, self._write_and_sync, blob)
                yield group
            elif self._finished:
                return
            if self._finished:
                self._changed.set()

    def close(self) -> None:
        """Let go of the files; what was not yet synced is written first."""
        self._thread.shutdown(wait=True)
        try:
            if self._pending:
                self._write_and_sync(b"".join(self._pending))
                self._pending = []
            if self._tail is not None and self._says_nothing_new(self._tail):
                self._tail_path.unlink(missing_ok=True)
        finally:
            self._close_segments()

    def _says_nothing_new(self, segment: IO[bytes]) -> bool:
        """Nothing was recorded in it, and what is asked was known or does not matter yet."""
        is_empty = segment.seek(0, os.SEEK_END) == len(self._opening)
        return is_empty and self.asked_before in (None, self._asks)

    def _close_segments(self) -> None:
        for segment in self._segments:
            segment.close()

    def _write_and_sync(self, blob: bytes) -> None:
        assert self._tail is not None
        is_sound, self._is_sound = self._is_sound, False
        if not is_sound:
            return  # behind a torn frame nothing would be found again
        with storage_errors(self._folder):
            _write_all(self._tail, blob)
            os.fdatasync(self._tail.fileno())
            if os.fstat(self._tail.fileno()).st_nlink == 0:
                raise RunFolderError(f"{self._tail_path} was deleted while the run wrote to it")
        self._is_sound = True

    def _recover(self) -> None:
        paths = self._paths()
        for path in paths:
            segment = path.open("r+b")
            self._segments.append(segment)
            end = 0
            for frame in frames.scan(segment):
                end = frame.end
                self._index(segment, frame, path)
            torn_bytes = segment.seek(0, os.SEEK_END) - end
            if torn_bytes and (path != paths[-1] or frames.has_frame_after(segment, end)):
                raise RunFolderError(
                    f"{path} is damaged at byte {end}, with whole answers after it: "
                    "restore it from a copy, or move it away to buy its answers again"
                )
            if torn_bytes:
                logger.warning("%s: cut %d torn bytes off its end", path, torn_bytes)
                segment.truncate(end)
                os.fsync(segment.fileno())

    def _paths(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.log") if path.stem.isdecimal())

    def _index(self, segment: IO[bytes], frame: frames.Frame, path: Path) -> None:
        record = frame.decode()
        try:
            if record["kind"] == "answer":
                self._offsets.setdefault(record["request_id"], (segment, frame.offset))
            elif record["kind"] == "open":
                self._read_opening(path, record)
        except (KeyError, TypeError) as error:
            raise RunFolderError(
                f"{path} holds at byte {frame.offset} what this version does not write ({error}): "
                "was it written by a newer weave-async?"
            ) from error

    def _read_opening(self, path: Path, record: dict[str, Any]) -> None:
        if record["format_version"] > FORMAT_VERSION:
            raise RunFolderError(f"{path} was written by a newer weave-async: upgrade first")
        self.asked_before = record["asks"]

    def _new_segment(self) -> IO[bytes]:
        """A file of this process alone: earlier ones are only read, so a torn tail stays a tail."""
        fd = os.open(
            self._tail_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        segment = os.fdopen(fd, "r+b", buffering=0)
        _write_all(segment, self._opening)
        sync_folder(self._folder)
        self._segments.append(segment)
        return segment


def _write_all(file: IO[bytes], blob: bytes) -> None:
    """An unbuffered write may take only a part."""
    rest = memoryview(blob)
    while rest:
        rest = rest[file.write(rest) :]


def _as_record(sample: Sample) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": "answer" if sample.response is not None else "failure",
        "request_id": sample.request.request_id,
        "sample_id": sample.sample_id,
        "endpoint": sample.endpoint,
    }
    if sample.response is not None:
        record["response"] = sample.response
    elif sample.failure is not None:
        record["failure"] = sample.failure
    return record


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Dotted names of what two nested mappings do not share; of lists, the list's."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        if before != now:
            yield path
        return
    for key in sorted({*before, *now}):
        yield from _differences(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))


def _response_from(stored: dict[str, Any]) -> Response:
    usage = _known(Usage, stored["usage"])
    return Response(**{**_known(Response, stored), "usage": Usage(**usage)})


def _known(noun: type, stored: dict[str, Any]) -> dict[str, Any]:
    """The fields we know; a later version may have written more."""
    return {field.name: stored[field.name] for field in fields(noun) if field.name in stored}
