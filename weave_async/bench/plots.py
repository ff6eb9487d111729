"""The pictures of a benchmark's result, by matplotlib: the extra ``[plots]``.

Figures are made without pyplot, which would keep each of them for the life of the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from weave_async.bench.drawing import (
    colour_of,
    draw_lines,
    figure_for,
    legend_of,
    lines_of,
    place_legend,
    set_level_axis,
    set_value_axis,
)
from weave_async.bench.series import (
    Bar,
    Family,
    Result,
    Series,
    Step,
    bar_of,
    failing,
    load_of,
    series_of,
    short,
    tail_of,
)
from weave_async.bench.timeline import Row, Timeline, timeline_of
from weave_async.bench.timeline_plot import timeline_figure
from weave_async.pictures import styled

PNG_DPI = 150
MOST_FAILING_SHOWN = 40
MOST_KINDS_SHOWN = 6
STEADY = ("constant", "poisson")
"""Kinds of load whose level is what was sent per second, all the time."""
_KINDS = (
    *(("#444444", ""), ("#dddddd", "//"), ("#999999", "||"), ("#f4f4f4", "xx")),
    *(("#bbbbbb", "\\\\"), ("#ffffff", "++"), ("#ffffff", "")),
)
"""Face and hatch, by how many there are; the last for all others."""
_CAPACITY: Mapping[str, Any] = {
    "label": "capacity, from the knee on",
    "linestyle": (0, (1, 3)),
    "linewidth": 1.1,
    "zorder": 1.5,
}
_AS_SENT: Mapping[str, Any] = {
    "label": "the load's own rate",
    "color": "#888888",
    "linewidth": 0.8,
    "zorder": 1,
}


def pictures_of(result: Result, timeline: Timeline) -> dict[str, Figure]:
    """By name: ``latency``, ``throughput``, ``timeline`` and ``errors``, those there is something
    for. Where loads were of both families, the open ones' have ``-open`` behind their names.
    """
    with styled():
        figures: dict[str, Figure] = {}
        series = series_of(result)
        families = list(dict.fromkeys(each.family for each in series))
        for family in families:
            of_family = [each for each in series if each.family == family]
            suffix = "-open" if family == "open" and len(families) > 1 else ""
            figures[f"latency{suffix}"] = _latency(of_family, family)
            figures[f"throughput{suffix}"] = _throughput(of_family)
        if timeline.tracks:
            figures["timeline"] = timeline_figure(timeline)
        if failed := list(failing(result)):
            figures["errors"] = _errors(failed)
        return figures


def write_pngs(folder: Path, result: Result, rows: Iterable[Row]) -> list[Path]:
    """``latency.png``, ``throughput.png`` …, into a folder that is there."""
    written = []
    for name, figure in pictures_of(result, timeline_of(rows)).items():
        with styled():
            figure.savefig(path := folder / f"{name}.png", dpi=PNG_DPI, metadata={"Software": None})
        written.append(path)
    return written


def _latency(series: Sequence[Series], family: Family) -> Figure:
    """A row for the first token and one for the whole; a column for p50 and one for the tail."""
    tail = tail_of(series)
    percentiles = ["p50"] if tail is None else ["p50", tail]
    # An open loop's latency counts from the intended send: what waits for us is late as well.
    whole = ("e2e_s", "Last byte") if family == "closed" else ("latency_s", "From due to last byte")
    legend = legend_of([(each, each.name) for each in series])
    figure = figure_for(6.0, legend[1])
    axes = figure.subplots(2, len(percentiles), sharey="row", squeeze=False)
    for row, (metric, words) in enumerate((("ttft_s", "First token"), whole)):
        panels = [lines_of(series, _latency_ms(metric, name)) for name in percentiles]
        set_value_axis(axes[row], [line for lines in panels for line in lines], f"{words} (ms)")
        for column, (axis, lines) in enumerate(zip(axes[row], panels, strict=True)):
            axis.set_title(f"{words}, {percentiles[column]}")
            set_level_axis(axis, series, is_labelled=row == 1)
            draw_lines(axis, lines)
    place_legend(figure, legend)
    return figure


def _latency_ms(metric: str, percentile: str) -> Callable[[Step], Bar | None]:
    def of(step: Step) -> Bar | None:
        bar = bar_of(step["latencies"].get(metric, {}).get(percentile))
        return None if bar is None else Bar(*(1000 * each for each in bar))

    return of


def _throughput(series: Sequence[Series]) -> Figure:
    sent = _rates_sent(series)
    references = []
    if any(each.knee is not None for each in series):
        references.append(Line2D([], [], color="#666666", **_CAPACITY))
    if sent:
        references.append(Line2D([], [], **_AS_SENT))
    legend = legend_of([(each, _with_capacity(each)) for each in series], references)
    figure = figure_for(3.6, legend[1])
    requests, tokens = figure.subplots(1, 2)
    requests.set_title("Requests answered")
    tokens.set_title("Output tokens")
    of_requests, of_tokens = lines_of(series, _requests_per_s), lines_of(series, _tokens_per_s)
    set_value_axis([requests], of_requests, "Answered (requests/s)", also=sent)
    set_value_axis([tokens], of_tokens, "Output (tokens/s)")
    for axis, lines in ((requests, of_requests), (tokens, of_tokens)):
        set_level_axis(axis, series)
        draw_lines(axis, lines)
    for each in series:
        _draw_capacity(requests, each)
    requests.plot(sent, sent, **_AS_SENT)
    place_legend(figure, legend)
    return figure


def _rates_sent(series: Sequence[Series]) -> list[float]:
    """From the lowest to the highest, in steps that draw a curve where axes are of two kinds."""
    steps = [step for each in series if each.kind in STEADY for step in each.steps]
    levels = [step["load"]["level"] for step in steps]
    return [] if not levels else [float(x) for x in np.geomspace(min(levels), max(levels), 30)]


def _requests_per_s(step: Step) -> Bar | None:
    return bar_of(step["requests_per_s"])


def _tokens_per_s(step: Step) -> Bar | None:
    value = step["output_tokens_per_s"]
    return None if value is None else Bar(value, value, value)


def _draw_capacity(axis: Axes, series: Series) -> None:
    """Up at the knee, and from there on level."""
    if series.knee is None:
        return
    knee, capacity = series.knee
    last = max(knee, *(step["load"]["level"] for step in series.steps))
    axis.plot(
        [knee, knee, last],
        [axis.get_ylim()[0], capacity, capacity],
        color=colour_of(series),
        **_CAPACITY,
    )


def _with_capacity(series: Series) -> str:
    if series.knee is None:
        return series.name
    knee, capacity = series.knee
    return f"{series.name}: {capacity:,.1f}/s from {knee:,.0f} in flight on"


def _errors(failed: Sequence[tuple[str, Step]]) -> Figure:
    """A bar per step, in parts by kind."""
    shown = failed[:MOST_FAILING_SHOWN]
    counted: Counter[str] = Counter()
    for _, step in shown:
        counted.update(step["errors"])
    kinds = [kind for kind, _ in counted.most_common(MOST_KINDS_SHOWN)]
    names = [*map(short, kinds), *(["others"] if len(counted) > len(kinds) else [])]
    looks: list[dict[str, Any]] = [
        {"facecolor": colour, "edgecolor": "#333333", "linewidth": 0.6, "hatch": hatch}
        for colour, hatch in _KINDS[: len(names)]
    ]
    figure = figure_for(1.3 + 0.27 * len(shown), names)
    axis = figure.subplots()
    shares = [_shares(step, kinds) for _, step in shown]
    left = [0.0] * len(shown)
    for number, look in enumerate(looks):
        widths = [share[number] for share in shares]
        axis.barh(range(len(shown)), widths, left=left, height=0.65, **look)
        left = [end + width for end, width in zip(left, widths, strict=True)]
    top = max(left)
    for row, (_, step) in enumerate(shown):
        num = step["answered"] + step["failed"]
        axis.text(left[row] + 0.01 * top, row, f"{step['failed']:,} of {num:,}", va="center")
    axis.set_yticks(
        range(len(shown)), [f"{short(name, 30)}, {load_of(step)}" for name, step in shown]
    )
    axis.invert_yaxis()
    axis.set_xlim(0, 1.2 * top)
    ticks = [tick for tick in MaxNLocator(6).tick_values(0, top) if tick <= 100]
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("Requests that failed (% of the step's)")
    if len(shown) < len(failed):
        axis.set_title(f"The first {len(shown)} of {len(failed)} steps with failures")
    place_legend(figure, ([Patch(**look) for look in looks], names))
    return figure


def _shares(step: Step, kinds: Sequence[str]) -> list[float]:
    """In percent of the step's requests, by kind; last, those of all others."""
    per_one = 100 / (step["answered"] + step["failed"])
    shares = [per_one * step["errors"].get(kind, 0) for kind in kinds]
    return [*shares, max(0.0, per_one * step["failed"] - sum(shares))]
