"""The server whose timing is exact, on its own core, and what its log says of whoever asked it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from processes import HERE, SERVER_CORE, prepare_child

PROGRAM = HERE.parent / "tests" / "bench" / "exact_server.py"
Timing = dict[str, Any]
_open = build_opener(ProxyHandler({})).open


@dataclass(frozen=True, slots=True)
class Log:
    """Of each request when it came and when its chunks left, by the monotonic clock that all
    processes of a machine share. ``answered`` are those whose last chunk has left.
    """

    num_connections: int
    arrived_s: Sequence[float]
    answered: Sequence[Timing]

    def requests_per_s(self, from_s: float, to_s: float) -> float:
        """One that was under way at either end counts by its share of time within.

        Whole answers would not do: of 128 streams, up to 128 end at once.
        """
        num = 0.0
        for each in self.answered:
            begun_s, ended_s = each["arrived_s"], each["written_s"][-1]
            within_s = min(ended_s, to_s) - max(begun_s, from_s)
            if ended_s > begun_s:
                num += max(0.0, within_s / (ended_s - begun_s))
            else:
                num += within_s >= 0
        return num / (to_s - from_s)

    def latencies_s(self, from_s: float, to_s: float) -> dict[str, list[float]]:
        """Of those that came between the two, as they left the server."""
        within = [each for each in self.answered if from_s <= each["arrived_s"] < to_s]
        return {
            "ttft_s": [each["written_s"][0] - each["arrived_s"] for each in within],
            "itl_s": [b - a for each in within for a, b in pairwise(each["written_s"])],
            "tpot_s": [_per_gap(each["written_s"]) for each in within if each["written_s"][1:]],
            "e2e_s": [each["written_s"][-1] - each["arrived_s"] for each in within],
        }


def _per_gap(at_s: Sequence[float]) -> float:
    return (at_s[-1] - at_s[0]) / (len(at_s) - 1)


@dataclass(frozen=True, slots=True)
class ExactServer:
    base_url: str
    num_chunks: int
    pid: int

    def cpu_s(self) -> float:
        """Of its process so far (proc_pid_stat(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> Log:
        with _open(f"{self.base_url.removesuffix('/v1')}/log", timeout=60) as reply:
            told = json.load(reply)
        requests = told["requests"]
        return Log(
            told["connections"] - 1,  # this one
            sorted(each["arrived_s"] for each in requests),
            [each for each in requests if len(each["written_s"]) == self.num_chunks],
        )


@contextmanager
def exact_server(*, ttft_s: float, itl_s: float, tokens: int) -> Iterator[ExactServer]:
    """A fresh one, gone at the end."""
    if not PROGRAM.exists():
        raise SystemExit(f"{PROGRAM} is missing: run this from a checkout, which has the tests")
    options = {"ttft_s": ttft_s, "itl_s": itl_s, "tokens": tokens}
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: prepare_child(SERVER_CORE),
    )
    with process:  # closes its standard input, and waits
        assert process.stdout is not None
        try:
            base_url = json.loads(process.stdout.readline())["base_url"]
            yield ExactServer(base_url, tokens, process.pid)
        finally:
            process.kill()
