"""What the pictures of a report share: their size, their inks, and names on an axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from weave_async.visible import cut, visible

WIDTH_IN, WIDE_IN = 5.8, 8.4
ROW_IN = 0.26
DPI = 96
"""Pixels of a page per inch."""
MAX_NAME_CHARS = 34

INK, FAINT, GRID = "#1b1f23", "#57606a", "#e3e6e8"
FIRST, SECOND, LOST, BACK = "#3b73ad", "#b35a00", "#7d858d", "#ffffff"
_DARK: Mapping[str, str] = {
    INK: "#e4e7ea",
    FAINT: "#a2abb4",
    GRID: "#30363c",
    FIRST: "#7aaee0",
    SECOND: "#f0a860",
    LOST: "#6f7983",
    BACK: "#1b1f23",
}
"""The same inks on a dark ground. On both, texts have a contrast of 4.5 to 1 with it, and what is
drawn has one of 3 (WCAG 2.2, 1.4.3 and 1.4.11); the grid alone may be fainter.
"""
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.4g} %")
PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")


def figure_for(height_in: float, *, is_wide: bool = False) -> Figure:
    size = (WIDE_IN if is_wide else WIDTH_IN, height_in)
    return Figure(size, layout="constrained", facecolor="none")


def height_for(num_rows: int) -> float:
    return 0.75 + ROW_IN * num_rows


def dark(svg: bytes) -> bytes:
    """The same picture for a dark page. Inks are told apart by what they are called: each of them
    is in the picture as it stands above, and nothing else is.
    """
    marked = svg
    for place, ink in enumerate(_DARK):  # in two steps, since some are inks of both grounds
        marked = marked.replace(ink.encode(), b"#ink-%d;" % place)
    for place, ink in enumerate(_DARK.values()):
        marked = marked.replace(b"#ink-%d;" % place, ink.encode())
    return marked


def set_up(axis: Axes, *, grid: str = "x") -> None:
    axis.set_facecolor("none")
    axis.grid(visible=False)
    axis.grid(axis="x" if grid == "x" else "y", color=GRID, linewidth=0.8)
    axis.tick_params(colors=FAINT, labelcolor=FAINT, length=0)
    for side in axis.spines.values():
        side.set_color(GRID)
    axis.xaxis.label.set_color(FAINT)
    axis.yaxis.label.set_color(FAINT)
    axis.title.set_color(INK)


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """From the top down."""
    axis.set_yticks(range(len(names)), [short(name) for name in names])
    axis.tick_params(axis="y", labelcolor=INK)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.spines["left"].set_visible(False)


def draw_legend(axis: Axes, **options: Any) -> None:
    legend = axis.legend(fontsize=8, **options)
    for text in legend.get_texts():
        text.set_color(INK)


def draw_intervals(
    axis: Axes, rows: Sequence[int], lows: Sequence[float | None], highs: Sequence[float | None]
) -> None:
    """As one line with gaps."""
    xs, ys = list[float](), list[float]()
    for row, low, high in zip(rows, lows, highs, strict=True):
        if low is not None and high is not None:
            xs += [low, high, math.nan]
            ys += [row, row, math.nan]
    if xs:
        axis.plot(xs, ys, color=FIRST, linewidth=2, solid_capstyle="butt", zorder=2)


def short(name: str) -> str:
    """For an axis."""
    return cut(" ".join(visible(name).split()), MAX_NAME_CHARS)
