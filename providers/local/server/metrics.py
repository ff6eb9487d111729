"""What the server knows of its work, in Prometheus' text format.

Names are vLLM's where it has one, after a prefix of our own. Sequences are observed when they end,
never at a token; what the engine counts is read off its state when somebody asks.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from .generation import EngineState, Generation, Outcome

PREFIX = "weave_async_"
OUTCOMES: Sequence[Outcome] = ("stop", "length", "cancelled", "error")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
RECENT = 0.1  # weight of the newest sequence in the mean of recent ones
MAX_RETRY_AFTER_S = 60


class Histogram:
    def __init__(self, name: str, help: str, bounds: Sequence[float] = SECONDS) -> None:
        self._name = PREFIX + name
        self._help = help
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self) -> Iterator[str]:
        yield from _heading(self._name, "histogram", self._help)
        bounds = [*map(str, self._bounds), "+Inf"]
        for bound, count in zip(bounds, accumulate(self._counts), strict=True):
            yield f'{self._name}_bucket{{le="{bound}"}} {count}'
        yield f"{self._name}_sum {self._sum}"
        yield f"{self._name}_count {sum(self._counts)}"


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of the engine's state."""

    name: str
    kind: str
    help: str
    value: float


class Metrics:
    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._errors: Counter[int] = Counter({400: 0, 429: 0})
        self._recent_running_s: float | None = None
        clock = "monotonic clock of the server process, in seconds"
        self._first_token = Histogram(
            "time_to_first_token_seconds",
            f"From a sequence's submission to the engine to its first token ({clock}).",
        )
        self._per_token = Histogram(
            "request_time_per_output_token_seconds",
            "From a sequence's first token to its end, by the number of tokens after the first "
            f"({clock}).",
            TOKEN_SECONDS,
        )
        self._e2e = Histogram(
            "e2e_request_latency_seconds",
            f"From a sequence's submission to the engine to its end ({clock}).",
        )
        self._queue = Histogram(
            "request_queue_time_seconds",
            f"From a sequence's submission to the engine until it runs ({clock}).",
        )

    def observe(self, generation: Generation, outcome: Outcome) -> None:
        """A sequence has ended. Only those that said all they had to say count for latencies."""
        self._outcomes[outcome] += 1
        submitted_s, admitted_s = generation.submitted_s, generation.admitted_s
        if admitted_s is not None:
            self._queue.observe(admitted_s - submitted_s)
        first_s, ended_s = generation.first_token_s, generation.ended_s
        if outcome not in ("stop", "length") or first_s is None or ended_s is None:
            return
        self._first_token.observe(first_s - submitted_s)
        self._e2e.observe(ended_s - submitted_s)
        if len(generation.tokens) > 1:
            self._per_token.observe((ended_s - first_s) / (len(generation.tokens) - 1))
        running_s = ended_s - (submitted_s if admitted_s is None else admitted_s)
        before_s = running_s if self._recent_running_s is None else self._recent_running_s
        self._recent_running_s = before_s + RECENT * (running_s - before_s)

    def answered_with_error(self, status_code: int) -> None:
        self._errors[status_code] += 1

    def retry_after_s(self, state: EngineState) -> int:
        """Until the sequences waiting now will have run, at the pace of the recent ones."""
        each_s = (self._recent_running_s or 0.0) / max(1, state.num_running)
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(state.num_waiting * each_s)))

    def render(self, state: EngineState) -> str:
        return "\n".join(self._lines(state)) + "\n"

    def _lines(self, state: EngineState) -> Iterator[str]:
        for reading in _readings(state):
            name = PREFIX + reading.name
            yield from _heading(name, reading.kind, reading.help)
            yield f"{name} {reading.value}"
        name = PREFIX + "requests_total"
        yield from _heading(name, "counter", "Sequences ended, `n` for each prompt, by outcome.")
        for outcome, count in self._outcomes.items():
            yield f'{name}{{outcome="{outcome}"}} {count}'
        name = PREFIX + "request_errors_total"
        yield from _heading(
            name, "counter", "HTTP requests for text answered with an error, by status."
        )
        for status, count in sorted(self._errors.items()):
            yield f'{name}{{status="{status}"}} {count}'
        for histogram in (self._first_token, self._per_token, self._e2e, self._queue):
            yield from histogram.lines()


def _readings(state: EngineState) -> Iterator[Reading]:
    used = state.kv_tokens_used / state.kv_tokens_total if state.kv_tokens_total else 0.0
    yield Reading("num_requests_running", "gauge", "Sequences running.", state.num_running)
    yield Reading("num_requests_waiting", "gauge", "Sequences waiting.", state.num_waiting)
    yield Reading("kv_cache_usage_perc", "gauge", "Share of the KV cache in use, 0 to 1.", used)
    yield Reading("kv_cache_tokens_used", "gauge", "KV cache in use.", state.kv_tokens_used)
    yield Reading("kv_cache_tokens", "gauge", "Room of the KV cache.", state.kv_tokens_total)
    yield Reading(
        "prompt_tokens_total", "counter", "Tokens of admitted prompts.", state.prompt_tokens
    )
    yield Reading(
        "generation_tokens_total",
        "counter",
        "Tokens generated, those of cancelled sequences included.",
        state.generated_tokens,
    )
    yield Reading(
        "prefix_cache_queries_total",
        "counter",
        "Prompt tokens looked up in the prefix cache.",
        state.prompt_tokens,
    )
    yield Reading(
        "prefix_cache_hits_total",
        "counter",
        "Prompt tokens found in the prefix cache.",
        state.prefix_tokens_reused,
    )
    yield Reading("engine_steps_total", "counter", "Forward passes.", state.num_steps)
    yield Reading("engine_up", "gauge", "1 unless the engine failed.", int(state.failure is None))


def _heading(name: str, kind: str, help: str) -> tuple[str, str]:
    return f"# HELP {name} {help}", f"# TYPE {name} {kind}"
