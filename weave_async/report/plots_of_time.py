"""Pictures of time: latency and throughput over a run, and what each stage has taken."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from weave_async.report.drawing import (
    BACK,
    FAINT,
    FIRST,
    PLAIN,
    SECOND,
    draw_legend,
    figure_for,
    height_for,
    name_rows,
    set_up,
)
from weave_async.report.speed import Slices
from weave_async.report.view import RunView

MOST_STAGES = 20
SPREAD = 20
"""From this ratio of the largest to the median on, latencies need a logarithmic axis."""


def speed_figure(view: RunView) -> Figure | None:
    slices = view.slices
    if slices is None:
        return None
    has_latency = bool(np.isfinite(slices.p50_s).any())
    has_tokens = bool(slices.tokens_per_s.any())
    num_axes = 1 + has_latency + has_tokens
    figure = figure_for(0.6 + 2.0 * num_axes, is_wide=True)
    axes = figure.subplots(num_axes, 1, sharex=True, squeeze=False)[:, 0]
    for axis in axes:
        set_up(axis, grid="y")
        for begun_s in slices.begun_s[1:]:
            axis.axvline(begun_s, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    if has_latency:
        _draw_latency(axes[0], slices)
    _draw_throughput(axes[int(has_latency)], slices)
    if has_tokens:
        _draw_tokens(axes[-1], slices)
    unit, per = _unit_of(slices.edges_s[-1])
    axes[-1].set_xlabel(f"Time since the first call ({unit})")
    last_s = float(slices.edges_s[-1])
    places = [per * tick for tick in MaxNLocator(8).tick_values(0, last_s / per)]
    axes[-1].xaxis.set_major_locator(FixedLocator(places))
    axes[-1].xaxis.set_major_formatter(lambda value, _: f"{value / per:,.4g}")
    axes[-1].set_xlim(0, last_s)
    return figure


def _draw_latency(axis: Axes, slices: Slices) -> None:
    at_s = slices.middles_s
    # With dots: a slice whose neighbours are empty has no line.
    axis.plot(at_s, slices.p95_s, "v--", color=SECOND, lw=1.4, ms=2.5, label="p95")
    axis.plot(at_s, slices.p50_s, "o-", color=FIRST, lw=1.6, ms=2.5, label="p50 (median)")
    known = slices.p95_s[np.isfinite(slices.p95_s)]
    if known.max() > SPREAD * np.median(known) > 0:
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, 1.15 * known.max() or 1)
    axis.yaxis.set_major_formatter(PLAIN)
    axis.set_ylabel("Latency (s)")
    draw_legend(axis, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)


def _draw_throughput(axis: Axes, slices: Slices) -> None:
    axis.stairs(
        slices.answers_per_s, slices.edges_s, color=FIRST, linewidth=1.6, label="answers per second"
    )
    if slices.missed_per_s.any():
        axis.stairs(
            slices.missed_per_s,
            slices.edges_s,
            color=SECOND,
            linewidth=1.2,
            linestyle=":",
            label="calls without an answer, per second",
        )
    axis.set_ylim(0, 1.15 * max(slices.answers_per_s.max(), slices.missed_per_s.max()))
    axis.yaxis.set_major_formatter(PLAIN)
    axis.set_ylabel("Per second")
    draw_legend(axis, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)


def _draw_tokens(axis: Axes, slices: Slices) -> None:
    axis.stairs(
        slices.tokens_per_s,
        slices.edges_s,
        color=FIRST,
        linewidth=1.6,
        label="output tokens per second",
    )
    axis.set_ylim(0, 1.15 * slices.tokens_per_s.max())
    axis.yaxis.set_major_formatter(PLAIN)
    axis.set_ylabel("Per second")
    draw_legend(axis, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)


def _unit_of(longest_s: float) -> tuple[str, float]:
    return ("s", 1) if longest_s < 300 else ("min", 60) if longest_s < 18_000 else ("h", 3600)


def stages_figure(view: RunView) -> Figure | None:
    stages = view.stages[:MOST_STAGES]
    if not stages or not any(stage.wall_s > 0 for stage in stages):
        return None
    figure = figure_for(height_for(len(stages)) + 0.3)
    axis = figure.subplots()
    set_up(axis)
    rows = np.arange(len(stages))
    axis.barh(
        rows - 0.19,
        [stage.wall_s for stage in stages],
        height=0.34,
        facecolor=BACK,
        edgecolor=FIRST,
        hatch="////",
        linewidth=0.8,
        label="wall",
    )
    axis.barh(
        rows + 0.19,
        [stage.cpu_s for stage in stages],
        height=0.34,
        color=FIRST,
        label="processor",
    )
    name_rows(axis, [stage.name for stage in stages])
    axis.xaxis.set_major_formatter(PLAIN)
    axis.set_xlabel("Seconds")
    draw_legend(axis, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
    return figure
