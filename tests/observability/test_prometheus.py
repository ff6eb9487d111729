"""What Prometheus is shown of a run: figures that agree, under bounded names and labels."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra prometheus")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from providers.simulated import SimulatedProvider
from weave_async.dispatch import Dispatcher
from weave_async.errors import RateLimitError
from weave_async.flow.retry import Backoff
from weave_async.metrics.ledger import RunMetrics
from weave_async.observability.prometheus import CostCollector, RunCollector
from weave_async.records import Endpoint, Failure, Message, Request, Response, SamplingParams
from weave_async.testing.virtual_time import run_in_virtual_time

REQUEST = Request("id", "m", (Message("user", "hello"),), SamplingParams(max_tokens=5))
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class SilentLog:
    def sent(self, request: Request, *, tokens: int) -> None: ...

    def missed(self, request: Request, failure: Failure) -> None: ...


class OnceThrottledProvider(SimulatedProvider):
    """Goes too fast once."""

    num_asked = 0

    async def complete(self, request: Request) -> Response:
        self.num_asked += 1
        if self.num_asked == 1:
            raise RateLimitError("slow down", retry_after_s=1.0)
        return await super().complete(request)


def dispatcher_of(endpoint: Endpoint, provider: SimulatedProvider | None = None) -> Dispatcher:
    return Dispatcher(
        endpoint,
        provider or SimulatedProvider(endpoint),
        backoff=Backoff(attempts=2),
        on_retry=lambda code: None,
        log=SilentLog(),
        epoch=1,
        max_concurrency=7,
    )


def figures_of(
    metrics: RunMetrics,
    dispatchers: Mapping[str, Dispatcher] | None = None,
    cost_usd: float | None = None,
) -> Figures:
    watched = SimpleNamespace(metrics=metrics, dispatchers=dispatchers or {}, cost_usd=cost_usd)
    return parsed([RunCollector(watched), CostCollector(watched)])


def parsed(collectors: Iterable[Collector]) -> Figures:
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    generate_openmetrics(registry)  # stricter, and what Prometheus asks for first
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    figures = {
        (each.name.removeprefix("weave_async_"), tuple(sorted(each.labels.items()))): each.value
        for each in samples
    }
    assert len(figures) == len(samples), "two series bear the same labels"
    return figures


def value(figures: Figures, name: str, **labels: str) -> float:
    return figures[name, tuple(sorted(labels.items()))]


def test_samples_are_told_by_how_they_ended_and_add_up() -> None:
    metrics = RunMetrics(asked=20, written=9)
    metrics.rejected.update({"length: too_short": 3, "length: too_long": 1, "exact: duplicate": 2})
    metrics.failed.update({"server": 2})
    figures = figures_of(metrics)
    ends = {end: value(figures, "samples_total", outcome=end) for end in ("written", "rejected")}
    assert ends == {"written": 9, "rejected": 6}
    assert value(figures, "samples_total", outcome="failed") == 2
    assert value(figures, "samples_asked") == 20
    assert value(figures, "samples_pending") == 3
    assert value(figures, "samples_rejected_total", rule="length") == 4
    assert value(figures, "samples_rejected_total", rule="exact") == 2
    assert value(figures, "samples_failed_total", error="server") == 2


def test_a_reason_that_a_rule_has_made_up_shows_nothing_of_it() -> None:
    metrics = RunMetrics()
    for number in range(1000):
        metrics.rejected[f"mine: row {number} said SECRET"] += 1
    figures = figures_of(metrics)
    assert value(figures, "samples_rejected_total", rule="mine") == 1000
    assert "SECRET" not in str(figures)


def test_tokens_and_durations_are_those_of_the_ledger(make_sample: Any) -> None:
    metrics = RunMetrics(tokens={"a": [10, 20], "b": [1, 2]})
    for e2e_s in (1.0, 2.0, 3.0):
        metrics.count_answer(make_sample(response=Response("x", "stop", e2e_s=e2e_s)))
    figures = figures_of(metrics, cost_usd=0.5)
    assert value(figures, "tokens_total", endpoint="a", direction="output") == 20
    assert value(figures, "tokens_total", endpoint="b", direction="input") == 1
    assert value(figures, "request_duration_seconds", quantile="0.5") == 2.0
    assert value(figures, "answers_total") == 3
    assert value(figures, "cost_usd") == 0.5


def test_what_is_not_known_is_left_out() -> None:
    names = {name for name, _ in figures_of(RunMetrics(diversity={"distinct_1": 0.5}))}
    assert "cost_usd" not in names
    assert "request_duration_seconds" not in names
    assert "diversity" in names


def test_an_endpoint_tells_what_was_sent_and_how_its_limits_are_used() -> None:
    endpoint = Endpoint("fast", "simulated", "m", requests_per_minute=600)

    async def scenario() -> Figures:
        async with dispatcher_of(endpoint, OnceThrottledProvider(endpoint)) as dispatcher:
            await dispatcher.dispatch(REQUEST)
            return figures_of(RunMetrics(), {"fast": dispatcher})

    figures = run_in_virtual_time(scenario())
    assert value(figures, "requests_total", endpoint="fast") == 2
    assert value(figures, "requests_throttled_total", endpoint="fast") == 1
    assert value(figures, "requests_in_flight", endpoint="fast") == 0
    assert value(figures, "concurrency_limit", endpoint="fast") == 7
    assert value(figures, "endpoint_up", endpoint="fast") == 1
    assert value(figures, "limit_requests_per_minute", endpoint="fast") == 600
    assert value(figures, "limit_requests_used", endpoint="fast") == 2
    assert not any(name.startswith("limit_tokens") for name, _ in figures)


def test_names_that_would_break_the_page_do_not() -> None:
    hostile = 'a"\n} 1\nevil_total 7\ud800\u202e'

    async def scenario() -> Figures:
        dispatcher = dispatcher_of(Endpoint(hostile, "simulated", "m"))
        metrics = RunMetrics(tokens={hostile: [1, 1]})
        metrics.rejected[f"{hostile}: why"] = 1
        return figures_of(metrics, {hostile: dispatcher})

    figures = asyncio.run(scenario())
    assert not any(name.startswith("evil") for name, _ in figures)
    assert value(figures, "requests_total", endpoint='a"�} 1�evil_total 7��') == 0


def test_the_page_in_docs_names_every_figure() -> None:
    endpoint = Endpoint("e", "simulated", "m", requests_per_minute=60, tokens_per_minute=600)

    async def scenario() -> set[str]:
        metrics = RunMetrics(tokens={"e": [1, 1]}, diversity={"distinct_1": 0.5})
        watched = SimpleNamespace(
            metrics=metrics, dispatchers={"e": dispatcher_of(endpoint)}, cost_usd=1.0
        )
        families = [*RunCollector(watched).collect(), *CostCollector(watched).collect()]
        counters = {f"{each.name}_total" for each in families if each.type == "counter"}
        return counters | {each.name for each in families if each.type != "counter"}

    page = (Path(__file__).parents[2] / "docs/observability.md").read_text()
    names = {name.removeprefix("weave_async_") for name in asyncio.run(scenario())}
    assert {name for name in names if f"`{name}`" not in page} == set()
