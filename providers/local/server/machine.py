"""What this machine has to give: cores and memory, as far as a container lets us have them."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Cores that we may run on (affinity), or fewer where a quota of CPU time allows fewer."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_cpu_quotas(root)]))


def free_bytes(root: Path = ROOT) -> int | None:
    """Memory that can be taken without swapping or being killed; None where nobody says."""
    room = [*_free_in_the_machine(root), *_free_in_cgroups(root)]
    return max(0, min(room)) if room else None


def _cpu_quotas(root: Path) -> Iterator[int]:
    for folder in _cgroups(root):
        quota, _, period = _read(folder / "cpu.max").partition(" ")  # version 2, "max 100000"
        if not quota:
            quota = _read(folder / "cpu.cfs_quota_us")  # version 1, -1 for none
            period = _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield math.ceil(int(quota) / int(period))


def _free_in_the_machine(root: Path) -> Iterator[int]:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _free_in_cgroups(root: Path) -> Iterator[int]:
    for folder in _cgroups(root):
        for limit_name, used_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _read(folder / limit_name), _read(folder / used_name)
            if limit.isdecimal() and used.isdecimal():
                # Files that were only read count as used, but give way.
                stat = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat"))
                yield int(limit) - int(used) + int(stat.get(cache_name, 0))


def _cgroups(root: Path) -> Iterator[Path]:
    """Our control groups and those around them: each may set a limit.

    A line is `0::/path` in version 2, `4:memory:/path` in version 1. Inside a container the path
    may be the host's, which is not there: the mount itself is then ours.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        mount = root / "sys/fs/cgroup" / controllers
        folder = mount / path.lstrip("/")
        for candidate in (folder, *folder.parents):
            yield candidate
            if candidate == mount:
                break


def _lines(path: Path) -> list[str]:
    return [line for line in _read(path).splitlines() if line]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # another version of cgroups, or none
        return ""


def return_freed_memory() -> None:
    """To the system, what glibc keeps of it: some 100 MB after a start. Elsewhere: nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
