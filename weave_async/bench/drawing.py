"""Axes, lines and legends of the pictures, alike in all of them. Needs ``[plots]``.

Backends are told apart by marker and line style, and by colour only besides: pages are printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from weave_async.bench.series import Bar, Series, Step

WIDTH_IN = 8.0
LEGEND_ROW_IN = 0.19
CHAR_IN = 0.075
"""On average, in the size of legends."""
DOUBLES = 4
"""From this ratio of the highest to the lowest on, an axis is logarithmic."""
DARK = "#0072b2"
_COLOURS = (DARK, "#d55e00", "#009e73", "#7a3e9d", "#222222", "#b8860b")
_MARKERS = "os^Dv<>"
_LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 3)))
_PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")
Legend = tuple[Sequence[Any], Sequence[str]]
"""What is drawn, and what it says."""
Line = tuple[Series, list[tuple[Step, Bar]]]
"""A series, and those of its steps whose figure is known."""


def figure_for(height_in: float, names: Sequence[str] = ()) -> Figure:
    """With room below for a legend of such names."""
    height_in += LEGEND_ROW_IN * math.ceil(len(names) / _num_columns(names))
    return Figure((WIDTH_IN, height_in), layout="constrained", facecolor="white")


def _num_columns(names: Sequence[str]) -> int:
    longest_in = 0.6 + CHAR_IN * max(map(len, names), default=1)
    return max(1, min(4, int(WIDTH_IN / longest_in)))


def legend_of(named: Sequence[tuple[Series, str]], references: Sequence[Line2D] = ()) -> Legend:
    """What stands for each series, and for what else is drawn."""
    handles = [
        Line2D([], [], color=colour_of(each), marker=_marker(each), ls=_line(each), ms=5, lw=1.2)
        for each, _ in named
    ]
    names = [name for _, name in named]
    if any(step["is_client_bound"] for each, _ in named for step in each.steps):
        hollow = Line2D([], [], color="#444444", marker="o", mfc="white", ls="none", ms=5)
        handles.append(hollow)
        names.append("hollow: this client was the bottleneck")
    names += [str(line.get_label()) for line in references]
    return [*handles, *references], names


def place_legend(figure: Figure, legend_of: Legend) -> None:
    """One for all axes, below them, where it hides nothing."""
    handles, names = legend_of
    legend = figure.legend(
        handles,
        [" "] * len(names),
        loc="outside lower center",
        ncols=_num_columns(names),
        handlelength=3.2,
    )
    # Set afterwards: matplotlib leaves out what begins with "_".
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def lines_of(series: Sequence[Series], of: Callable[[Step], Bar | None]) -> list[Line]:
    return [
        (each, [(step, bar) for step in each.steps if (bar := of(step)) is not None])
        for each in series
    ]


def draw_lines(axis: Axes, lines: Sequence[Line]) -> None:
    """With error bars; hollow where the client was the bottleneck."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    for place, (series, points) in enumerate(lines):
        # Some points aside, so that the bars of like backends do not hide each other.
        aside_in = (place - (len(lines) - 1) / 2) * 1.8 / 72
        moved = ScaledTranslation(aside_in, 0, figure.dpi_scale_trans)
        style: dict[str, Any] = {
            "color": colour_of(series),
            "transform": axis.transData + moved,
        }
        levels = [step["load"]["level"] for step, _ in points]
        draw_bars(
            axis, levels, [bar.low for _, bar in points], [bar.high for _, bar in points], style
        )
        axis.plot(
            levels,
            [bar.value for _, bar in points],
            linestyle=_line(series),
            linewidth=1.2,
            **style,
        )
        for is_hollow in (False, True):
            shown = [(step, bar) for step, bar in points if step["is_client_bound"] == is_hollow]
            axis.plot(
                [step["load"]["level"] for step, _ in shown],
                [bar.value for _, bar in shown],
                marker=_marker(series),
                markerfacecolor="white" if is_hollow else colour_of(series),
                markersize=5,
                linestyle="none",
                zorder=3,
                **style,
            )
        zeros = [step["load"]["level"] for step, bar in points if bar.value <= 0]
        if axis.get_yscale() == "log":  # which has no place for them
            draw_crosses(axis, zeros, at=0.0)


