"""``weave-async compare``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli import options
from weave_async.visible import printable

if TYPE_CHECKING:
    from rich.text import Text

    from weave_async.comparison import Comparison, Figure, Kind, Line

WIDE_COLUMNS = 110
"""From here on, a figure and its interval stand on one line."""
MARK = "*"
WIDEST_FIGURE = 14
"""Columns that most intervals need."""
UNITS = {"share": ", %", "usd": ", $", "seconds": ", s", "number": ""}
_One = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, or a .jsonl file of rows.")
]
_Other = Annotated[Path, typer.Argument(metavar="RUN", help="Another, whose change is told.")]


def compare(
    one: _One,
    other: _Other,
    json: options.JsonOption = False,
    seed: Annotated[
        int, typer.Option("--seed", help="Draws the rows that are looked at, and resamples.")
    ] = 0,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows",
            min=2,
            help="Rows of each side whose texts are looked at. Default: as many as the smaller "
            "side has, 1,000 at most.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", help="What rows are labelled by: an attribute, or a key of JSON answers."
        ),
    ] = None,
    by_meaning: Annotated[
        bool,
        typer.Option(
            "--by-meaning",
            help="Tell by embeddings how alike texts are (extra `embeddings`, 150 texts a second). "
            "Default: by their n-grams.",
        ),
    ] = False,
    allow_unequal: Annotated[
        bool,
        typer.Option(
            "--allow-unequal",
            help="Let each side keep its own number of rows and words. Diversity then differs by "
            "size alone.",
        ),
    ] = False,
) -> None:
    """Put two runs side by side: quality, diversity, bias and cost, with 95 % intervals.

    The change is the second RUN less the first. A * marks those whose interval leaves out zero: of
    twenty figures that are alike, one is marked by chance. Diversity depends on size, so that it
    is measured at equal rows and equal words. Sends no request, writes nothing.

    Exits with 65 where there are too few rows to compare, with 73 where there is no run, or one
    that has not come to its end.

    Examples:

    `weave-async compare out/plain out/ours`

    `weave-async compare out/plain out/ours --rows 500 --json`

    `weave-async compare real.jsonl out/ours/samples.jsonl`
    """
    from weave_async.comparison import compare

    found = compare(
        one,
        other,
        seed=seed,
        num_rows=rows,
        label=label,
        allow_unequal=allow_unequal,
        by_meaning=by_meaning,
    )
    if json:
        import orjson

        print(orjson.dumps(found.as_dict()).decode())
        return
    _print_tables(found)


def _print_tables(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    is_wide = console.width >= WIDE_COLUMNS
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("", overflow="fold")
    for name in (*found.names, "change"):
        table.add_column(Text(printable(name)), overflow="fold", min_width=WIDEST_FIGURE)
    table.add_column("", width=1)
    for title, lines in found.sections.items():
        table.add_row(Text(title, "bold"))
        for line in lines:
            table.add_row(
                Text(printable(f"  {'  ' * line.is_part}{line.name}{UNITS[line.kind]}")),
                _cell(line.one, line.kind, is_wide),
                _cell(line.other, line.kind, is_wide),
                _cell(line.change, line.kind, is_wide, sign="+", relative=line.relative_value),
                Text(MARK if _is_marked(line) else "", "bold"),
            )
    console.print(table)
    one, other = found.num_rows
    looked_at = f"{one:,} rows of each side" if one == other else f"{one:,} and {other:,} rows"
    console.print(Text(f"{MARK} the interval of the change leaves out zero", "dim"))
    console.print(Text(f"Texts: {looked_at}, drawn by the seed", "dim"))
    for note in found.notes:
        console.print(Text(printable(f"note: {note}"), "yellow"))


def _is_marked(line: Line) -> bool:
    change = line.change
    return bool(getattr(change, "excludes_zero", False))


def _cell(
    figure: Figure, kind: Kind, is_wide: bool, sign: str = "", relative: float | None = None
) -> Text:
    from rich.text import Text

    if figure is None:
        return Text("—", "dim")
    if isinstance(figure, float | int):
        return Text(_number(figure, kind, sign, like=figure))
    value, low, high = (
        _number(each, kind, sign, like=figure.value)
        for each in (figure.value, figure.low, figure.high)
    )
    if relative is not None:
        value += f" ({round(relative * 100):+d} %)"
    return Text(value) + Text(f"{' ' if is_wide else chr(10)}[{low}, {high}]", "dim")


def _number(value: float, kind: Kind, sign: str = "", *, like: float) -> str:
    """As many digits as ``like`` needs."""
    digits = {"share": 1, "usd": 6}.get(kind, 1 if abs(like) >= 10 else 3)
    shown = round(value * 100 if kind == "share" else value, digits) + 0.0  # no -0
    return f"{shown:{sign},.{digits}f}"
