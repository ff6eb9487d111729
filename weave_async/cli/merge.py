"""``weave-async merge``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weave_async.cli import options
from weave_async.cli.console import print_error
from weave_async.visible import printable


def merge(
    shards: Annotated[
        list[Path], typer.Argument(metavar="SHARDS", help="The run folders of all shards.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder of the merged run, a new one.")
    ],
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Merge though shards or answers are missing: their samples stay pending.",
        ),
    ] = False,
    json: options.JsonOption = False,
) -> None:
    """Make one run of the shards that `run --shard K/N` has made.

    The answers of all shards go through noise, validation and selection as in one run, so that the
    dataset is the one that one machine would have made: the same rows, in the same order. No
    request is sent. The shards are read, and stay as they are.

    Examples:

    `for k in 1 2 3 4; do weave-async run recipe.yaml --shard $k/4 -o out/shards/$k; done`

    `weave-async merge out/shards/* -o out/whole`
    """
    import orjson

    from weave_async.cli.loop import run_in_loop
    from weave_async.cli.progress import progress_for
    from weave_async.cli.run import drive
    from weave_async.merging import merging

    with (
        merging(shards, output, allow_missing=allow_missing) as run,
        progress_for(run) as progress,
    ):
        summary, exit_code = run_in_loop(drive(run, progress))
    if json:
        print(orjson.dumps(summary.as_dict()).decode())
    else:
        print(printable(str(summary)))
    if summary.error:
        print_error(summary.error)
    raise typer.Exit(exit_code)
