"""What several processes have counted, as the ledger of the one run that they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from weave_async.metrics.ledger import RunMetrics

_NUMBERS = (
    "asked",
    "recallable",
    "recalled",
    "asked_now",
    "written",
    "copies",
    "num_retryable_failures",
)
_COUNTERS = ("rejected", "failed", "retries")

Counts = Mapping[str, Any]
"""Plain data: it goes from one process to another."""


def counts_of(metrics: RunMetrics) -> Counts:
    return {
        **{name: getattr(metrics, name) for name in _NUMBERS},
        **{name: dict(getattr(metrics, name)) for name in _COUNTERS},
        "failure_examples": dict(metrics.failure_examples),
        "tokens": {name: list(account) for name, account in metrics.tokens.items()},
    }


def count_all(parts: Iterable[Counts], into: RunMetrics, *, num_samples: int) -> None:
    """Set what is counted to the sums. ``num_samples`` are asked for in all, by those too that have
    not begun, besides the copies that noise makes.
    """
    sums = dict.fromkeys(_NUMBERS, 0)
    counters: dict[str, Counter[str]] = {name: Counter() for name in _COUNTERS}
    tokens: dict[str, list[int]] = {}
    for part in parts:
        for name in _NUMBERS:
            sums[name] += part[name]
        for name in _COUNTERS:
            counters[name].update(part[name])
        for error, example in part["failure_examples"].items():
            into.failure_examples.setdefault(error, example)
        for endpoint, (input_tokens, output_tokens) in part["tokens"].items():
            account = tokens.setdefault(endpoint, [0, 0])
            account[0] += input_tokens
            account[1] += output_tokens
    for name, value in {**sums, **counters}.items():
        setattr(into, name, value)
    into.tokens = tokens
    into.asked = num_samples + into.copies
