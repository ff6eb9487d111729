"""The whole path, as users start it: ``weave-async run`` from rows on disk to a dataset on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import HERE, Child, Finished
from weave_async.journal import frames

TEMPLATE = "How do I {{ verb }} my {{ noun }}? My customer number is {{ number }}."
VERBS = ("block", "replace", "activate", "dispute", "top up", "close")
NOUNS = ("debit card", "credit card", "savings account", "last payment", "standing order")
NOT_BINDING_RPM, NOT_BINDING_TPM = 10_000_000, 100_000_000_000
SPARE_S, SLOWEST_ROWS_PER_S = 120.0, 300


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the command line, with both limits on."""

    rows: Path
    num_rows: int
    base_url: str
    in_flight: int
    latency_s: float = 0.0
    requests_per_minute: float = NOT_BINDING_RPM

    @property
    def timeout_s(self) -> float:
        """Far more than it takes, and yet an end."""
        waiting_s = self.num_rows * (
            self.latency_s / self.in_flight + 60 / self.requests_per_minute
        )
        return SPARE_S + self.num_rows / SLOWEST_ROWS_PER_S + 3 * waiting_s

    def arguments(self, output: Path) -> list[str]:
        return [
            "run",
            *("--prompts", str(self.rows), "--template", TEMPLATE),
            *("-p", "openai_compatible", "-m", "m", "--base-url", self.base_url),
            *("-c", str(self.in_flight), "-o", str(output), "--json"),
            *("--rpm", str(self.requests_per_minute), "--tpm", str(NOT_BINDING_TPM)),
        ]

    def start(self, folder: Path) -> Child:
        """``output_of(folder)`` will be its run folder."""
        return command_line(self.arguments(output_of(folder)), folder)

    def start_sampled(self, folder: Path) -> Child:
        """The same under the profiler, which leaves ``parts.json`` in ``folder``."""
        program = [HERE / "cpu_sampler.py", folder / "parts.json"]
        return Child([*program, *self.arguments(output_of(folder))], folder)

    def summary(self, finished: Finished) -> dict[str, Any]:
        """What the run says of itself; it must have asked for every row."""
        summary: dict[str, Any] = json.loads(finished.stdout)
        if summary["asked"] != self.num_rows:
            raise SystemExit(f"{self.num_rows} rows went in, {summary['asked']} were asked for")
        return summary


def command_line(arguments: Sequence[str], folder: Path) -> Child:
    return Child(["-m", "weave_async.cli", *arguments], folder)


def output_of(folder: Path) -> Path:
    return folder / "run"


def write_rows(path: Path, num_rows: int) -> Path:
    with path.open("w") as file:
        for number in range(num_rows):
            verb, noun = VERBS[number % len(VERBS)], NOUNS[number % len(NOUNS)]
            file.write(json.dumps({"verb": verb, "noun": noun, "number": number}) + "\n")
    return path


def e2e_s(folder: Path) -> Iterator[float]:
    """Send to answer, as the run measured each request, in the order in which they were answered.

    The journal is the only file that has it.
    """
    for segment in sorted((output_of(folder) / "journal").glob("*.log")):
        with segment.open("rb") as file:
            for _, body in frames.scan(file):
                response = json.loads(body).get("response") or {}
                if response.get("e2e_s") is not None:
                    yield response["e2e_s"]
