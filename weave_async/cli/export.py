"""``weave-async export``"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from weave_async.cli import options
from weave_async.cli.console import printable, write_to_stderr
from weave_async.errors import RunFolderError, WeaveError


class Format(StrEnum):
    openai_batch = "openai-batch"
    noise_pairs = "noise-pairs"


class Only(StrEnum):
    all = "all"
    pending = "pending"
    written = "written"


def export(
    run: options.RunArgument,
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="`openai-batch`: its requests, as batch APIs and `vllm run-batch` take them. "
            "`noise-pairs`: the texts that noise has changed, each beside its clean one.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write. Default: standard output."),
    ] = None,
    only: Annotated[
        Only,
        typer.Option(
            "--only",
            help="Which samples: all that the run asks for, those that have not ended, or those "
            "in the dataset.",
        ),
    ] = Only.all,
) -> None:
    """Write what a run asks, or has made, in the format of others.

    Reads the run's folder and its source. No request is sent, and no key is needed.

    Examples:

    `weave-async export out/demo --format openai-batch -o demo.batch.jsonl`

    `weave-async export out/demo --format noise-pairs -o pairs.jsonl`

    `weave-async run --prompts demo.batch.jsonl -p openai_compatible -o out/again`
    """
    from weave_async.export import FORMATS

    rows = FORMATS[format.value](run, only.value)
    if output is None:
        for row in rows:
            sys.stdout.buffer.write(row)
        return
    num_rows = 0
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            for row in rows:
                file.write(row)
                num_rows += 1
        os.replace(part, output)
    except WeaveError:
        part.unlink()
        raise
    except OSError as error:
        raise RunFolderError(f"cannot write {output}: {error.strerror}") from error
    why = "" if num_rows or format is not Format.noise_pairs else ": no noise has changed a text"
    write_to_stderr(printable(f"{num_rows} rows in {output}{why}\n"))
