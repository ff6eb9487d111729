"""The pictures of a report, by matplotlib: the extra ``[plots]``. Each in light and in dark.

Nothing is told by colour alone: losses are hatched, lines have styles, directions have marks.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from weave_async.pictures import styled, svg_of
from weave_async.report import plots_of_figures, plots_of_time
from weave_async.report.drawing import DPI, WIDTH_IN, dark
from weave_async.report.side_by_side import SideBySide
from weave_async.report.view import RunView


@dataclass(frozen=True, slots=True)
class Plot:
    """``light`` and ``dark`` are addresses of its data; ``label`` is the run's that it is of."""

    section: str
    label: str
    title: str
    how_to_read: str
    light: str
    dark: str
    width: int
    height: int
    is_wide: bool


@dataclass(frozen=True, slots=True)
class _Kind:
    section: str
    title: str
    how_to_read: str
    draw: Callable[[RunView], Figure | None]


_KINDS = (
    _Kind(
        "funnel",
        "From asked to written",
        "Read downwards: each hatched piece is what was lost there, and the next begins where it "
        "ended.",
        plots_of_figures.funnel_figure,
    ),
    _Kind(
        "diversity",
        "Diversity, metrics between 0 and 1",
        "A triangle points to where texts are more diverse; lines are 95 % intervals.",
        plots_of_figures.diversity_figure,
    ),
    _Kind(
        "bias",
        "Shares of attributes' values among written rows",
        "Dots are shares with their 95 % intervals, bars across are targets, where there are any.",
        plots_of_figures.representation_figure,
    ),
    _Kind(
        "lengths",
        "Words of answers",
        "Of the answers with each ending, how many are so long.",
        plots_of_figures.lengths_figure,
    ),
    _Kind(
        "speed",
        "Latency and throughput over time",
        "Time is cut into slices. Dashed upright lines are where a session of the run began; time "
        "between sessions is left out.",
        plots_of_time.speed_figure,
    ),
    _Kind(
        "stages",
        "Time that each stage has taken",
        "Where wall time is more than processor time, the stage waited, or the machine was busy.",
        plots_of_time.stages_figure,
    ),
)


def plots_of(views: Sequence[RunView], comparison: SideBySide | None) -> Iterator[Plot]:
    """Those there is something for."""
    if comparison is not None and comparison.moved:
        yield _plot(
            "compared",
            "",
            "What changes from A to B",
            "As a part of A's value; lines are 95 % intervals. Filled dots: the interval leaves "
            "out zero.",
            plots_of_figures.moved_figure(comparison.moved),
        )
    for kind in _KINDS:
        for view in views:
            with styled():
                figure = kind.draw(view)
            if figure is not None:
                yield _plot(kind.section, view.label, kind.title, kind.how_to_read, figure)


def _plot(section: str, label: str, title: str, how_to_read: str, figure: Figure) -> Plot:
    svg = svg_of(figure)
    width_in, height_in = figure.get_size_inches()
    return Plot(
        section=section,
        label=label,
        title=f"{title}, {label}" if label else title,
        how_to_read=how_to_read,
        light=_address(svg),
        dark=_address(dark(svg)),
        width=round(DPI * width_in),
        height=round(DPI * height_in),
        is_wide=width_in > WIDTH_IN,
    )


def _address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
