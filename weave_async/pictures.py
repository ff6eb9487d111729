"""How pictures of pages look, and how they become SVG. Needs the extra ``[plots]``.

Figures are made without pyplot, which would keep each of them for the life of the process.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # the first comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a backend may be called a$b$c
    "svg.fonttype": "none",  # text stays text: smaller, and drawn as sharp as the page's own
    "svg.hashsalt": "weave-async",  # what ids are made of: else of chance
}


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib has some settings only for all figures: they are put back."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A name in a script that the font lacks: browsers have others, and a PNG shows boxes.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield


def svg_of(figure: Figure) -> bytes:
    """The same figure makes the same bytes."""
    buffer = io.BytesIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with styled():
        figure.savefig(buffer, format="svg", metadata=metadata)
    return re.sub(rb"\n *", b"\n", buffer.getvalue())  # a sixth of it is indentation
