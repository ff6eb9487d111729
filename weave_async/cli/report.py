"""``weave-async report``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weave_async.cli.console import write_to_stderr
from weave_async.visible import printable

DEFAULT_SAMPLES, MOST_SAMPLES = 2_000, 20_000


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as `run -o` names it.")],
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="Another run: the page then has both, and how they compare."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where the page goes. Default: RUN/report.html; for two runs, comparison.html in "
            "the folder of the second.",
        ),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            "--samples",
            min=0,
            max=MOST_SAMPLES,
            help="Samples on the page, of each run: drawn by the seed, some of each reason and of "
            "each model.",
        ),
    ] = DEFAULT_SAMPLES,
    seed: Annotated[int, typer.Option("--seed", help="Draws the samples that are shown.")] = 0,
    open: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser when it is made.")
    ] = False,
) -> None:
    """Make one HTML page of a run: what became of its samples and why, to look at and to judge.

    The page has all figures of the run with their intervals, a table of samples to browse and
    filter, the recipe, and how to make the run again. It loads nothing from elsewhere and works
    offline; pictures need the extra `plots`. A run that was cut short gets a page of what there
    is. Sends no request, and changes nothing of the run.

    Exits with 65 where the manifest is damaged, with 73 where there is no run.

    Examples:

    `weave-async report out/demo --open`

    `weave-async report out/plain out/ours -o comparison.html`
    """
    from weave_async.report.making import make_report

    path = make_report(run, other, output=output, num_samples=samples, seed=seed)
    print(printable(f"{path}"))
    if open:
        import webbrowser

        if not webbrowser.open(path.absolute().as_uri()):
            write_to_stderr(printable(f"no browser could be opened here: open {path} yourself\n"))
