"""How fast answers came: percentiles by model, and a run's time cut into slices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from weave_async.report.calls import Calls

Floats = NDArray[np.float64]
NUM_SLICES = 60
PERCENTILES = (50, 90, 95, 99)
MIN_BEYOND = 5
"""A percentile is told where so many answers lie beyond it: else a few would make it up."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of the answers of one model at one endpoint. ``percentiles_s`` are ``None`` where so few
    answers do not tell them.
    """

    endpoint: str
    model: str
    num_answers: int
    num_timed: int
    percentiles_s: tuple[float | None, ...]
    slowest_s: float | None
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Slices:
    """A run's time in equal slices: ``edges_s`` has one more than the others.

    Where a slice has no answer, its latencies are NaN.
    """

    edges_s: Floats
    p50_s: Floats
    p95_s: Floats
    answers_per_s: Floats
    tokens_per_s: Floats
    missed_per_s: Floats
    begun_s: tuple[float, ...]

    @property
    def middles_s(self) -> Floats:
        return (self.edges_s[1:] + self.edges_s[:-1]) / 2

    @property
    def slice_s(self) -> float:
        return float(self.edges_s[1] - self.edges_s[0])


def latencies_of(calls: Calls) -> list[Latencies]:
    """Who has answered most comes first."""
    told = []
    for (endpoint, model), answers in calls.answers.items():
        e2e_s = _timed(np.asarray(answers.e2e_s, np.float64))
        told.append(
            Latencies(
                endpoint,
                model,
                len(answers.e2e_s),
                len(e2e_s),
                tuple(_percentile(e2e_s, percent) for percent in PERCENTILES),
                float(e2e_s.max()) if len(e2e_s) else None,
                answers.input_tokens,
                int(np.nansum(np.asarray(answers.output_tokens, np.float64))),
            )
        )
    return sorted(told, key=lambda each: (-each.num_answers, each.endpoint, each.model))


def slices_of(calls: Calls) -> Slices | None:
    """``None`` where nothing was answered, or all at once."""
    if not calls.num_answers or calls.last_s <= 0:
        return None
    at_s, e2e_s, tokens = (
        np.concatenate([np.asarray(getattr(each, name), np.float64) for each in sellers])
        for sellers in [list(calls.answers.values())]
        for name in ("at_s", "e2e_s", "output_tokens")
    )
    edges_s = np.linspace(0, calls.last_s, min(NUM_SLICES, max(8, calls.num_answers // 10)) + 1)
    length_s = edges_s[1] - edges_s[0]
    places = np.clip(np.searchsorted(edges_s, at_s, side="right") - 1, 0, len(edges_s) - 2)
    num = len(edges_s) - 1
    p50_s, p95_s = np.full(num, np.nan), np.full(num, np.nan)
    for place in range(num):
        timed = _timed(e2e_s[places == place])
        if len(timed):
            p50_s[place], p95_s[place] = np.percentile(timed, (50, 95))
    missed, _ = np.histogram(np.asarray(calls.missed_at_s, np.float64), bins=edges_s)
    return Slices(
        edges_s=edges_s,
        p50_s=p50_s,
        p95_s=p95_s,
        answers_per_s=np.bincount(places, minlength=num) / length_s,
        tokens_per_s=np.bincount(places, weights=tokens, minlength=num) / length_s,
        missed_per_s=missed / length_s,
        begun_s=tuple(calls.begun_s),
    )


def begun_at(calls: Calls) -> str | None:
    """When the first session began, by the calendar."""
    for moment in calls.begun_at:
        try:
            return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
        except (OverflowError, ValueError, OSError):  # a time that no calendar has
            continue
    return None


def _percentile(values: Floats, percent: int) -> float | None:
    if len(values) * (100 - percent) < 100 * MIN_BEYOND:
        return None
    return float(np.percentile(values, percent))


def _timed(e2e_s: Floats) -> Floats:
    kept: Floats = e2e_s[np.isfinite(e2e_s)]
    return kept
