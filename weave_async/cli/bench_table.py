"""A benchmark's result as a table for a terminal, and what has to be said beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.table import Table

from weave_async.bench.benchmark import BackendResult, BenchmarkResult, is_client_bound
from weave_async.bench.intervals import Figure
from weave_async.bench.metrics import StepFigures

NOT_TOLD = "–"
_LATENCIES = (
    ("ttft_s", "p50"),
    ("ttft_s", "p99"),
    ("itl_s", "p50"),
    ("e2e_s", "p50"),
    ("e2e_s", "p99"),
)


def table_of(result: BenchmarkResult) -> Table:
    """A row per backend and load. Latencies are in milliseconds."""
    table = Table(title_justify="left", header_style="", show_edge=False, pad_edge=False)
    table.add_column("backend")
    table.add_column("load", no_wrap=True)
    for name in ("req/s", "tok/s", *(_column(*each) for each in _LATENCIES), "failed", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for backend in result.backends:
        for number, step in enumerate(backend.steps):
            table.add_row(backend.name if not number else "", *_cells(backend, number, step))
    return table


def _column(metric: str, name: str) -> str:
    return f"{metric.removesuffix('_s')} {name} ms"


def _cells(backend: BackendResult, number: int, step: StepFigures) -> list[str]:
    estimated = "~" if step.is_estimated else ""
    outcome = backend.outcomes[number]
    marks: list[str] = [outcome] if outcome is not None else []
    if is_client_bound(step):
        marks.append("CLIENT-BOUND")
    return [
        str(step.load),
        _rate(step.requests_per_s),
        f"{estimated}{step.output_tokens_per_s:,.0f}",
        *(_ms(step.latencies.get(metric, {}).get(name)) for metric, name in _LATENCIES),
        f"{step.num_failed}" if step.num_failed else "",
        " ".join(marks),
    ]


def _rate(figure: Figure) -> str:
    return NOT_TOLD if figure.value is None else f"{figure.value:,.1f}"


def _ms(figure: Figure | None) -> str:
    if figure is None:
        return NOT_TOLD
    if figure.value is None:
        return f"n={figure.n}"
    return "never" if math.isinf(figure.value) else f"{figure.value * 1000:,.1f}"


def remarks_of(result: BenchmarkResult) -> Iterator[str]:
    """What a reader has to know, by backend."""
    for backend in result.backends:
        for line in _remarks_of(backend, result.objective):
            yield f"{backend.name}{line}"
    if any(_is_untold(step) for backend in result.backends for step in backend.steps):
        yield (
            "n=… stands where there were too few requests for that percentile: "
            "--requests, --longest"
        )
    yield "What each figure means: weave-async bench --definitions"


def _remarks_of(backend: BackendResult, objective: str | None) -> Iterator[str]:
    if backend.problem is not None:
        yield f": {backend.problem}"
    if backend.limits:
        yield f": kept within its limits: {backend.limits}"
    if (connect := backend.connect) is not None:
        tls = "" if connect.tls_s is None else f", TLS {connect.tls_s * 1000:.1f} ms"
        yield f": a connection takes {connect.connect_s * 1000:.1f} ms{tls}"
    if backend.search is not None:
        yield f": objective {objective}: {backend.search}"
    elif backend.capacity is not None:
        yield f": capacity {backend.capacity}"
    if backend.usd_per_million is not None:
        of_input, of_output = backend.usd_per_million
        yield f": ${of_input:.2f} in and ${of_output:.2f} out per 1M tokens, list price"
    for step in backend.steps:
        for remark in step.remarks:
            yield f", {step.load}: {remark}"
        for error, count in step.errors.items():
            yield f", {step.load}: {count} × {error}, as: {step.error_examples[error]}"


def _is_untold(step: StepFigures) -> bool:
    figures = [step.latencies.get(metric, {}).get(name) for metric, name in _LATENCIES]
    return any(figure is not None and figure.value is None for figure in figures)
