"""``weave-async revalidate``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli import options
from weave_async.visible import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weave_async.revalidation import Revalidation

MAX_SHOWN_CHARS = 100


def revalidate(
    run: options.RunArgument,
    recipe: Annotated[
        Path | None,
        typer.Argument(
            help="A recipe whose noise, validation and selection are tried on the run's answers. "
            "Default: the recipe in the run's folder."
        ),
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Show what changed rules would make of a run's answers. Sends no request, writes nothing.

    The answers come from the run's journal. To have it so, run the recipe again into the same
    folder: that asks for nothing either.

    Example: `weave-async revalidate out/demo stricter.yaml`
    """
    from weave_async.cli.loop import run_in_loop
    from weave_async.recipe import Recipe
    from weave_async.revalidation import revalidate

    changed = None if recipe is None else Recipe.load(recipe)
    found = run_in_loop(revalidate(run, changed))
    if json:
        import orjson

        print(orjson.dumps(found.as_dict()).decode())
        return
    for line in _lines(found):
        print(printable(line))


def _lines(found: Revalidation) -> Iterator[str]:
    num_rejected = found.rejected.total()
    yield (
        f"Of {found.num_answers} answers, {found.written} samples would be written "
        f"(now {found.written_before}) and {num_rejected} rejected."
    )
    for reason, count in found.rejected.most_common():
        yield f"  {count:>7}  {reason}"
    if not (found.changes or found.reworded or found.gone or found.undecided):
        yield "Nothing would change."
        return
    if found.changes:
        yield "Otherwise than now:"
    for (before, after), count in found.changes.most_common():
        yield f"  {count:>7}  {before} → {after}"
        for each in found.examples:
            if (each.before, each.after) == (before, after):
                text = " ".join(each.completion.split())
                cut = text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"
                yield f"             {each.sample_id}  {cut}"
    if found.reworded:
        yield f"  {found.reworded:>7}  written as now, with other texts"
    if found.gone:
        yield f"  {found.gone:>7}  would not be there"
    if found.undecided:
        yield f"  {found.undecided:>7}  not decided: a model would have to be asked"
