"""Group commit: written at the end of each turn of the loop, synced in a thread, then handed on."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from array import array
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import NamedTuple

from weave_async.errors import RunFolderError, StorageError, WeaveError
from weave_async.journal.writer import FULL_DISK, ToSync, Writer
from weave_async.records import Sample

logger = logging.getLogger(__name__)

SYNC_APART_S = 0.010
"""Syncs begin at least so far apart, so that each carries many answers. An answer waits at most so
much longer than it must; and with a sync of 4 ms, the thread is idle for the better half."""
MAX_UNSYNCED_FRAMES = 1000
"""Calls are synced along with answers; without answers, when there are so many."""
LOOK_EVERY_S = 0.5
"""How often to see whether the folder is still there while no answer comes."""


class Entry(NamedTuple):
    """A frame, and the sample that is handed on once it is durable."""

    frame: bytes
    sample: Sample | None = None


class GroupCommit:
    """Takes entries from the loop to the disk, and their samples on to whoever iterates ``groups``.

    ``gather`` is asked for the frame that goes first in each turn, if there is one.
    ``require_ours`` raises ``RunFolderError`` once we may no longer write.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        gather: Callable[[], bytes | None],
        on_trouble: Callable[[WeaveError], None] | None,
        require_ours: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._gather = gather
        self._on_trouble = on_trouble
        self._require_ours = require_ours
        self._unwritten: list[Entry] = []
        self._unsynced: list[Entry] = []
        self._places = array("q")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._changed = asyncio.Event()
        self._is_flush_due = self._finished = self._is_broken = self._has_sync_failed = False
        self._gone: RunFolderError | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._pid = os.getpid()
        self.failed: WeaveError | None = None

    def __repr__(self) -> str:
        return f"<GroupCommit {len(self._unwritten)} to write, {len(self._unsynced)} to sync>"

    def expect(self) -> bool:
        """Something is about to be ``put`` or gathered; whether it is the first of this turn."""
        if self._is_flush_due:
            return False
        self._require_own_process()
        asyncio.get_running_loop().call_soon(self._flush)
        self._is_flush_due = True
        return True

    def put(self, frame: bytes, sample: Sample | None = None) -> None:
        self._unwritten.append(Entry(frame, sample))

    def place_of(self, sample: Sample) -> int:
        """Where a sample stands that ``groups`` has yielded."""
        return self._places[sample.ordinal]

    def finish(self) -> None:
        """Nothing more will be ``put``: ``groups`` ends when all is durable."""
        self._finished = True
        self._changed.set()

    async def groups(self) -> AsyncIterator[list[Sample]]:
        """Samples whose frames are on disk, in the order in which they came."""
        self._look()
        earliest_s = 0.0
        try:
            while not self._has_ended:
                await self._changed.wait()
                earliest_s = await self._apart(earliest_s)
                samples = await self._commit()
                if samples:
                    yield samples
                if self.failed is not None and self._on_trouble is None:
                    raise self.failed
        except WeaveError:
            self._is_broken = True
            raise
        finally:
            if self._looking is not None:
                self._looking.cancel()

    def close(self) -> None:
        """Write and sync what was not yet. Raises ``StorageError``, unless ``groups`` has."""
        self._require_own_process()
        self._thread.shutdown(wait=True)
        if not self._writer.is_begun:
            return
        with suppress(WeaveError) if self._is_broken else nullcontext():
            self._write()
            self._require_all_written()
            try:
                self._writer.sync_rest()
            except OSError as error:
                if self._has_samples_to_sync:
                    raise _cannot_keep(self._writer, error) from error
                logger.warning("%r: the last sync failed: %s", self._writer, error.strerror)

    @property
    def _has_ended(self) -> bool:
        return self._finished and not self._unwritten and not self._has_samples_to_sync

    @property
    def _has_samples_to_sync(self) -> bool:
        return any(entry.sample is not None for entry in self._unsynced)

    def _flush(self) -> None:
        self._is_flush_due = False
        num_unsynced = len(self._unsynced)
        self._write()
        written = self._unsynced[num_unsynced:]
        if len(self._unsynced) > MAX_UNSYNCED_FRAMES or any(entry.sample for entry in written):
            self._changed.set()

    def _write(self) -> None:
        """Write what there is; what the disk will not take stays, and is tried again next time."""
        self._require_own_process()
        gathered = self._gather()
        if gathered is not None:
            self._unwritten.insert(0, Entry(gathered))
        while self._unwritten:
            # A disk that is nearly full may have room for some.
            batch = self._unwritten if self.failed is None else self._unwritten[:1]
            try:
                place = self._writer.append(b"".join([entry.frame for entry in batch]))
            except OSError as error:
                self._fail(error)
                if self._writer.make_room(error):
                    continue
                return
            self._unwritten = self._unwritten[len(batch) :]
            self._keep_places(batch, place)
            self._unsynced += batch

    def _keep_places(self, batch: list[Entry], place: int) -> None:
        places = self._places
        for frame, sample in batch:
            if sample is not None:
                missing = sample.ordinal + 1 - len(places)
                if missing > 0:
                    places.frombytes(bytes(missing * places.itemsize))
                places[sample.ordinal] = place
            place += len(frame)

    async def _apart(self, earliest_s: float) -> float:
        """Wait until the next sync may begin; returns when the one after it may."""
        loop = asyncio.get_running_loop()
        wait_s = earliest_s - loop.time()
        if wait_s > 0 and not self._finished:
            await asyncio.sleep(wait_s)
        return loop.time() + SYNC_APART_S

    async def _commit(self) -> list[Sample]:
        """Make durable what has been written, and return its samples."""
        if self._gone is not None:
            raise self._gone
        self._changed.clear()
        self._write()
        if self._finished:
            self._require_all_written()
            self._changed.set()
        group, self._unsynced = self._unsynced, []
        if not group:
            return []
        segments = self._writer.to_sync()
        try:
            await self._in_thread(segments)
        except OSError as error:
            group = await self._write_anew(group, error)
        except asyncio.CancelledError:
            self._unsynced = [*group, *self._unsynced]  # `close` sees to them
            raise
        if self._writer.is_full:
            self._go_on_in_a_new_segment()
        return [entry.sample for entry in group if entry.sample is not None]

    async def _in_thread(self, segments: ToSync) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._writer.sync, segments)
        self._writer.note_synced(segments)

    async def _write_anew(self, group: list[Entry], error: OSError) -> list[Entry]:
        """A sync has failed: all since the last good one goes into a new segment, once.

        Returns what is durable then: ``group``, and what had been written behind it.
        """
        logger.warning("%r: a sync failed: %s; writing anew", self._writer, error.strerror)
        if self._has_sync_failed:
            raise _cannot_keep(self._writer, error) from error
        self._has_sync_failed = True
        if error.errno in FULL_DISK:
            self._fail(error)
            self._writer.free_reserve()
        try:
            self._writer.give_up_unsynced()
            self._unwritten = [*group, *self._unsynced, *self._unwritten]
            self._unsynced = []
            self._write()
            self._require_all_written()
            group, self._unsynced = self._unsynced, []
            await self._in_thread(self._writer.to_sync())
        except OSError as again:
            raise _cannot_keep(self._writer, again) from again
        return group

    def _go_on_in_a_new_segment(self) -> None:
        try:
            self._writer.roll()
        except OSError as error:  # the present one is as good, if longer than it should be
            logger.debug("no new segment: %s", error)

    def _fail(self, error: OSError) -> None:
        if self.failed is None:
            self.failed = _cannot_keep(self._writer, error)
            if self._on_trouble is not None:
                self._on_trouble(self.failed)
            self._changed.set()

    def _require_all_written(self) -> None:
        num_lost = sum(entry.sample is not None for entry in self._unwritten)
        if self._unwritten:
            raise StorageError(f"{num_lost} answers could not be written: {self.failed}")

    def _require_own_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"the journal belongs to process {self._pid}, and process {os.getpid()} was forked "
                "off it: nothing is written"
            )

    def _look(self) -> None:
        if not self._writer.is_begun:
            return
        try:
            self._writer.require_present()
            self._require_ours()
        except RunFolderError as error:
            self._gone = error
            self._changed.set()
            return
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)


def _cannot_keep(writer: Writer, error: OSError) -> StorageError:
    why = "a limit on the size of files" if error.errno == errno.EFBIG else error.strerror
    return StorageError(
        f"cannot write {writer.path}: {why}. What was written so far is kept; "
        "run the same command again once there is space"
    )
