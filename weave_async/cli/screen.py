"""Lines that fit a terminal, whatever its size: what matters least goes first.

A line is a label and parts. What is not on a line for want of width goes on further ones, while
there is height; then lines are left out, by their rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, auto

from rich.cells import cell_len, set_cell_size

from weave_async.visible import printable

BAR_WIDTH = range(8, 41)
LABEL_WIDTH = 18
NARROW = 36
"""Below this width labels are not set under each other."""
MOST_ROWS_PER_LINE = 3
BEHIND_ALL_LINES = 1000
_FULL, _EMPTY = "█", "░"
_IN_ASCII = str.maketrans({"█": "#", "░": ".", "·": "|", "…": "~", "↑": "^", "↓": "v", "→": "="})


class Rank(IntEnum):
    """What a line is about; the highest are left out first where there is no room."""

    BAR = auto()
    SPEED = auto()
    PROBLEM = auto()
    ACCEPTED = auto()
    REJECTED = auto()
    FAILED = auto()
    TROUBLE = auto()
    """Of an endpoint."""
    COST = auto()
    ENDPOINT = auto()
    DIVERSITY = auto()
    NAME = auto()


@dataclass(frozen=True, slots=True)
class Line:
    """The parts that matter most stand first. Lines of the highest ``rank`` are left out first.

    With a ``share``, a bar stands in the place of the label; without a label, there is no room for
    one.
    """

    label: str
    parts: Sequence[str]
    rank: Rank
    share: float | None = None
    style: str = ""
    joint: str = " · "


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the terminal: ``head`` is the bar, or the label with the space behind it.

    ``goes_on`` says that the next row belongs to the same line.
    """

    head: str
    text: str
    rank: int
    style: str = ""
    has_bar: bool = False
    goes_on: bool = False

    @property
    def width(self) -> int:
        return cell_len(self.head) + cell_len(self.text)


def fitted(lines: Sequence[Line], *, width: int, height: int, ascii_only: bool) -> list[Row]:
    """As much of the lines as fits, in their order. Nothing in it can drive a terminal."""
    width, height = max(1, width), max(1, height)
    label_width = 0
    if width >= NARROW:
        labels = [cell_len(one_line(line.label)) for line in lines]
        label_width = min(max(labels, default=0), LABEL_WIDTH, width // 3) + 2
    rows = [row for line in lines for row in _rows_of(line, width, label_width)]
    while len(rows) > height:
        least = max(range(len(rows)), key=lambda i: (rows[i].rank, i))
        del rows[least]
        if least and rows[least - 1].goes_on:
            rows[least - 1] = _broken_off(rows[least - 1], width)
    return [_in_ascii(row) for row in rows] if ascii_only else rows


def one_line(text: str) -> str:
    """A text from outside, safe to show, with no line breaks in it."""
    return printable(" ".join(text.split()))


def _rows_of(line: Line, width: int, label_width: int) -> Iterator[Row]:
    """Where a line needs several rows, those behind the first rank behind all other lines."""
    parts = [one_line(part) for part in line.parts]
    head, indent = _head_of(line, parts, width, label_width), " " * label_width
    texts = list(_wrapped(parts, width, cell_len(head), label_width, line.joint))
    for number, text in enumerate(texts[:MOST_ROWS_PER_LINE]):
        is_last = number == len(texts) - 1
        row = Row(
            head if number == 0 else indent,
            text,
            line.rank + BEHIND_ALL_LINES * (number > 0),
            line.style,
            has_bar=line.share is not None and number == 0,
            goes_on=not is_last,
        )
        yield row if is_last or number < MOST_ROWS_PER_LINE - 1 else _broken_off(row, width)


def _head_of(line: Line, parts: Sequence[str], width: int, label_width: int) -> str:
    if line.share is not None:
        room = min(width - cell_len(line.joint.join(parts)) - 2, width // 3, BAR_WIDTH[-1])
        return f"{_bar(line.share, room)}  " if room >= BAR_WIDTH[0] else ""
    label = one_line(line.label)
    if not label:
        return ""
    if not label_width:
        return cut(f"{label} ", width)
    return set_cell_size(cut(label, label_width - 2), label_width)


def _wrapped(
    parts: Sequence[str], width: int, head_width: int, indent_width: int, joint: str
) -> Iterator[str]:
    room, row = max(0, width - head_width), ""
    for part in parts:
        longer = f"{row}{joint}{part}" if row else part
        if not row or cell_len(longer) <= room:
            row = longer
            continue
        yield cut(row, room)
        room, row = max(0, width - indent_width), part
    yield cut(row, room)


def _broken_off(row: Row, width: int) -> Row:
    """The row with a sign that something is left out behind it."""
    room = max(0, width - cell_len(row.head))
    return replace(row, text=cut(f"{row.text} …", room), goes_on=False)


def cut(text: str, width: int) -> str:
    """``text`` in so many cells of a terminal, with a sign where something is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def _bar(share: float, width: int) -> str:
    full = int(max(0.0, min(1.0, share)) * width)
    return _FULL * full + _EMPTY * (width - full)


def _in_ascii(row: Row) -> Row:
    head, text = (
        each.translate(_IN_ASCII).encode("ascii", "replace").decode()
        for each in (row.head, row.text)
    )
    return replace(row, head=head, text=text)
