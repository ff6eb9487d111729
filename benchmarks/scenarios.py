"""What a run does apart from being quick: starting, staying small, and keeping to a limit."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from command_line import SPARE_S, Job, command_line, write_rows
from processes import Child, Server, loopback_server
from tables import spread

EARLY_ROWS = 100_000
LOOK_EVERY_S = 0.2


def measure_startup(num_rows: int, repeats: int, in_flight: int, folder: Path) -> dict[str, Any]:
    """Seconds from the start of the process to its first chat request, and of ``--help``."""
    rows = write_rows(folder / "rows.jsonl", num_rows)
    first_request_s, help_s = [], []
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory() as place, loopback_server() as server:
            job = Job(rows, num_rows, server.base_url, in_flight)
            with job.start(Path(place)) as run:
                first_request_s.append(first_request_at_s(server) - run.started_s)
            with command_line(["--help"], Path(place)) as asked:
                help_s.append(asked.wait(timeout_s=SPARE_S).wall_s)
    # The first round may still have compiled modules and filled the page cache.
    return {
        "rows": num_rows,
        "first_request_s": spread(first_request_s[1:]),
        "help_s": spread(help_s[1:]),
    }


def first_request_at_s(server: Server) -> float:
    """By the monotonic clock, once it is there."""
    ends_at_s = time.monotonic() + SPARE_S
    while (seen_s := server.stats()["first_request_s"]) is None:
        if time.monotonic() > ends_at_s:
            raise SystemExit(f"no request within {SPARE_S:.0f} s")
        time.sleep(LOOK_EVERY_S)
    return float(seen_s)


def measure_memory(num_rows: int, in_flight: int, folder: Path) -> dict[str, Any]:
    """Resident memory once an early part of the rows is answered, and at the end."""
    rows = write_rows(folder / "rows.jsonl", num_rows)
    early_rows = min(EARLY_ROWS, num_rows // 10)
    with loopback_server() as server:
        job = Job(rows, num_rows, server.base_url, in_flight)
        with job.start(folder) as run:
            rss_mb = watch(run, server, early_rows, until_s=time.monotonic() + job.timeout_s)
            finished = run.wait(timeout_s=SPARE_S)
    early_rows, last_rows = min(rss_mb), max(rss_mb)  # a look comes when it can, on a busy machine
    return {
        "rows": num_rows,
        "written": job.summary(finished)["written"],
        "early_rows": early_rows,
        "early_rss_mb": rss_mb[early_rows],
        "end_rss_mb": rss_mb[last_rows],
        "growth_mb": rss_mb[last_rows] - rss_mb[early_rows],
        "peak_rss_mb": finished.peak_rss_mb,
        "rss_mb_by_rows": rss_mb,
        "process_rows_per_s": num_rows / finished.wall_s,
    }


def watch(run: Child, server: Server, every_rows: int, until_s: float) -> dict[int, float]:
    """Resident memory by rows answered, each time about ``every_rows`` more are; the last counts.

    The last look is as close to the end of the process as the interval is long.
    """
    rss_mb: dict[int, float] = {}
    last_mb, num_answered = 0.0, 0
    while not run.has_ended() and time.monotonic() < until_s:
        num_answered = server.stats()["answered"]
        last_mb = run.rss_mb() or last_mb
        mark = num_answered // every_rows * every_rows
        if mark:
            rss_mb.setdefault(mark, last_mb)
        time.sleep(LOOK_EVERY_S)
    return rss_mb | {num_answered + 1: last_mb}


def measure_limit(rpm: float, seconds: float, in_flight: int, folder: Path) -> dict[str, Any]:
    """Told the limit that the server enforces: how much of it is used, and how much refused."""
    num_rows = round(rpm / 60 * seconds)
    rows = write_rows(folder / "rows.jsonl", num_rows)
    with loopback_server(rpm=rpm, latency_ms=50) as server:
        job = Job(rows, num_rows, server.base_url, in_flight, requests_per_minute=rpm)
        with job.start(folder) as run:
            finished = run.wait(timeout_s=job.timeout_s)
        stats = server.stats()
    span_s = stats["last_request_s"] - stats["first_request_s"]
    num_sent = stats["answered"] + stats["refused"]
    return {
        "rpm": rpm,
        "seconds": span_s,
        "share_of_limit_used": (stats["answered"] - 1) / span_s / (rpm / 60),
        "share_refused": stats["refused"] / num_sent,
        "failed": job.summary(finished)["failed"],
    }
