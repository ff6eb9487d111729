"""Disks that are full, broken or slow: what was received is kept, and the run is told."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weave_async.errors import StorageError, WeaveError
from weave_async.journal import writer
from weave_async.journal.disk import Disk
from weave_async.journal.journal import Journal
from weave_async.records import Response, Sample
from weave_async.rundir import reserve_of

from .outcomes import outcome

MakeSample = Callable[..., Sample]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    path.mkdir()
    return path


class FailingDisk(Disk):
    """Does what it is told to: ``errors`` are raised by the next calls of that name."""

    def __init__(self) -> None:
        self.errors: dict[str, list[int]] = {"write": [], "sync": [], "truncate": []}
        self.most_bytes: int | None = None
        self.synced: list[int] = []
        self.freed_by: Path | None = None

    def write(self, fd: int, data: memoryview) -> int:
        self._maybe_fail("write")
        return super().write(fd, data[: self.most_bytes])

    def sync(self, fd: int) -> None:
        self.synced.append(fd)
        self._maybe_fail("sync")
        super().sync(fd)

    def truncate(self, fd: int, size: int) -> None:
        self._maybe_fail("truncate")
        super().truncate(fd, size)

    def _maybe_fail(self, call: str) -> None:
        if self.errors[call]:
            code = self.errors[call].pop(0)
            raise OSError(code, os.strerror(code))


class Run:
    """A run that records samples while its disk has trouble."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.troubles: list[WeaveError] = []
        self.journal = Journal(folder, asks={}, on_trouble=self.troubles.append, disk=disk)
        self.handed_on: list[Sample] = []
        self.journal.begin()

    async def record(self, *samples: Sample) -> None:
        for sample in samples:
            self.journal.sent(sample.request, tokens=10)
            self.journal.record(sample)
            await asyncio.sleep(0)

    async def finish(self) -> None:
        self.journal.finish()
        async for group in self.journal.commits():
            self.handed_on += group


def recalled(folder: Path, samples: list[Sample]) -> list[str | None]:
    journal = Journal(folder, asks={})
    found = [outcome(journal, sample) for sample in samples]
    journal.close()
    return [each.text if isinstance(each, Response) else None for each in found]


def completions(samples: list[Sample]) -> list[str | None]:
    return [sample.completion for sample in samples]


@pytest.fixture
def samples(make_sample: MakeSample) -> list[Sample]:
    return [make_sample(f"Answer {n}. " * 20, ordinal=n) for n in range(8)]


def test_short_writes_are_completed(folder: Path, samples: list[Sample]) -> None:
    disk = FailingDisk()

    async def scenario() -> None:
        run = Run(folder, disk)
        disk.most_bytes = 7
        await run.record(*samples)
        await run.finish()
        run.journal.close()
        assert run.handed_on == samples
        assert not run.troubles

    asyncio.run(scenario())
    assert recalled(folder, samples) == completions(samples)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("partial", [None, 5], ids=["nothing written", "a part written"])
def test_a_refused_write_keeps_what_was_received_and_stops_the_asking(
    folder: Path, samples: list[Sample], code: int, partial: int | None
) -> None:
    disk = FailingDisk()

    async def scenario() -> None:
        run = Run(folder, disk)
        await run.record(*samples[:4])
        assert reserve_of(folder).exists()
        disk.most_bytes = partial
        disk.errors["write"] = [code]
        await run.record(*samples[4:])
        assert len(run.troubles) == 1
        assert isinstance(run.journal.failed, StorageError)
        assert run.journal.failed.exit_code == 74
        await run.finish()
        assert reserve_of(folder).exists() == (code not in writer.FULL_DISK)
        run.journal.close()
        assert run.handed_on == samples

    asyncio.run(scenario())
    assert recalled(folder, samples) == completions(samples)


def test_a_part_that_cannot_be_cut_off_again_is_passed_over(
    folder: Path, samples: list[Sample]
) -> None:
    disk = FailingDisk()

    async def scenario() -> None:
        run = Run(folder, disk)
        await run.record(*samples[:4])
        write = disk.write

        def half(fd: int, data: memoryview) -> int:
            if len(data) > 200:
                return write(fd, data[:100])
            disk.write = write  # type: ignore[method-assign]
            raise OSError(errno.EIO, "Input/output error")

        disk.write = half  # type: ignore[method-assign]
        disk.errors["truncate"] = [errno.EIO]
        await run.record(*samples[4:])
        disk.write = write  # type: ignore[method-assign]
        await run.finish()
        run.journal.close()
        assert run.handed_on == samples

    asyncio.run(scenario())
    assert recalled(folder, samples) == completions(samples)
    assert len(list(folder.glob("*.log"))) == 2


