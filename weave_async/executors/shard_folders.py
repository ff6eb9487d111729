"""Where the shards of a run lie, and what of an earlier merge may be made again."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from weave_async.errors import RunFolderError
from weave_async.rundir import RunFolder, open_private, storage_errors
from weave_async.sharding import Shard

_FOLDER = re.compile(r"[0-9]{4,}-of-([0-9]{4,})")


class ShardFolders:
    """``RUN/shards/0002-of-0016`` and its siblings. ``RUN`` is for what is merged of them."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self.path = (run.path / "shards").absolute()

    def __repr__(self) -> str:
        return f"<ShardFolders {self.path}>"

    def open(self, wanted: int) -> list[Shard]:
        """The shards: so many, unless there are some that were begun in another number."""
        if self._run.path.is_dir() and any(self._run.path.iterdir()) and not self.path.is_dir():
            raise RunFolderError(
                f"{self._run.path} is not empty and holds no shards: choose another folder with -o"
                + (", or go on in it without --executor" if self._run.holds_a_run() else "")
            )
        with storage_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = [path.name for path in self.path.iterdir()]
        numbers = {int(found[1]) for name in names if (found := _FOLDER.fullmatch(name))}
        if len(numbers) > 1:
            raise RunFolderError(f"{self.path} holds shards of several runs: choose another -o")
        of = numbers.pop() if numbers else wanted
        return [Shard(number, of) for number in range(1, of + 1)]

    def paths(self, shards: Sequence[Shard]) -> list[Path]:
        return [self.path / shard.folder_name for shard in shards]

    @contextmanager
    def probe(self) -> Iterator[Path]:
        """A file that all machines must see."""
        path = self.path / f".probe-{uuid.uuid4().hex}"
        with storage_errors(path):
            open_private(path).close()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def is_merged(self) -> bool:
        """Whether what an earlier merge has made is whole."""
        manifest = self._run.read_manifest()
        return manifest is not None and not manifest["pending"]

    def make_room_for_merge(self, shards: Sequence[Shard]) -> None:
        """Take away what an earlier merge has made of fewer answers; all of it is in the shards.

        Raises ``RunFolderError`` where somebody has bought answers beside them since.
        """
        manifest = self._run.read_manifest()
        if manifest is not None:
            published = [RunFolder(path).published_answers() for path in self.paths(shards)]
            if manifest["asked_now"] or manifest["recalled"] > sum(published):
                raise RunFolderError(
                    f"{self._run.path} has gone on by itself since its shards were merged: go on "
                    "there without --executor, or choose another folder with -o"
                )
        with storage_errors(self._run.path):
            self._run.manifest.unlink(missing_ok=True)
            for journal in (self._run.journal, self._run.consultations):
                if journal.is_dir():
                    shutil.rmtree(journal)
