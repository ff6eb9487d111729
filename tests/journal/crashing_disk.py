"""A disk that keeps, at a power cut, only what it was made to keep."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import RLock

from weave_async.journal.disk import Disk

Image = dict[str, bytes]
"""What stands on the disk after a power cut."""
BLOCK = 512


@dataclass(eq=False)
class _File:
    path: Path
    synced: int = 0


class CrashingDisk(Disk):
    """Writes to a real folder, and before each operation may note what a power cut would leave.

    Bytes that were not synced are there in part, or as zeros, or not at all. Names that were given
    since the last sync of the folder are there up to any point. ``on_image`` gets each image.
    ``sync_fails`` is the chance that a sync does, once.
    """

    def __init__(
        self,
        rng: Random,
        on_image: Callable[[Image], None],
        *,
        images: float,
    ) -> None:
        self._rng = rng
        self._on_image = on_image
        self._images = images
        self.sync_fails = 0.0
        self._files: dict[str, _File] = {}
        self._by_fd: dict[int, _File] = {}
        self._durable = dict(self._files)
        self._name_changes: list[dict[str, _File]] = []
        self._refused: set[int] = set()
        self._one_at_a_time = RLock()
        self.num_syncs_after_failure = 0

    def free_bytes(self, folder: Path) -> int:
        """A run begins: what recovery has left in the folder is on the disk."""
        self._files = {path.name: _File(path, path.stat().st_size) for path in folder.iterdir()}
        self._durable = dict(self._files)
        return super().free_bytes(folder)

    def create(self, path: Path) -> int:
        with self._one_at_a_time:
            self._maybe_crash()
            fd = super().create(path)
            self._files[path.name] = self._by_fd[fd] = _File(path)
            self._name_changes.append(dict(self._files))
            return fd

    def write(self, fd: int, data: memoryview) -> int:
        with self._one_at_a_time:
            self._maybe_crash()
            return super().write(fd, data[: self._rng.randint(1, len(data))])

    def sync(self, fd: int) -> None:
        with self._one_at_a_time:
            size = os.fstat(fd).st_size
            self._maybe_crash()
            self.num_syncs_after_failure += fd in self._refused
            if self._rng.random() < self.sync_fails:
                self.sync_fails = 0.0
                self._refused.add(fd)
                raise OSError(errno.EIO, "Input/output error")
            self._by_fd[fd].synced = size

    def rename(self, old: Path, new: Path) -> None:
        with self._one_at_a_time:
            self._maybe_crash()
            os.rename(old, new)
            file = self._files.pop(old.name)
            file.path = new
            self._files[new.name] = file
            self._name_changes.append(dict(self._files))
            self.sync_folder(new.parent)

    def sync_folder(self, folder: Path) -> None:
        with self._one_at_a_time:
            self._maybe_crash()
            self._durable = dict(self._files)
            self._name_changes = []

    def close(self, fd: int) -> None:
        self._refused.discard(fd)
        super().close(fd)

    def allocate(self, path: Path, size: int) -> None:
        pass

    def _maybe_crash(self) -> None:
        if self._rng.random() < self._images:
            self._on_image(self._image())

    def _image(self) -> Image:
        names = self._rng.choice([self._durable, *self._name_changes])
        return {name: self._kept(file) for name, file in names.items()}

    def _kept(self, file: _File) -> bytes:
        content = file.path.read_bytes()
        kept = bytearray(content[: self._rng.randint(file.synced, len(content))])
        for start in range(file.synced, len(kept), BLOCK):
            if self._rng.random() < 0.2:
                end = min(start + BLOCK, len(kept))
                kept[start:end] = bytes(end - start)
        return bytes(kept)
