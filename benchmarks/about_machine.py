"""What figures were taken on, as a table: without it they are worth nothing elsewhere."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    *("weave-async", "uvloop", "orjson", "aiolimiter", "pyreqwest", "openai", "aiohttp", "httpx"),
    *("numpy", "rensa", "datasketch", "semhash", "onnxruntime", "torch", "transformers"),
)
UNKNOWN = "unknown"


def about_machine() -> str:
    """A table in Markdown: the machine, the versions, how busy it was already, and the date."""
    rows = {
        "processor": f"{_from_proc('cpuinfo', 'model name')}, {platform.machine()}",
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "libraries": ", ".join(_versions()),
        "revision": _revision(),
        "load average": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name} | {what} |" for name, what in rows.items())]
    )


def _from_proc(file: str, name: str) -> str:
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return UNKNOWN
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return UNKNOWN


def _memory() -> str:
    number, _, unit = _from_proc("meminfo", "MemTotal").partition(" ")
    return f"{int(number) / 2**20:.1f} GiB" if unit == "kB" else UNKNOWN


def _versions() -> Iterator[str]:
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def _revision() -> str:
    """Of the checkout; and whether it has changes that nobody else has."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return done.stdout.strip()