def test_a_failed_sync_is_never_repeated_and_its_group_written_anew(
    folder: Path, samples: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    disk = FailingDisk()

    async def scenario() -> None:
        run = Run(folder, disk)
        disk.errors["sync"] = [errno.EIO]
        disk.synced = []
        await run.record(*samples)
        await run.finish()
        run.journal.close()
        assert run.handed_on == samples
        assert not run.troubles

    asyncio.run(scenario())
    assert len(list(folder.glob("*.log"))) == 2
    assert "a sync failed: Input/output error" in caplog.text
    (folder / "000001.log").write_bytes((folder / "000001.log").read_bytes()[:-50])
    assert recalled(folder, samples) == completions(samples), "nothing rests on the first file"


def test_a_second_failed_sync_stops_the_run(folder: Path, samples: list[Sample]) -> None:
    disk = FailingDisk()

    async def scenario() -> None:
        run = Run(folder, disk)
        disk.errors["sync"] = [errno.EIO, errno.EIO]
        await run.record(*samples)
        with pytest.raises(StorageError, match="Input/output error"):
            await run.finish()
        assert run.handed_on == []
        run.journal.close()

    asyncio.run(scenario())


def test_a_disk_that_stays_full_keeps_answers_until_there_is_space(
    folder: Path, samples: list[Sample]
) -> None:
    """The real /dev/full in the place of the segment, and the segment back again."""

    async def scenario() -> None:
        run = Run(folder, Disk())
        await run.record(*samples[:2])
        fd = run.journal._writer.tail.fd
        real, full = os.dup(fd), os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, fd)
        await run.record(*samples[2:])
        assert "No space left on device" in str(run.troubles[0])
        with pytest.raises(StorageError, match="6 answers could not be written"):
            await run.finish()
        os.dup2(real, fd)
        os.close(real)
        os.close(full)
        run.journal.close()

    asyncio.run(scenario())
    assert recalled(folder, samples) == completions(samples)


def test_what_was_being_synced_when_the_run_broke_off_is_kept_but_not_called_safe(
    folder: Path, samples: list[Sample]
) -> None:
    disk = FailingDisk()

    async def scenario() -> None:
        run = Run(folder, disk)
        is_syncing, go_on = threading.Event(), threading.Event()
        sync = disk.sync

        def slow_sync(fd: int) -> None:
            is_syncing.set()
            go_on.wait()
            raise OSError(errno.EIO, "Input/output error")

        disk.sync = slow_sync  # type: ignore[method-assign]
        await run.record(*samples)
        committing = asyncio.create_task(run.finish())
        while not is_syncing.is_set():
            await asyncio.sleep(0)
        committing.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await committing
        disk.sync = sync  # type: ignore[method-assign]
        with pytest.raises(StorageError):  # not synced again: nobody may think that it is safe
            run.journal.close()
        assert run.handed_on == []

    asyncio.run(scenario())
    assert recalled(folder, samples) == completions(samples)


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from weave_async.journal.journal import Journal
from weave_async.records import Message, Prompt, Request, Response, Sample, SamplingParams

async def main(folder, limit):
    troubles = []
    journal = Journal(folder, asks={}, on_trouble=troubles.append)
    journal.begin()
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    received, num_late = [], 30
    for n in range(2000):
        asked = (Message("user", str(n)),)
        sample = Sample(
            n, Prompt(f"p{n}", 0, asked, {}, "x:1"), Request(f"r{n}", "m", asked, SamplingParams()),
            "here", n, asked, Response("answer " * 100, "stop"),
        )
        journal.record(sample)
        received.append(sample)
        await asyncio.sleep(0)
        num_late -= bool(troubles)  # what was in flight still comes in
        if not num_late:
            break
    journal.finish()
    handed_on = [s async for group in journal.commits() for s in group]
    assert handed_on == received, (len(handed_on), len(received))
    journal.close()
    print(len(received), troubles[0] if troubles else "")

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def run_limited(folder: Path, limit: int = 0) -> tuple[int, str]:
    command = [sys.executable, "-c", LIMITED, str(folder), str(limit), *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, _, trouble = done.stdout.strip().partition(" ")
    return int(count), trouble


def test_a_limit_on_file_size_loses_no_answer_that_was_received(folder: Path) -> None:
    num_received, trouble = run_limited(folder, limit=100_000)
    assert 30 < num_received < 2000
    assert "a limit on the size of files" in trouble
    journal = Journal(folder, asks={})
    journal.close()
    assert journal.num_recalled == num_received


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount_point)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small disk")
    yield mount_point
    subprocess.run(["umount", str(mount_point)], check=True)


def test_a_full_disk_loses_no_answer_and_the_run_goes_on_when_there_is_space(
    small_disk: Path,
) -> None:
    folder = small_disk / "journal"
    folder.mkdir()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    num_received, trouble = run_limited(folder)
    assert 30 < num_received < 2000
    assert "No space left on device" in trouble
    ballast.unlink()
    journal = Journal(folder, asks={})
    assert journal.num_recalled == num_received
    journal.begin()
    journal.close()


def test_a_disk_without_room_is_refused_before_anything_is_asked(folder: Path) -> None:
    class FullDisk(Disk):
        def free_bytes(self, folder: Path) -> int:
            return 10_000

    journal = Journal(folder, asks={}, disk=FullDisk())
    with pytest.raises(StorageError, match=r"only 10000 bytes are free"):
        journal.begin()
    journal.close()
    assert list(folder.iterdir()) == []


def test_the_reserve_is_really_allocated_and_gone_afterwards(folder: Path) -> None:
    journal = Journal(folder, asks={})
    journal.begin()
    stats = reserve_of(folder).stat()
    assert stats.st_size == stats.st_blocks * 512 == writer.RESERVE_BYTES
    journal.close()
    assert list(folder.iterdir()) == []
