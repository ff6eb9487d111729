"""``weave-async``: the command line. One file per command; this one only joins them.

Commands import what they need when they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from weave_async.cli import (
    ablate,
    bench,
    compare,
    doctor,
    explain,
    export,
    merge,
    new,
    preview,
    report,
    revalidate,
    review,
    run,
    schema,
    serve,
    verify,
)
from weave_async.cli.console import print_error
from weave_async.errors import WeaveError

app = typer.Typer(
    name="weave-async",
    help="Fine-tuning data from the models you have: prompts in, a validated dataset out.",
    epilog="Start with `weave-async new my-data`, or see the README. We never track you.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run")(run.run)
app.command("preview")(preview.preview)
app.command("verify")(verify.verify)
app.command("revalidate")(revalidate.revalidate)
app.command("compare")(compare.compare)
app.command("ablate")(ablate.ablate)
app.command("explain")(explain.explain)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("merge")(merge.merge)
app.command("review")(review.review)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.command("serve")(serve.serve)
app.command("new")(new.new)
app.command("schema")(schema.schema)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"weave-async {version('weave-async')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


def _open_standard_streams() -> None:
    """Where a stream was closed for us (``2>&-``), a file of ours would take its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def main() -> None:
    """The entry point: our own errors become one message and their exit code, never a traceback."""
    _open_standard_streams()
    # Numpy's threads spin on every core while they wait, and the event loop needs one of them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.path.append(str(Path.cwd()))  # for module:Name; last, so that it hides nothing
    try:
        try:
            app(prog_name="weave-async")
        finally:
            sys.stdout.flush()  # or the interpreter would try it, and end with a code of its own
    except WeaveError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output left, as in `| head -1`
        _drop_output()
        sys.exit(0)
    except OSError as error:
        print_error(str(error))
        _drop_output()
        sys.exit(74)


def _drop_output() -> None:
    """What is left in the buffer would fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
