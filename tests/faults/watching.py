"""``python watching.py LOG ARGUMENT…``: ``weave-async``, with its syncs and renames written down.

Each line of the log is a call that has returned: ``["fsync", path, bytes]`` or
``["replace", from, to]``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from weave_async.cli.main import main


def watch(log: Path) -> None:
    """From now on, note every call of ``os`` that makes something durable, or visible."""
    lines = log.open("a")

    def note(*what: object) -> None:
        lines.write(json.dumps(what) + "\n")
        lines.flush()

    def noting_sync(call: Callable[[int], None]) -> Callable[[int], None]:
        def sync(fd: int) -> None:
            path, size = os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd).st_size
            call(fd)
            note("fsync", path, size)

        return sync

    def noting_rename(call: Callable[..., None]) -> Callable[..., None]:
        def rename(source: object, target: object) -> None:
            call(source, target)
            note("replace", str(source), str(target))

        return rename

    os.fsync, os.fdatasync = noting_sync(os.fsync), noting_sync(os.fdatasync)
    os.replace, os.rename = noting_rename(os.replace), noting_rename(os.rename)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.argv[:2] = ["weave-async"]
    main()
