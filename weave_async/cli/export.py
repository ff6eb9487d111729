"""``weave-async export``"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli import options
from weave_async.cli.console import write_to_stderr
from weave_async.errors import UsageError
from weave_async.visible import printable

if TYPE_CHECKING:
    from weave_async.export.making import Export, Wanted

_PAIRS, _FILES = "Pairs", "Files"
_LIKE_A_FILE = {
    ".json",
    ".ndjson",
    ".tsv",
    ".gz",
    ".zst",
    ".zip",
    ".arrow",
    ".xlsx",
    ".yaml",
    ".md",
}
"""Endings that nobody gives a folder."""
_STDOUT = Path("-")


class Format(StrEnum):
    messages = "messages"
    prompt_completion = "prompt-completion"
    preference = "preference"
    kto = "kto"
    alpaca = "alpaca"
    sharegpt = "sharegpt"
    openai = "openai"
    text = "text"
    openai_batch = "openai-batch"
    noise_pairs = "noise-pairs"


class Only(StrEnum):
    all = "all"
    pending = "pending"
    written = "written"


class PairBy(StrEnum):
    accepted = "accepted"
    noise = "noise"
    model = "model"
    judge = "judge"
    edited = "edited"


class Reviews(StrEnum):
    follow = "follow"
    ignore = "ignore"
    only = "only"


class To(StrEnum):
    jsonl = "jsonl"
    parquet = "parquet"
    csv = "csv"
    txt = "txt"


def export(
    run: options.RunArgument,
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="For trainers: `messages` (SFT, the default), `prompt-completion`, `preference` "
            "(DPO), `kto`, `alpaca`, `sharegpt`, `openai` (its fine-tuning), `text`. Besides: "
            "`openai-batch`, the run's requests, as batch APIs and `vllm run-batch` take them; "
            "`noise-pairs`, the texts that noise has changed, each beside its clean one.",
        ),
    ] = Format.messages,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=_FILES,
            help="A file, by its ending (.jsonl, .parquet, .csv, .txt), or a folder: shards with a "
            "card, as `datasets` loads them. Default, or -: JSON Lines on standard output.",
        ),
    ] = None,
    to: Annotated[
        To | None,
        typer.Option(
            "--to",
            rich_help_panel=_FILES,
            help="What is in the files. Default: by the file's ending; in a folder Parquet.",
        ),
    ] = None,
    validation: Annotated[
        float,
        typer.Option(
            "--validation",
            metavar="SHARE",
            rich_help_panel=_FILES,
            help="Share of the rows to hold out, as 0.1. What comes of one row of the source, or "
            "asks the same, is never in both parts.",
        ),
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", rich_help_panel=_FILES, help="Draws them. Default: the run's."),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option("--license", rich_help_panel=_FILES, help="For the card, as `cc-by-4.0`."),
    ] = None,
    raw_csv: Annotated[
        bool,
        typer.Option(
            "--raw-csv",
            rich_help_panel=_FILES,
            help="Leave cells that a spreadsheet would run as formulas without a ' in front.",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", rich_help_panel=_FILES, help="Replace what is there already."),
    ] = False,
    pair_by: Annotated[
        PairBy,
        typer.Option(
            "--pair-by",
            rich_help_panel=_PAIRS,
            help="What is better in a `preference` pair: `accepted` than rejected by a rule, the "
            "clean answer than its `noise`, one `model` than another, the higher score of the "
            "`judge`, or what a person has `edited` than the model's.",
        ),
    ] = PairBy.accepted,
    prefer: Annotated[
        str | None,
        typer.Option(
            "--prefer",
            metavar="MODEL,MODEL",
            rich_help_panel=_PAIRS,
            help="With --pair-by model: the models, the best first.",
        ),
    ] = None,
    judge: Annotated[
        str,
        typer.Option("--judge", rich_help_panel=_PAIRS, help="The rule whose score counts."),
    ] = "judge",
    min_gap: Annotated[
        float,
        typer.Option(
            "--min-gap", min=0, rich_help_panel=_PAIRS, help="How far two scores must lie apart."
        ),
    ] = 0.0,
    pairs_per_prompt: Annotated[
        int,
        typer.Option("--pairs-per-prompt", min=1, rich_help_panel=_PAIRS, help="At most so many."),
    ] = 1,
    reviews: Annotated[
        Reviews,
        typer.Option(
            "--reviews",
            help="What people have said in `weave-async review`: `follow` it, so that what they "
            "reject leaves the dataset, what they accept joins it, and their edits hold; `ignore` "
            "it; or take `only` rows that they accept.",
        ),
    ] = Reviews.follow,
    only: Annotated[
        Only,
        typer.Option(
            "--only",
            help="With `openai-batch`, which samples: all that the run asks for, those that have "
            "not ended, or those in the dataset.",
        ),
    ] = Only.all,
) -> None:
    """Write what a run has made in the format of a trainer, or what it asks in that of a batch API.

    Reads the run's folder, and for `openai-batch` its source. No request is sent, and no key is
    needed. Files appear whole or not at all.

    Examples:

    `weave-async export out/demo --format messages -o data --validation 0.1`

    `weave-async export out/demo --format preference --pair-by judge --min-gap 1 -o pairs.parquet`

    `weave-async export out/demo --format alpaca -o alpaca.jsonl`

    `weave-async export out/demo --format openai-batch -o demo.batch.jsonl`

    `weave-async run --prompts demo.batch.jsonl -p openai_compatible -o out/again`
    """
    if format in (Format.openai_batch, Format.noise_pairs):
        _refuse_other_files(format, to, validation)
        if reviews is not Reviews.follow:
            raise UsageError(f"{format.value} is of no dataset that people review: leave --reviews")
        _write_lines(run, _lines_of(format, run, only), output, format, force=force)
        return
    if only is Only.pending:
        raise UsageError(f"{format.value} is of rows in the dataset: leave --only")
    from weave_async.export.making import Wanted
    from weave_async.export.preference import Pairing

    models = [name.strip() for name in (prefer or "").split(",") if name.strip()]
    wanted = Wanted(
        format=format.value,
        pairing=Pairing(pair_by.value, models, judge, min_gap, pairs_per_prompt),
        validation=validation,
        seed=seed,
        license=license,
        raw_csv=raw_csv,
        force=force,
        reviews=reviews.value,
    )
    _write_dataset(run, wanted, output, to)


def _write_dataset(run: Path, wanted: Wanted, output: Path | None, to: To | None) -> None:
    from weave_async.export import making
    from weave_async.export.folder import to_folder

    export = making.Export(run, wanted)
    if pending := export.rows.manifest.get("pending"):
        _say(f"{run} is not finished: {pending} samples are pending")
    if output is None or output == _STDOUT:
        if to not in (None, To.jsonl):
            raise UsageError(f"{to} needs a file: name it with -o")
        for line in making.lines(export):
            sys.stdout.buffer.write(line)
        if reviewed := str(export.rows.applied):
            _say(reviewed)
        return
    kind = making.SUFFIXES.get(output.suffix.lower())
    if output.suffix.lower() in _LIKE_A_FILE and not output.is_dir():
        known = ", ".join(making.SUFFIXES)
        raise UsageError(
            f"-o {output}: a file ends with {known}, and any other name is a folder's; "
            f"{output.suffix} is neither"
        )
    is_file, default = kind is not None, kind or "parquet"
    chosen: making.To = to.value if to is not None else default
    if is_file:
        making.to_file(export, output, chosen)
    else:
        to_folder(export, output, chosen)
    _say(_told(export, output))


def _told(export: Export, output: Path) -> str:
    """Counts, and of what was left out why."""
    counts = export.num_rows
    rows = " and ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    rows = rows if len(counts) > 1 else f"{counts.total()}"
    lines = [f"{rows} {_noun(counts.total())} in {output}"]
    lines += [f"  left out {count:>7}  {why}" for why, count in (+export.left_out).items()]
    lines += [f"  {reviewed}"] if (reviewed := str(export.rows.applied)) else []
    return "\n".join(lines)


def _refuse_other_files(format: Format, to: To | None, validation: float) -> None:
    if validation or to not in (None, To.jsonl):
        raise UsageError(f"{format.value} is JSON Lines: leave --to and --validation")


def _lines_of(format: Format, run: Path, only: Only) -> Iterator[bytes]:
    if format is Format.openai_batch:
        from weave_async.export.requests import openai_batch

        return openai_batch(run, only.value)
    if only is Only.pending:
        raise UsageError("pairs of clean and noisy texts are of rows in the dataset: leave --only")
    from weave_async.export.noise_pairs import noise_pairs

    return noise_pairs(run)


def _write_lines(
    run: Path, lines: Iterator[bytes], output: Path | None, format: Format, *, force: bool
) -> None:
    if output is None or output == _STDOUT:
        for line in lines:
            sys.stdout.buffer.write(line)
        return
    from weave_async.export.files import require_place, whole_file

    require_place(run, output)
    num_rows = 0
    with whole_file(output, force=force) as file:
        for line in lines:
            file.write(line)
            num_rows += 1
    why = "" if num_rows or format is not Format.noise_pairs else ": no noise has changed a text"
    _say(f"{num_rows} {_noun(num_rows)} in {output}{why}")


def _noun(num_rows: int) -> str:
    return "row" if num_rows == 1 else "rows"


def _say(text: str) -> None:
    write_to_stderr(printable(text + "\n"))
