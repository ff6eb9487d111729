"""What this machine has for us: memory that is free, and cores. Limits of containers are counted.

A container, or a service, is a cgroup. Limits hold for all inside, so that those of the cgroups
around it count as well. Where the system tells nothing (no /proc), nothing is known.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def free_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Memory that can be had. What caches hold counts as free: it is given up on demand."""
    meminfo = re.search(r"MemAvailable:\s+(\d+) kB", _text(proc / "meminfo"))
    free = [int(meminfo[1]) * 1024] if meminfo else []
    for place, is_v2 in _places("memory", proc, cgroups):
        limit = _number(place / ("memory.max" if is_v2 else "memory.limit_in_bytes"))
        used = _number(place / ("memory.current" if is_v2 else "memory.usage_in_bytes"))
        name = "inactive_file" if is_v2 else "total_inactive_file"
        cached = re.search(rf"^{name} (\d+)$", _text(place / "memory.stat"), re.MULTILINE)
        if limit is not None and used is not None:
            free.append(max(0, limit - used + (int(cached[1]) if cached else 0)))
    return min(free, default=None)


def resident_bytes(pid: int, proc: Path = PROC) -> int | None:
    """Memory that a process holds now; ``None`` where it has gone, or nothing is told."""
    held = re.search(r"VmRSS:\s+(\d+) kB", _text(proc / f"{pid}/status"))
    return int(held[1]) * 1024 if held else None


def num_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Cores that we may run on, and no more than a quota of time amounts to."""
    try:
        cores = [len(os.sched_getaffinity(0))]
    except AttributeError:  # macOS
        cores = [os.cpu_count() or 1]
    for place, is_v2 in _places("cpu", proc, cgroups):
        if is_v2:
            quota, _, period = _text(place / "cpu.max").strip().partition(" ")
        else:
            quota, period = (_text(place / f"cpu.cfs_{n}_us").strip() for n in ("quota", "period"))
        if quota.isdigit() and period.isdigit():  # no limit is the word "max", or -1
            cores.append(math.ceil(int(quota) / int(period)))
    return max(1, min(cores))


def _places(controller: str, proc: Path, cgroups: Path) -> Iterator[tuple[Path, bool]]:
    """The folders of our cgroup and of those around it; whether each is of version 2."""
    for line in _text(proc / "self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        is_v2 = controllers == ""
        if not is_v2 and controller not in controllers.split(","):
            continue
        root = cgroups if is_v2 else cgroups / controller
        folder = root / path.lstrip("/")
        yield from ((place, is_v2) for place in (folder, *folder.parents) if _is_in(place, root))


def _is_in(place: Path, root: Path) -> bool:
    return place == root or root in place.parents


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another system, or another version of cgroups
        return ""
