"""What a process and all that it has started take together. Linux only."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def tree_rss_mb(pid: int) -> float:
    """Resident memory of the process and its descendants; pages that they share count for each."""
    return sum(map(_rss_mb, tree(pid)))


def tree(pid: int) -> list[int]:
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children[parent].append(int(entry.name))
    found = [pid]
    for each in found:
        found += children[each]
    return found


def _parent(entry: Path) -> int | None:
    try:  # behind the name, which may hold anything
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _rss_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB
    except OSError:
        return 0.0