def draw_bars(
    axis: Axes,
    xs: Iterable[float],
    lows: Iterable[float],
    highs: Iterable[float],
    style: Mapping[str, Any],
) -> None:
    """As one line with gaps: a page has hundreds of bars, each of which would take ten times as
    much of it on its own.
    """
    places = [each for x in xs for each in (x, x, math.nan)]
    ends = [each for pair in zip(lows, highs, strict=True) for each in (*pair, math.nan)]
    axis.plot(places, ends, linewidth=1.8, solid_capstyle="butt", **style)


def draw_crosses(axis: Axes, xs: Sequence[float], *, at: float) -> None:
    """On an edge of the axes, which is no value."""
    if not xs:  # a line of nothing takes room at the figure's corner
        return
    axis.plot(
        xs,
        [at] * len(xs),
        marker="x",
        markersize=5,
        color="#b00020",
        linestyle="none",
        transform=axis.get_xaxis_transform(),
        clip_on=False,
        zorder=4,
    )


def set_level_axis(axis: Axes, series: Sequence[Series], *, is_labelled: bool = True) -> None:
    """The load, of series of one family."""
    levels = sorted({step["load"]["level"] for each in series for step in each.steps})
    places = levels
    low, high = levels[0], levels[-1]
    if high >= DOUBLES * low:
        axis.set_xscale("log", base=2)
        places = [math.log(level) for level in levels]
        margin = (high / low) ** 0.07
        axis.set_xlim(low / margin, high * margin)
    else:
        margin = 0.07 * (high - low) or 0.5 * low
        axis.set_xlim(low - margin, high + margin)
    axis.xaxis.set_major_locator(FixedLocator(_spread(levels, places)))
    axis.xaxis.set_major_formatter(_PLAIN)
    axis.xaxis.set_minor_locator(NullLocator())
    if not is_labelled:
        return
    if series[0].family == "closed":
        axis.set_xlabel("Concurrency (requests in flight)")
    elif all(each.kind == "ramp" for each in series):
        axis.set_xlabel("Rate at the end of the ramp (requests/s)")
    else:
        axis.set_xlabel("Rate of sending (requests/s)")


def _spread(levels: Sequence[float], places: Sequence[float]) -> list[float]:
    """Those whose numbers have room beside each other: the first, the last, and some between."""
    room = 0.09 * (places[-1] - places[0])
    shown = [0]
    for number in range(1, len(levels) - 1):
        if min(places[number] - places[shown[-1]], places[-1] - places[number]) >= room:
            shown.append(number)
    return [levels[number] for number in dict.fromkeys((*shown, len(levels) - 1))]


def set_value_axis(
    axes: Sequence[Axes], lines: Sequence[Line], label: str, *, also: Sequence[float] = ()
) -> None:
    """Of axes that are read side by side: one scale, and the label on the first. There is room
    for the values ``also``.
    """
    bars = [bar for _, points in lines for _, bar in points]
    for axis in axes:
        ends = [end for bar in bars for end in bar]
        scale(axis, [*(bar.value for bar in bars), *also], [*ends, *also])
    axes[0].set_ylabel(label)


def scale(
    axis: Axes, values: Sequence[float], ends: Sequence[float], *, most_ticks: int = 9
) -> None:
    """Logarithmic where values are many times each other; else from 0 on. ``ends`` are those of
    the bars, for which there has to be room as well.
    """
    lowest = min((value for value in values if value > 0), default=0.0)
    if lowest and max(values) >= DOUBLES * lowest:
        axis.set_yscale("log")
        low = min(end for end in ends if end >= lowest / 2) / 1.3
        high = max(ends) * 1.3
        axis.set_ylim(low, high)
        axis.yaxis.set_major_locator(FixedLocator(_round_numbers(low, high, most_ticks)))
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        axis.set_ylim(0, 1.15 * max(ends, default=0.0) or 1)
        axis.yaxis.set_major_locator(MaxNLocator(min(6, most_ticks)))
    axis.yaxis.set_major_formatter(_PLAIN)


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    """As many as there is room for, of 1, 2, 3, 5, 7, 10 … or 1, 2, 5, 10 … or fewer."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        numbers = [step * 10.0**exponent for exponent in exponents for step in steps]
        numbers = [number for number in numbers if low <= number <= high]
        if len(numbers) <= most:
            break
    return numbers


def colour_of(series: Series) -> str:
    return _COLOURS[series.number % len(_COLOURS)]


def _marker(series: Series) -> str:
    return _MARKERS[series.number % len(_MARKERS)]


def _line(series: Series) -> Any:
    return _LINES[series.number % len(_LINES)]
