"""Pictures of counts and shares: the funnel, diversity, representation, lengths, changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from weave_async.metrics.catalogue import CATALOGUE
from weave_async.report.drawing import (
    BACK,
    FAINT,
    FIRST,
    INK,
    LOST,
    PERCENT,
    PLAIN,
    SECOND,
    draw_intervals,
    draw_legend,
    figure_for,
    height_for,
    name_rows,
    set_up,
    short,
)
from weave_async.report.funnel import fewer
from weave_async.report.side_by_side import Moved
from weave_async.report.view import RunView

MOST_STEPS, MOST_SHARES, MOST_MOVED = 16, 26, 24
NUM_BINS = 40
FURTHEST = 3.0
"""A change of more than so many times the first value is beyond the picture's edge."""


def funnel_figure(view: RunView) -> Figure | None:
    steps = fewer(view.steps, MOST_STEPS)
    if not steps[0].total:
        return None
    figure = figure_for(height_for(len(steps)))
    axis = figure.subplots()
    set_up(axis)
    for row, step in enumerate(steps):
        if step.is_loss:
            style: dict[str, Any] = {
                "facecolor": BACK,
                "edgecolor": LOST,
                "hatch": "////",
                "linewidth": 0.8,
            }
            axis.barh(row, step.num, left=step.left, height=0.62, **style)
            end = step.left + step.num
        else:
            axis.barh(row, step.num, height=0.62, color=FIRST)
            end = step.num
        told = f"{'−' if step.is_loss else ''}{step.num:,}"
        axis.annotate(
            told, (end, row), (4, 0), textcoords="offset points", va="center", color=INK, fontsize=8
        )
    name_rows(axis, [step.name for step in steps])
    axis.set_xlim(0, 1.16 * steps[0].total)
    axis.xaxis.set_major_formatter(PLAIN)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_xlabel("Samples")
    return figure


def diversity_figure(view: RunView) -> Figure | None:
    shown = [each for each in view.diversity if CATALOGUE[each.name].bounds == (0.0, 1.0)]
    if not shown:
        return None
    figure = figure_for(height_for(len(shown)))
    axis = figure.subplots()
    set_up(axis)
    rows = range(len(shown))
    draw_intervals(axis, rows, [each.low for each in shown], [each.high for each in shown])
    for row, each in enumerate(shown):
        marker = ">" if CATALOGUE[each.name].higher_is_more_diverse else "<"
        axis.plot(each.value, row, marker=marker, color=FIRST, markersize=7, zorder=3)
    name_rows(axis, [each.name for each in shown])
    axis.set_xlim(-0.03, 1.03)
    return figure


def representation_figure(view: RunView) -> Figure | None:
    shown = [(panel.title, each) for panel in view.representation for each in panel.figures]
    shown = shown[:MOST_SHARES]
    if not shown:
        return None
    figure = figure_for(height_for(len(shown)))
    axis = figure.subplots()
    set_up(axis)
    rows = range(len(shown))
    figures = [each for _, each in shown]
    draw_intervals(axis, rows, [each.low for each in figures], [each.high for each in figures])
    axis.plot([each.value for each in figures], rows, "o", color=FIRST, markersize=5, zorder=3)
    targets = [(each.target, row) for row, each in enumerate(figures) if each.target is not None]
    if targets:
        xs, ys = zip(*targets, strict=True)
        axis.plot(xs, ys, "|", color=SECOND, markersize=13, markeredgewidth=2, label="target")
        draw_legend(axis, loc="upper right", bbox_to_anchor=(1, 1.06), borderpad=0)
    name_rows(axis, [f"{title}: {each.name}" for title, each in shown])
    for row in rows:
        if row and shown[row][0] != shown[row - 1][0]:
            axis.axhline(row - 0.5, color=LOST, linewidth=0.7)
    axis.set_xlim(left=0)
    axis.xaxis.set_major_formatter(PERCENT)
    return figure


def lengths_figure(view: RunView) -> Figure | None:
    counts = {ending: words for ending, words in view.run.tally.num_words.items() if words.sum()}
    if not counts:
        return None
    most = max(_reach(words) for words in counts.values())
    width = max(1, -(-(most + 1) // NUM_BINS))
    edges = np.arange(0, most + 1 + width, width)
    figure = figure_for(2.9)
    axis = figure.subplots()
    set_up(axis, grid="y")
    styles = {"written": ("-", FIRST), "rejected": ("--", SECOND)}
    for ending in ("written", "rejected"):
        if ending in counts:
            words = counts[ending]
            binned = np.add.reduceat(words[: edges[-1]], edges[:-1][edges[:-1] < len(words)])
            line, colour = styles[ending]
            axis.stairs(
                binned / words.sum(),
                edges[: len(binned) + 1],
                ls=line,
                color=colour,
                linewidth=1.6,
                label=ending,
            )
    axis.set_xlabel("Words" if width == 1 else f"Words, in steps of {width}")
    axis.set_xlim(0, edges[-1])
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.yaxis.set_major_formatter(PERCENT)
    draw_legend(axis, loc="upper right")
    return figure


def _reach(words: np.ndarray) -> int:
    """Where all but the longest hundredth of the answers end."""
    up_to = np.cumsum(words)
    return int(np.searchsorted(up_to, 0.99 * up_to[-1]))


def moved_figure(moved: Sequence[Moved]) -> Figure:
    shown = sorted(moved, key=lambda each: -abs(each.value))[:MOST_MOVED]
    shown.sort(key=lambda each: -each.value)
    figure = figure_for(height_for(len(shown)), is_wide=True)
    axis = figure.subplots()
    set_up(axis)
    rows = range(len(shown))
    axis.axvline(0, color=FAINT, linewidth=1)
    reach = min(FURTHEST, 1.1 * max(max(abs(each.low), abs(each.high)) for each in shown))
    draw_intervals(
        axis,
        rows,
        [max(each.low, -reach) for each in shown],
        [min(each.high, reach) for each in shown],
    )
    for row, each in enumerate(shown):
        is_sure = each.low > 0 or each.high < 0
        value = min(reach, max(-reach, each.value))
        axis.plot(value, row, "o", mec=FIRST, mfc=FIRST if is_sure else BACK, ms=6, zorder=3)
    name_rows(axis, [short(each.name) for each in shown])
    axis.set_xlim(-1.03 * reach, 1.03 * reach)
    axis.xaxis.set_major_formatter(PERCENT)
    return figure
