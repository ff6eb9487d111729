"""What the journal asks of the disk, as one small object, so that tests can have it fail."""

from __future__ import annotations

import os
from pathlib import Path

from weave_async.rundir import sync_folder

_PRIVATE_FILE = 0o600


class Disk:
    """The operating system's own calls. All of them raise ``OSError``, and only that."""

    def create(self, path: Path) -> int:
        """A new file to append to; it must not be there yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, _PRIVATE_FILE)

    def write(self, fd: int, data: memoryview) -> int:
        """Append; returns how many bytes it took, which may be fewer."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """Return when the file's bytes are on the disk."""
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def rename(self, old: Path, new: Path) -> None:
        """Durable when it returns."""
        os.rename(old, new)
        sync_folder(new.parent)

    def sync_folder(self, folder: Path) -> None:
        sync_folder(folder)

    def is_deleted(self, fd: int) -> bool:
        return os.fstat(fd).st_nlink == 0

    def close(self, fd: int) -> None:
        os.close(fd)

    def free_bytes(self, folder: Path) -> int:
        stats = os.statvfs(folder)
        return stats.f_bavail * stats.f_frsize

    def allocate(self, path: Path, size: int) -> None:
        """A file whose blocks are really taken, for its room to be there when it is deleted."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE_FILE)
        try:
            os.ftruncate(fd, 0)
            os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)
