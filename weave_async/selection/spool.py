"""Records that wait on disk, so that memory stays flat."""

from __future__ import annotations

import os
import tempfile
import weakref
from io import FileIO
from pathlib import Path

from weave_async.rundir import storage_errors

_BLOCK_BYTES = 1 << 18


class Spool:
    """Records one behind the other in a file without a name, which is gone with its owner.

    What was appended last is still in memory: most is written, and little is read again. Where the
    disk refuses, ``append`` raises ``StorageError``: no offset can be trusted any more.
    """

    def __init__(self) -> None:
        self._file: FileIO | None = None
        self._num_written = 0  # bytes
        self._block = bytearray()

    def __repr__(self) -> str:
        return f"<Spool {self._num_written + len(self._block):,} bytes>"

    def append(self, record: bytes) -> int:
        """Returns where it begins."""
        offset = self._num_written + len(self._block)
        self._block += record
        if len(self._block) >= _BLOCK_BYTES:
            with storage_errors(Path(tempfile.gettempdir())):
                self._write()
        return offset

    def read(self, offset: int, num_bytes: int) -> bytes:
        """What stands there; a record never lies on both sides of what is written."""
        if offset >= self._num_written:
            first = offset - self._num_written
            return bytes(self._block[first : first + num_bytes])
        assert self._file is not None
        found = b""
        while len(found) < num_bytes:
            part = os.pread(self._file.fileno(), num_bytes - len(found), offset + len(found))
            if not part:
                raise EOFError(f"the temporary file ends at {offset + len(found)}")
            found += part
        return found

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="weave-async-", buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        waiting = memoryview(bytes(self._block))
        self._block.clear()
        while waiting:
            num = self._file.write(waiting) or 0
            self._num_written += num
            waiting = waiting[num:]
