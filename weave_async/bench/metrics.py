"""The figures of a step, each defined once: ``--definitions`` prints them.

Latencies are those of answers; failures are counted apart, by kind. Beside each percentile stands
the one in which a failure takes for ever: an endpoint must not look fast for refusing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from weave_async.bench.attempt import Attempt
from weave_async.bench.intervals import Figure, percentile
from weave_async.bench.load import MOST_OUT, Load, Window
from weave_async.metrics.wilson import Z_975

PERCENTILES = (50.0, 90.0, 95.0, 99.0)
DEFINITIONS = {
    "requests_per_s": "Requests answered per second of the step. One that was in flight at either "
    "end counts by the share of its time that lies within.",
    "output_tokens_per_s": "Output tokens per second of the step, each counted when its chunk "
    "came; the endpoint's own count (`usage`), shared out evenly over the chunks.",
    "input_tokens_per_s": "Input tokens of the requests answered per second, as the "
    "endpoint counts.",
    "ttft_s": "Seconds from the send to the first chunk with text, reasoning or a tool call; a "
    "chunk that has only a role does not count.",
    "itl_s": "Seconds from one such chunk to the next, of all answers. A chunk may hold several "
    "tokens: see tokens_per_chunk.",
    "tpot_s": "Seconds per output token behind the first chunk: (last chunk - first chunk) / "
    "(output tokens - 1).",
    "e2e_s": "Seconds from the send to the last byte, without queue_s.",
    "latency_s": "Seconds from when the request was meant to be sent to the last byte: with "
    "queue_s.",
    "queue_s": "Seconds from when a request was meant to be sent to when it was: our own waiting, "
    "for the limits that were set, or since the client was late.",
    "tokens_per_chunk": "Output tokens per chunk, median: above 1, the endpoint bundles them.",
    "goodput_per_s": "Requests per second that were answered within the objective (--slo).",
    "connect_s": "Seconds to open a TCP connection, measured apart, on connections of its own.",
    "tls_s": "Seconds of the TLS handshake after that.",
}
_LATENCIES: Mapping[str, Callable[[Attempt], float | None]] = {
    "ttft_s": lambda attempt: attempt.ttft_s,
    "tpot_s": lambda attempt: attempt.tpot_s,
    "e2e_s": lambda attempt: attempt.e2e_s,
    "latency_s": lambda attempt: attempt.ended_s - attempt.intended_s,
    "queue_s": lambda attempt: attempt.queue_s,
}
BUNDLED = 1.5
"""Tokens per chunk from which on chunks are no tokens."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one endpoint did under one load.

    ``latencies`` and ``with_failures`` hold figures by metric and percentile: ``ttft_s``, ``p50``.
    ``remarks`` are what a reader has to know to believe the others.
    """

    load: Load
    duration_s: float
    num_answered: int
    num_failed: int
    errors: Mapping[str, int]
    error_examples: Mapping[str, str]
    requests_per_s: Figure
    output_tokens_per_s: float
    input_tokens_per_s: float | None
    latencies: Mapping[str, Mapping[str, Figure]]
    with_failures: Mapping[str, Mapping[str, Figure]]
    tokens_per_chunk: float | None
    is_estimated: bool
    is_streamed: bool
    client: Mapping[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    def latency(self, metric: str, name: str = "p50") -> float | None:
        """A percentile of the answers, if there are enough to tell it."""
        figure = self.latencies.get(metric, {}).get(name)
        return None if figure is None else figure.value

    def as_dict(self) -> dict[str, Any]:
        def told(of: Mapping[str, Mapping[str, Figure]]) -> dict[str, Any]:
            return {
                metric: {name: _finite(figure) for name, figure in figures.items()}
                for metric, figures in of.items()
            }

        return {
            "load": {"kind": self.load.kind, "level": self.load.level},
            "duration_s": round(self.duration_s, 3),
            "answered": self.num_answered,
            "failed": self.num_failed,
            "errors": dict(self.errors),
            "error_examples": dict(self.error_examples),
            "requests_per_s": self.requests_per_s.as_dict(),
            "output_tokens_per_s": self.output_tokens_per_s,
            "input_tokens_per_s": self.input_tokens_per_s,
            "tokens_are_estimated": self.is_estimated,
            "is_streamed": self.is_streamed,
            "tokens_per_chunk": self.tokens_per_chunk,
            "latencies": told(self.latencies),
            "latencies_with_failures": told(self.with_failures),
            "client": dict(self.client),
            "remarks": list(self.remarks),
        }


def figures_of(window: Window, *, client: Mapping[str, float], seed: int = 0) -> StepFigures:
    """The figures of what was measured. ``client`` is what the self-check has found."""
    measured = window.measured
    good = [each for each in measured if each.is_good]
    bad = [each for each in measured if not each.is_good]
    per_chunk = [share for each in good if (share := each.tokens_per_chunk) is not None]
    tokens_per_chunk = round(median(per_chunk), 2) if per_chunk else None
    examples: dict[str, str] = {}
    for each in bad:
        examples.setdefault(each.error or "", each.message or "")
    return StepFigures(
        load=window.load,
        duration_s=window.duration_s,
        num_answered=len(good),
        num_failed=len(bad),
        errors=Counter(each.error or "" for each in bad),
        error_examples=examples,
        requests_per_s=_requests_per_s(window),
        output_tokens_per_s=_output_tokens_per_s(window),
        input_tokens_per_s=_input_tokens_per_s(window),
        latencies=_latencies(good, good, seed),
        with_failures=_latencies(good, measured, seed),
        tokens_per_chunk=tokens_per_chunk,
        is_estimated=any(each.is_estimated for each in good),
        is_streamed=any(len(each.came_s) > 1 for each in good),
        client=client,
        remarks=_remarks(window, good, tokens_per_chunk),
    )


def _remarks(window: Window, good: Sequence[Attempt], tokens_per_chunk: float | None) -> list[str]:
    remarks = []
    if window.gave_up:
        remarks.append("given up: the first requests have all failed")
    if window.num_cut_off:
        remarks.append(f"{window.num_cut_off} requests had not ended long after the step: given up")
    if window.num_unsent:
        remarks.append(f"{window.num_unsent} requests were not sent: {MOST_OUT} were in flight")
    if window.interrupted:
        remarks.append("interrupted: what was in flight then is not in the figures")
    if good and not any(len(each.came_s) > 1 for each in good):
        remarks.append("it does not stream: ttft_s is the time of the whole answer, itl_s unknown")
    elif tokens_per_chunk is not None and tokens_per_chunk >= BUNDLED:
        remarks.append(
            f"{tokens_per_chunk:g} tokens per chunk: itl_s is between chunks, not tokens"
        )
    if any(each.is_estimated for each in good):
        remarks.append("it reports no usage: output tokens are estimated from characters")
    return remarks


def _share_within(window: Window, attempt: Attempt) -> float:
    """The share of a request's time that lies within the window."""
    begun_s, ended_s = max(attempt.sent_s, window.from_s), min(attempt.ended_s, window.to_s)
    if ended_s < begun_s:
        return 0.0
    duration_s = attempt.ended_s - attempt.sent_s
    return (ended_s - begun_s) / duration_s if duration_s > 0 else 1.0


