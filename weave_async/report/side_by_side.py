"""How two runs compare, as the page tells it: see ``weave_async.comparison`` for the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weave_async.comparison import Comparison, Figure, Kind, Line, compare
from weave_async.errors import InputError, RunFolderError
from weave_async.metrics.bias.intervals import Estimate
from weave_async.report.words import UNKNOWN, points, shown

UNITS = {"usd": ", $", "seconds": ", s"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure in words; ``interval`` is empty where it has none."""

    value: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class TableLine:
    name: str
    one: Cell
    other: Cell
    change: Cell
    moves: bool
    is_part: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """A change as a part of the first run's value, with its interval, for the picture."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SideBySide:
    """``sections`` by their titles; ``notes`` say what figures do not."""

    sections: Sequence[tuple[str, Sequence[TableLine]]]
    moved: Sequence[Moved]
    rows_in_words: str
    notes: Sequence[str] = field(default=())


def side_by_side(one: Path, other: Path, *, seed: int = 0) -> SideBySide | str:
    """Or why they cannot be compared: a run that has not come to its end, or too few rows."""
    try:
        return told(compare(one, other, seed=seed))
    except (InputError, RunFolderError) as error:
        return f"The two are not compared figure by figure: {error}"


def told(found: Comparison) -> SideBySide:
    lines = [line for lines in found.sections.values() for line in lines]
    one, other = found.num_rows
    return SideBySide(
        sections=[
            (title.capitalize(), [_table_line(line) for line in lines])
            for title, lines in found.sections.items()
            if lines
        ],
        moved=[moved for line in lines if (moved := _moved(line)) is not None],
        rows_in_words=f"{one:,} rows of each side, drawn by the seed"
        if one == other
        else f"{one:,} rows of A and {other:,} of B",
        notes=found.notes,
    )


def _table_line(line: Line) -> TableLine:
    change = line.change
    return TableLine(
        name=f"{line.name}{UNITS.get(line.kind, '')}",
        one=_cell(line.one, line.kind),
        other=_cell(line.other, line.kind),
        change=_cell(change, line.kind, is_change=True, relative=line.relative_value),
        moves=isinstance(change, Estimate) and change.excludes_zero,
        is_part=line.is_part,
    )


def _moved(line: Line) -> Moved | None:
    """``None`` where it would be a part of a value that is itself not known to a half."""
    change = line.change
    if not isinstance(change, Estimate) or not isinstance(line.one, Estimate) or line.is_part:
        return None
    base = abs(line.one.value)
    if not base or max(abs(line.one.low - line.one.value), abs(line.one.high - line.one.value)) > (
        base / 2
    ):
        return None
    if isinstance(line.relative, Estimate):
        part = line.relative
        return Moved(line.name, part.value, part.low, part.high)
    return Moved(line.name, change.value / base, change.low / base, change.high / base)


def _cell(
    figure: Figure, kind: Kind, *, is_change: bool = False, relative: float | None = None
) -> Cell:
    if figure is None:
        return Cell(UNKNOWN)
    if not isinstance(figure, Estimate):
        return Cell(_signed(figure, kind, is_change))
    value = _signed(figure.value, kind, is_change)
    if relative is not None:
        value += f" ({100 * relative:+.0f} %)".replace("-", "−")
    low, high = (_signed(each, kind, is_change) for each in (figure.low, figure.high))
    return Cell(value, f"{low} to {high}")


def _signed(value: float, kind: Kind, is_change: bool) -> str:
    is_difference = is_change and kind == "share"  # of two shares, not a part of either
    text = points(abs(value)) if is_difference else shown(abs(value), kind)
    if value < 0:
        return f"−{text}"
    return f"+{text}" if is_change and value > 0 else text
