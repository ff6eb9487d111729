"""A benchmark's result as a table for a terminal, and what has to be said beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from rich.table import Table

from weave_async.bench.intervals import Figure
from weave_async.bench.metrics import StepFigures
from weave_async.bench.result import BackendResult, BenchmarkResult, is_client_bound

NOT_TOLD = "–"
TAILS = ("p99", "p95", "p90")
LONGEST_NAME = 18
_Row = tuple[BackendResult, int, StepFigures]
_Column = tuple[str, Callable[[_Row], str]]


def table_of(result: BenchmarkResult) -> Table:
    """A row per load and backend. Latencies are in milliseconds; of their tails the table has the
    furthest for which every step has enough requests.
    """
    rows = sorted(
        (
            (backend, number, step)
            for backend in result.backends
            for number, step in enumerate(backend.steps)
        ),
        key=lambda row: row[2].load.level,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    if len(result.backends) > 1:
        table.add_column("\nbackend", overflow="ellipsis", max_width=LONGEST_NAME, no_wrap=True)
    columns = list(_columns(result, rows))
    for header, _ in columns:
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        name = [row[0].name] if len(result.backends) > 1 else []
        table.add_row(*name, *(cell(row) for _, cell in columns))
    return table


def _columns(result: BenchmarkResult, rows: Sequence[_Row]) -> Iterator[_Column]:
    steps = [step for _, _, step in rows]
    is_closed = all(step.load.kind == "closed" for step in steps)
    tail = furthest_tail(steps)
    yield ("in\nflight" if is_closed else "sent\nper s"), lambda row: f"{row[2].load.level:g}"
    yield "req/s\n", lambda row: _rate(row[2].requests_per_s.value)
    if result.objective is not None:
        yield "good/s\n", lambda row: _rate(row[0].goodput_per_s[row[1]])
    yield "tok/s\n", lambda row: _tokens(row[2])
    for metric, name in (
        ("ttft_s", "p50"),
        ("ttft_s", tail),
        ("itl_s", "p50"),
        ("e2e_s" if is_closed else "latency_s", "p50"),
        ("e2e_s" if is_closed else "latency_s", tail),
    ):
        yield _latency_column(metric, name)
    if any(step.num_failed for step in steps):
        yield "failed\n", lambda row: str(row[2].num_failed or "")
    if result.objective is not None:
        yield "slo\n", lambda row: row[0].outcomes[row[1]] or ""
    if any(map(is_client_bound, steps)):
        yield "bound\nby", lambda row: "client" if is_client_bound(row[2]) else ""


def furthest_tail(steps: Sequence[StepFigures]) -> str:
    """The furthest percentile that can be told of each step with answers."""
    answered = [step for step in steps if step.num_answered]
    for name in TAILS:
        if answered and all(step.latency("e2e_s", name) is not None for step in answered):
            return name
    return TAILS[-1]


def _latency_column(metric: str, name: str) -> _Column:
    return (
        f"{metric.removesuffix('_s')} ms\n{name}",
        lambda row: _ms(row[2].latencies.get(metric, {}).get(name)),
    )


def _rate(value: float | None) -> str:
    return NOT_TOLD if value is None else f"{value:,.1f}"


def _tokens(step: StepFigures) -> str:
    estimated = "~" if step.is_estimated else ""
    return f"{estimated}{step.output_tokens_per_s:,.0f}"


def _ms(figure: Figure | None) -> str:
    if figure is None:
        return NOT_TOLD
    if figure.value is None:
        return f"n={figure.n}"
    if math.isinf(figure.value):
        return "never"
    value_ms = figure.value * 1000
    return f"{value_ms:,.0f}" if value_ms >= 1000 else f"{value_ms:.1f}"


def remarks_of(result: BenchmarkResult) -> Iterator[str]:
    """What a reader has to know, by backend."""
    for backend in result.backends:
        for line in _remarks_of(backend, result.objective):
            yield f"{backend.name}{line}"
    steps = [step for backend in result.backends for step in backend.steps]
    if any(_is_untold(step) for step in steps):
        yield "n=… stands where there were too few requests for that percentile: --requests"
    elif steps and (tail := furthest_tail(steps)) != TAILS[0]:
        yield f"{tail} is the furthest that so few requests tell: --requests 500 for p99"
    yield "What each figure means: weave-async bench --definitions"


def _remarks_of(backend: BackendResult, objective: str | None) -> Iterator[str]:
    if backend.problem is not None:
        yield f": {backend.problem}"
    for load in backend.left_out:
        yield f", left out: {load}"
    if backend.limits:
        yield f": kept within its limits: {backend.limits}"
    if (connect := backend.connect) is not None:
        tls = "" if connect.tls_s is None else f", TLS {connect.tls_s * 1000:.1f} ms"
        yield f": a connection takes {connect.connect_s * 1000:.1f} ms{tls}"
    if backend.search is not None:
        yield f": objective {objective}: {backend.search}"
    if backend.capacity is not None:
        yield f": capacity {backend.capacity}"
    if backend.usd_per_million is not None:
        of_input, of_output = backend.usd_per_million
        yield f": ${of_input:.2f} in and ${of_output:.2f} out per 1M tokens, list price"
    yield from _remarks_of_steps(backend)


def _remarks_of_steps(backend: BackendResult) -> Iterator[str]:
    """What holds of all steps is said once."""
    steps = backend.steps
    common = [
        remark
        for remark in dict.fromkeys(remark for step in steps for remark in step.remarks)
        if len(steps) > 1 and all(remark in step.remarks for step in steps)
    ]
    for remark in common:
        yield f": {remark}"
    for step in steps:
        for remark in step.remarks:
            if remark not in common:
                yield f", {step.load}: {remark}"
        for error, count in step.errors.items():
            yield f", {step.load}: {count} × {error}, as: {step.error_examples[error]}"


def _is_untold(step: StepFigures) -> bool:
    figures = [step.latencies.get("e2e_s", {}).get(name) for name in ("p50", TAILS[-1])]
    return any(figure is not None and figure.value is None for figure in figures)
