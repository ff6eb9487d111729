"""The figures of a run as Prometheus reads them. Nothing is counted here: the ledger has it all.

They are read when somebody asks for them, so that a run costs no more for being watched. Names and
units are by https://prometheus.io/docs/practices/naming/. Labels are names out of the recipe, and
codes of ours; of prompts, answers and keys nothing is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from weave_async.dispatch import Dispatcher
from weave_async.metrics.ledger import RunMetrics
from weave_async.observability.labels import bounded, label_of

PREFIX = "weave_async_"
PERCENTILES = (50, 95, 99)


class WatchedRun(Protocol):
    """What there is to see of a run."""

    @property
    def metrics(self) -> RunMetrics: ...

    @property
    def dispatchers(self) -> Mapping[str, Dispatcher]: ...

    @property
    def cost_usd(self) -> float | None: ...


class RunCollector(Collector):
    """Collects on the thread of the run's event loop: there, the figures agree with each other."""

    def __init__(self, run: WatchedRun) -> None:
        self._run = run

    def collect(self) -> Iterator[Metric]:
        yield from _of_samples(self._run.metrics)
        yield from _of_asking(self._run.metrics)
        yield from _of_endpoints(self._run.dispatchers.values())


class CostCollector(Collector):
    """Collects on any thread, as the first look at a price takes a while."""

    def __init__(self, run: WatchedRun) -> None:
        self._run = run

    def collect(self) -> Iterator[Metric]:
        if (cost_usd := self._run.cost_usd) is not None:
            yield _gauge("cost_usd", "What this run's answers have cost, by list price.", cost_usd)


def _of_samples(metrics: RunMetrics) -> Iterator[Metric]:
    ended = {
        "written": metrics.written,
        "rejected": metrics.rejected.total(),
        "failed": metrics.failed.total(),
    }
    rejected = ((why.partition(": ")[0], count) for why, count in metrics.rejected.items())
    yield _counter("samples", "Samples that have come to their end.", ended, label="outcome")
    yield _gauge("samples_asked", "Samples this run is to end with.", metrics.asked)
    yield _gauge("samples_pending", "Samples that have not come to their end.", metrics.pending)
    yield _gauge("samples_held", "Samples that a final selector decides about.", metrics.held)
    yield _counter("samples_recalled", "Samples answered by an earlier run.", metrics.recalled)
    yield _counter("samples_rejected", "Rejected samples by rule.", bounded(rejected), label="rule")
    yield _counter(
        "samples_failed", "Failed samples by error.", bounded(metrics.failed.items()), label="error"
    )
    diversity = {
        label_of(name): value for name, value in metrics.diversity.items() if value is not None
    }
    yield _gauge("diversity", "What is written, as of the last look.", diversity, label="figure")


def _of_asking(metrics: RunMetrics) -> Iterator[Metric]:
    yield _counter("answers", "Samples that endpoints have answered or failed.", metrics.asked_now)
    retries = bounded(metrics.retries.items())
    yield _counter("retries", "Sendings that brought no answer, by error.", retries, label="error")
    consulted = metrics.consultations
    asked = {
        "answered": consulted.asked - consulted.failed,
        "failed": consulted.failed,
        "recalled": consulted.recalled,
    }
    yield _counter("consultations", "What stages have asked of models.", asked, label="outcome")
    tokens = CounterMetricFamily(
        f"{PREFIX}tokens", "Tokens as endpoints count them.", labels=("endpoint", "direction")
    )
    for name, (num_input, num_output) in metrics.tokens.items():
        tokens.add_metric((label_of(name), "input"), num_input)
        tokens.add_metric((label_of(name), "output"), num_output)
    yield tokens
    yield _durations(metrics)
    yield _gauge("elapsed_seconds", "Wall time of this run.", metrics.elapsed_s)


def _durations(metrics: RunMetrics) -> Metric:
    """Quantiles of the ledger's window: it keeps no sum of all, which a summary may go without."""
    name = f"{PREFIX}request_duration_seconds"
    family = Metric(
        name, "From the send to the last byte, of the last thousand answers.", "summary"
    )
    for percentile in PERCENTILES:
        if (seconds := metrics.e2e_s(percentile)) is not None:
            family.add_sample(name, {"quantile": f"{percentile / 100:g}"}, seconds)
    return family


def _of_endpoints(dispatchers: Iterable[Dispatcher]) -> Iterator[Metric]:
    """Per endpoint: one by one, as they are few, and a name in a recipe is one of them."""
    named = {label_of(each.endpoint.name): each for each in dispatchers}
    gates = {name: each.admission for name, each in named.items()}
    sent = {name: each.num_sent for name, each in named.items()}
    throttled = {name: gate.num_throttled for name, gate in gates.items()}
    outages = {name: gate.breaker.num_outages for name, gate in gates.items()}
    in_flight = {name: gate.in_flight for name, gate in gates.items()}
    waiting = {name: gate.line.num_waiting for name, gate in gates.items()}
    limit = {name: gate.concurrency.limit for name, gate in gates.items()}
    up = {name: gate.breaker.is_closed for name, gate in gates.items()}
    paused = {name: gate.paused_for_s for name, gate in gates.items()}
    by = "endpoint"
    yield _counter("requests", "Requests sent, retries among them.", sent, label=by)
    yield _counter("requests_throttled", "Requests refused with 429.", throttled, label=by)
    yield _counter("outages", "Times an endpoint was found to be down.", outages, label=by)
    yield _gauge("requests_in_flight", "Requests that are out.", in_flight, label=by)
    yield _gauge("requests_waiting", "Requests in line to be sent.", waiting, label=by)
    yield _gauge("concurrency_limit", "Requests that may be out at once.", limit, label=by)
    yield _gauge("endpoint_up", "0 while an endpoint is taken for down.", up, label=by)
    yield _gauge("endpoint_paused_seconds", "Until it may be asked again.", paused, label=by)
    for kind in ("requests", "tokens"):
        per_minute = {name: getattr(gate, f"{kind}_per_minute") for name, gate in gates.items()}
        limited = {name: most for name, most in per_minute.items() if most is not None}
        used = {name: getattr(gates[name], f"{kind}_used") for name in limited}
        what = f"of the limit on {kind}"
        yield _gauge(f"limit_{kind}_per_minute", f"Most a minute {what}.", limited, label=by)
        yield _gauge(f"limit_{kind}_used", f"What has counted {what} so far.", used, label=by)


def _counter(
    name: str, says: str, value: float | Mapping[str, float], *, label: str = ""
) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + name, says, labels=(label,) if label else ())
    for labels, each in _series(value):
        family.add_metric(labels, each)
    return family


def _gauge(
    name: str, says: str, value: float | Mapping[str, float], *, label: str = ""
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, says, labels=(label,) if label else ())
    for labels, each in _series(value):
        family.add_metric(labels, each)
    return family


def _series(value: float | Mapping[str, float]) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(value, Mapping):
        yield from (((name,), each) for name, each in value.items())
    else:
        yield (), value
