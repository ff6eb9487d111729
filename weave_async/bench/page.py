"""A benchmark's result as one HTML page: nothing is loaded from elsewhere, and nothing runs in it.

Pictures need the extra ``[plots]``; without it, the page has the tables, and says so. Names and
messages are of strangers: the template escapes all that it is given.
"""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from weave_async.bench.metrics import DEFINITIONS, PERCENTILES
from weave_async.bench.series import Result, load_of
from weave_async.bench.timeline import Row, Timeline, timeline_of
from weave_async.visible import printable

MOST_NAMES_IN_TITLE = 3
_TITLES = {
    "latency": "Latency against load",
    "throughput": "Throughput against load",
    "timeline": "Latency over time",
    "errors": "Failures by kind",
}
_HOW_TO_READ = {
    "latency": "Flat is good: more load at no cost. Where a line begins to rise, requests wait for "
    "each other. Bars are 95 % intervals; percentiles of too few requests are left out.",
    "throughput": "Bars are 95 % intervals. A line that goes level has come to what the backend "
    "can do: the knee is where that begins, and from there on more load only makes requests wait.",
    "errors": "Of each step with failures, how much of it failed, and of what.",
}


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    how_to_read: str
    svg_base64: str


def page_of(result: Result, rows: Iterable[Row]) -> str:
    """``result`` as of ``BenchmarkResult.as_dict()``; ``rows`` as in ``requests.jsonl``, which are
    read once.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(_FILTERS)
    template = environment.from_string(
        files("weave_async.bench").joinpath("page.html").read_text(encoding="utf-8")
    )
    return template.render(
        result=result,
        title=_title(result),
        has_steps=any(backend["steps"] for backend in result["backends"]),
        plots=_plots(result, rows),
        percentiles=[f"p{percent:g}" for percent in PERCENTILES],
        definitions=DEFINITIONS,
    )


def _plots(result: Result, rows: Iterable[Row]) -> list[Plot] | None:
    """``None`` without the extra."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from weave_async.bench.plots import pictures_of
    from weave_async.pictures import svg_of

    timeline = timeline_of(rows)
    steps = [step for backend in result["backends"] for step in backend["steps"]]
    is_open = all(step["load"]["kind"] != "closed" for step in steps)
    plots = []
    for name, figure in pictures_of(result, timeline).items():
        kind = name.removesuffix("-open")
        title = _TITLES[kind] + (", open loop" if kind != name else "")
        words = _timeline_in_words(timeline) if kind == "timeline" else _HOW_TO_READ[kind]
        if kind == "latency" and (kind != name or is_open):
            words += " Due is when the load meant a request to be sent."
        plots.append(Plot(title, words, base64.b64encode(svg_of(figure)).decode()))
    return plots


def _timeline_in_words(timeline: Timeline) -> str:
    told = (
        "Each dot is a request: when it was meant to be sent, and how long it took from then to "
        "the last byte. Crosses on the upper edge are failures. "
    )
    if timeline.slice_s is not None:
        told = (
            f"Of {timeline.num_requests:,} requests, dots would hide each other: time is cut "
            f"into slices of {timeline.slice_s:.2g} s. A bar is from the fastest to the slowest "
            "request that was meant to be sent within one, the dot is the median, and a cross on "
            "the upper edge says that some failed. "
        )
    told += (
        "Above each step stands the number of its load; its warm-up and what was in flight at its "
        "end are shown, too."
    )
    if len(timeline.tracks) > 1:
        told += " Time in which other backends had their turn is left out."
    return told


def _title(result: Result) -> str:
    names = [backend["name"] for backend in result["backends"]]
    if len(names) > MOST_NAMES_IN_TITLE:
        return f"Benchmark of {len(names)} backends"
    if len(names) < 2:
        return f"Benchmark of {names[0] if names else 'nothing'}"
    return f"Benchmark of {', '.join(names[:-1])} and {names[-1]}"


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _client_in_words(client: Mapping[str, float]) -> str:
    """What its self-check has measured."""
    told = []
    if "cpu" in client:
        told.append(f"CPU {client['cpu']:.0%}")
    if "loop_lag_p99_s" in client:
        told.append(f"late {_ms(client['loop_lag_p99_s'])} ms")
    if "send_delay_p99_s" in client:
        told.append(f"sends {_ms(client['send_delay_p99_s'])} ms")
    return ", ".join(told)


def _remarks(backend: Mapping[str, Any]) -> Iterator[str]:
    """Each once, with the loads that it was made of."""
    loads: dict[str, list[str]] = {}
    failures: dict[str, list[str]] = {}
    examples: dict[str, str] = {}
    for step in backend["steps"]:
        load = str(load_of(step))
        for remark in step["remarks"]:
            loads.setdefault(remark, []).append(load)
        for kind, num in step["errors"].items():
            failures.setdefault(kind, []).append(f"{num:,} at {load}")
            examples.setdefault(kind, step["error_examples"].get(kind, ""))
    for remark, of in loads.items():
        is_always = len(of) == len(backend["steps"]) > 1
        yield f"{'All loads' if is_always else ', '.join(of)}: {remark}"
    for kind, counts in failures.items():
        example = f"; such as: {examples[kind]}" if examples[kind] else ""
        yield f"{kind}: {', '.join(counts)}{example}"


def _shown(value: object) -> object:
    """Markup has been through here already, in parts."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _ms(seconds: float | str | None) -> str:
    """JSON has no infinity: a result tells it as text."""
    if seconds is None:
        return "–"
    return "never" if isinstance(seconds, str) else _rate(1000 * seconds)


def _rate(value: float | None) -> str:
    """To a thousandth of it, roughly: what repeats of a benchmark differ by is more."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    decimals = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}"


_FILTERS: Mapping[str, Callable[[Any], Any]] = {
    "count": lambda value: f"{value:,}",
    "in_words": _client_in_words,
    "latency_name": lambda metric: metric.removesuffix("_s"),
    "load": lambda step: str(load_of(step)),
    "ms": _ms,
    "plain": lambda value: "–" if value is None else f"{value:g}",
    "rate": _rate,
    "remarks": _remarks,
    "when": _when,
}
