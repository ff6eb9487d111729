"""``weave-async verify``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli import options
from weave_async.cli.console import write_to_stderr
from weave_async.visible import printable

if TYPE_CHECKING:
    from weave_async.findings import Audit

EXIT_DAMAGED, EXIT_INTERRUPTED = 65, 75


def verify(
    run: options.RunArgument,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="First keep what is whole of damaged journal segments; the originals stay "
            "beside them as NAME.damaged. Answers that are lost will be asked for again.",
        ),
    ] = False,
    json: options.JsonOption = False,
) -> None:
    """Prove from the files alone that a run folder keeps its promises. Writes nothing.

    Every frame whole, every sample ended once, every row with its answer, every count and digest
    as published, every answer as it came. Exits with 65 on damage, with 75 where publishing was
    interrupted (run the same command again), with 73 where there is no run.

    Example: `weave-async verify out/demo`
    """
    from weave_async.audit import audit

    if repair:
        _repair(run)
    found = audit(run)
    if json:
        import orjson

        print(orjson.dumps(found.as_dict()).decode())
    else:
        _print_table(found)
    interrupted = EXIT_INTERRUPTED if found.is_interrupted else 0
    raise typer.Exit(interrupted if found.passed else EXIT_DAMAGED)


def _repair(run: Path) -> None:
    from weave_async.journal.repair import repair
    from weave_async.rundir import RunFolder

    folder = RunFolder(run)
    folder.require_run()
    folder.open()
    try:
        repaired = repair(folder.journal)
        if repaired:
            folder.note_repair()
        if folder.consultations.is_dir():
            repaired += repair(folder.consultations)
        for each in repaired:
            write_to_stderr(
                printable(
                    f"{each.path}: kept {each.num_frames} frames, left out {each.num_bytes_lost} "
                    f"bytes; the original is {each.original.name}\n"
                )
            )
    finally:
        folder.close()


def _print_table(found: Audit) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in found.checks:
        mark = Text("ok", "green") if check.passed else Text("NOT OK", "bold red")
        counted = Text(f"  {printable(check.counted)}", "dim")
        table.add_row(mark, Text(check.name) + counted)
        for problem in check.problems:
            table.add_row("", Text(printable(problem), "red"))
        num_more = check.num_problems - len(check.problems)
        if num_more:
            table.add_row("", Text(f"and {num_more} more", "red"))
    console = Console(highlight=False)
    console.print(table)
    for note in found.notes:
        console.print(Text(printable(f"note: {note}"), "yellow"))
