"""``weave-async ablate``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli import options
from weave_async.errors import UsageError
from weave_async.visible import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weave_async.ablation.ablation import Ablation, Variant


def ablate(
    recipe_or_run: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE|RUN",
            help="A run folder, whose answers are used; or a recipe, which is run first.",
        ),
    ],
    eval_file: Annotated[
        Path,
        typer.Option(
            "--eval", metavar="FILE", help="Real rows to score on: a .jsonl or .csv file."
        ),
    ],
    label: Annotated[
        str,
        typer.Option(
            "--label", help="What is to be learned: an attribute or column, and a column of FILE."
        ),
    ] = "label",
    text: Annotated[
        str, typer.Option("--text", help="What is learned from: completion, or prompt.")
    ] = "completion",
    eval_text: Annotated[
        str, typer.Option("--eval-text", help="The column of FILE that holds the texts.")
    ] = "text",
    model: Annotated[
        str, typer.Option("--classifier", help="words (TF-IDF), or embeddings; both linear.")
    ] = "words",
    trainings: Annotated[
        int, typer.Option("--seeds", min=2, help="Trainings on halves, for the intervals.")
    ] = 8,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Of a recipe: the run's folder. Default: out/NAME."),
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Show what noise, validation and selection each bring to a model trained on the dataset.

    The answers of one run are replayed without each of them, a small model is trained on every
    variant, and all are scored on the same real rows. Rows of FILE that are in a dataset are left
    out. Only the run of a recipe sends requests, and a run folder sends none.

    Example: `weave-async ablate out/intents --eval test.csv --label intent`
    """
    from weave_async.ablation.ablation import ablated
    from weave_async.cli.loop import run_in_loop

    if text not in ("completion", "prompt"):
        raise UsageError(f"--text is completion or prompt, and not '{text}'")
    if model not in ("words", "embeddings"):
        raise UsageError(f"--classifier is words or embeddings, and not '{model}'")
    path = recipe_or_run if recipe_or_run.is_dir() else _made(recipe_or_run, output)
    found = run_in_loop(
        ablated(
            path,
            eval_file,
            label=label,
            text=text,  # type: ignore[arg-type]
            eval_text=eval_text,
            kind=model,  # type: ignore[arg-type]
            num_trainings=trainings,
        )
    )
    if json:
        import orjson

        print(orjson.dumps(found.as_dict()).decode())
        return
    for line in _lines(found):
        print(printable(line))


def _made(recipe_path: Path, output: Path | None) -> Path:
    """The folder of the recipe's run, which is brought to its end."""
    from weave_async.cli.loop import run_in_loop
    from weave_async.cli.progress import progress_for
    from weave_async.recipe import Recipe
    from weave_async.run import Run

    recipe = Recipe.load(recipe_path)
    folder = output or Path("out") / recipe.name

    async def run() -> None:
        async with Run(recipe, output_dir=folder) as running:
            with progress_for(running) as progress:
                progress.say(str(await running.finish()))

    run_in_loop(run())
    return folder


def _lines(found: Ablation) -> Iterator[str]:
    yield (
        f"Scored on {found.num_eval_rows} rows by macro-F1 over {len(found.classes)} values of "
        f"'{found.label}'; 95 % intervals over rows and {found.num_trainings} trainings on halves."
    )
    if found.num_leaked:
        yield f"{found.num_leaked} rows of the evaluation file are in a dataset: left out."
    if found.num_other:
        yield f"{found.num_other} rows have labels that the dataset does not have: left out."
    width = max(len(each.name) for each in found.variants)
    for each in found.variants:
        yield f"  {each.name:<{width}}  {each.num_rows:>6} rows  {_told(each)}"
    yield "A part brings something where the recipe without it is worse, and the interval says so."


def _told(each: Variant) -> str:
    if each.score is None:
        return each.problem or ""
    score = f"{each.score.value:.3f} ({each.score.low:.3f} to {each.score.high:.3f})"
    if each.difference is None:
        return score
    change = each.difference
    mark = "" if change.excludes_zero else ", no difference that can be told"
    return f"{score}  {change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f}){mark}"