def goodput_per_s(window: Window, meets: Callable[[Attempt], bool]) -> float | None:
    """Of what was answered per second, what met something."""
    if window.duration_s <= 0:
        return None
    good = (each for each in window.attempts if each.is_good and meets(each))
    return sum(_share_within(window, each) for each in good) / window.duration_s


def _requests_per_s(window: Window) -> Figure:
    if window.duration_s <= 0:
        return Figure(None, None, None, 0)
    shares = [_share_within(window, each) for each in window.attempts if each.is_good]
    num = sum(shares)
    half = Z_975 * math.sqrt(num) * _variation(window)
    low, high = max(0.0, num - half), num + half
    n = sum(share > 0 for share in shares)
    return Figure(num / window.duration_s, low / window.duration_s, high / window.duration_s, n)


def _variation(window: Window) -> float:
    """Of what lies between two answers, beside its mean: a renewal process counts with that much
    noise (Cox, 1962). In a closed loop it is the time that answers take; where requests come at
    random, it is theirs.
    """
    if window.load.kind == "poisson":
        return 1.0
    times = [each.e2e_s for each in window.attempts if each.is_good]
    if len(times) < 2:
        return 1.0
    mean_s = sum(times) / len(times)
    variance = sum((each - mean_s) ** 2 for each in times) / (len(times) - 1)
    return math.sqrt(variance) / mean_s if mean_s > 0 else 0.0


def _output_tokens_per_s(window: Window) -> float:
    num = 0.0
    for each in window.attempts:
        if not each.is_good or not each.came_s:
            continue
        if len(each.came_s) == 1:
            num += each.output_tokens * _share_within(window, each)
            continue
        within = sum(window.from_s <= at_s < window.to_s for at_s in each.came_s)
        num += each.output_tokens * within / len(each.came_s)
    return num / window.duration_s if window.duration_s > 0 else 0.0


def _input_tokens_per_s(window: Window) -> float | None:
    good = [each for each in window.attempts if each.is_good]
    if not good or any(each.input_tokens is None for each in good) or window.duration_s <= 0:
        return None
    num = sum((each.input_tokens or 0) * _share_within(window, each) for each in good)
    return num / window.duration_s


def _latencies(
    good: Sequence[Attempt], judged: Sequence[Attempt], seed: int
) -> dict[str, dict[str, Figure]]:
    told = {}
    for metric, of in _LATENCIES.items():
        values = [value for each in good if (value := of(each)) is not None]
        if values or len(judged) > len(good):
            values += [math.inf] * (len(judged) - len(good))
            told[metric] = _percentiles(values, seed)
    gaps = [gap for each in good for gap in each.itl_s]
    if gaps and len(judged) == len(good):
        told["itl_s"] = _percentiles(gaps, seed)
    return told


def _percentiles(values: Sequence[float], seed: int) -> dict[str, Figure]:
    return {f"p{percent:g}": percentile(values, percent, seed=seed) for percent in PERCENTILES}


def _finite(figure: Figure) -> dict[str, Any]:
    """JSON has no infinity: it is told as text."""
    return {
        key: "inf" if isinstance(value, float) and math.isinf(value) else value
        for key, value in figure.as_dict().items()
    }
