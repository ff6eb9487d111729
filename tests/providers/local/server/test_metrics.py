"""What /metrics says, line by line, as Prometheus reads it."""

from __future__ import annotations

import asyncio
import re

import pytest

from providers.local.server.generation import EngineState, Generation, GenerationRequest, Sampling
from providers.local.server.metrics import Metrics

STATE = EngineState(
    num_running=3,
    num_waiting=5,
    generated_tokens=700,
    failure=None,
    kv_tokens_used=250,
    kv_tokens_total=1000,
    prompt_tokens=900,
    prefix_tokens_reused=600,
    num_steps=42,
)
LINE = re.compile(r'[a-z0-9_]+(\{[a-z]+="[^"]+"\})? -?[0-9.e+-]+')


def ended(*, queue_s: float, first_token_s: float, e2e_s: float, num_tokens: int) -> Generation:
    """A sequence whose moments lie so many seconds after its submission."""
    request = GenerationRequest([1], 100, Sampling(), frozenset())
    generation = Generation("x", request, asyncio.Event(), tokens=[7] * num_tokens)
    generation.submitted_s = 1000.0
    generation.admitted_s = 1000.0 + queue_s
    generation.first_token_s = 1000.0 + first_token_s
    generation.ended_s = 1000.0 + e2e_s
    return generation


def samples(metrics: Metrics, state: EngineState = STATE) -> dict[str, float]:
    lines = [line for line in metrics.render(state).splitlines() if not line.startswith("#")]
    return {
        name.removeprefix("weave_async_"): float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines)
    }


def test_every_line_is_a_sample_under_its_own_help_and_type() -> None:
    metrics = Metrics()
    metrics.observe(ended(queue_s=0.1, first_token_s=0.5, e2e_s=2, num_tokens=4), "stop")
    name = ""
    for line in metrics.render(STATE).splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2] == name
            assert line.split()[3] in ("counter", "gauge", "histogram")
        else:
            assert LINE.fullmatch(line), line
            assert line.startswith(name)


def test_the_engines_state_is_told_as_it_is() -> None:
    told = samples(Metrics())
    assert told["num_requests_running"] == 3
    assert told["num_requests_waiting"] == 5
    assert told["kv_cache_usage_perc"] == 0.25
    assert told["generation_tokens_total"] == 700
    assert told["prompt_tokens_total"] == told["prefix_cache_queries_total"] == 900
    assert told["prefix_cache_hits_total"] == 600
    assert told["engine_up"] == 1


def test_latencies_are_measured_from_the_submission() -> None:
    metrics = Metrics()
    metrics.observe(ended(queue_s=0.25, first_token_s=0.5, e2e_s=2.0, num_tokens=4), "length")
    told = samples(metrics)
    assert told["request_queue_time_seconds_sum"] == 0.25
    assert told["time_to_first_token_seconds_sum"] == 0.5
    assert told["e2e_request_latency_seconds_sum"] == 2.0
    assert told["request_time_per_output_token_seconds_sum"] == 0.5  # 1.5 s, 3 tokens
    assert told['time_to_first_token_seconds_bucket{le="0.25"}'] == 0
    assert told['time_to_first_token_seconds_bucket{le="0.5"}'] == 1
    assert told['time_to_first_token_seconds_bucket{le="+Inf"}'] == 1


def test_sequences_that_were_broken_off_are_counted_and_not_timed() -> None:
    metrics = Metrics()
    cut = ended(queue_s=0.25, first_token_s=0.5, e2e_s=2.0, num_tokens=4)
    metrics.observe(cut, "cancelled")
    metrics.observe(cut, "error")
    told = samples(metrics)
    assert told['requests_total{outcome="cancelled"}'] == 1
    assert told['requests_total{outcome="error"}'] == 1
    assert told['requests_total{outcome="stop"}'] == 0
    assert told["e2e_request_latency_seconds_count"] == 0


@pytest.mark.parametrize(
    ("num_running", "num_waiting", "wait_s"), [(4, 8, 20), (4, 0, 1), (0, 3, 30), (1, 500, 60)]
)
def test_refused_clients_are_to_wait_for_those_before_them(
    num_running: int, num_waiting: int, wait_s: int
) -> None:
    metrics = Metrics()
    metrics.observe(ended(queue_s=90, first_token_s=91, e2e_s=100, num_tokens=4), "stop")
    assert metrics.retry_after_s(EngineState(num_running, num_waiting, 0, None)) == wait_s


def test_without_experience_the_wait_is_a_second() -> None:
    assert Metrics().retry_after_s(EngineState(4, 100, 0, None)) == 1
