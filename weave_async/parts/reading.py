"""What a run reads: its source, examples, and what says how much of it was asked."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from weave_async import registry
from weave_async.errors import InputError, RecipeError, WeaveError
from weave_async.interfaces import Source
from weave_async.recipe import Recipe
from weave_async.rundir import OUTPUTS, RunFolder
from weave_async.sources.files import format_of, open_bytes, spool
from weave_async.sources.openai_batch import is_batch_line


def source_of(recipe: Recipe, stack: AsyncExitStack | ExitStack) -> Source:
    """The source a recipe names. Standard input is copied first: a run reads its source twice."""
    if recipe.prompts.source == "-":
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="weave-async-"))
        path = spool(sys.stdin.buffer, Path(folder))
    else:
        path = recipe.folder / recipe.prompts.source
    return _source_at(path)


def refuse_own_source(recipe: Recipe, folder: RunFolder) -> None:
    """A run that read what it writes would never be the same again."""
    ours = folder.path.resolve()
    for name in _read_by(recipe):
        try:
            path = (recipe.folder / name).resolve()
        except (OSError, RuntimeError, ValueError):  # a loop of links, say: whoever reads it tells
            continue
        if path == ours:
            raise RecipeError(
                f"{name} is the folder that this run writes: choose another one with -o"
            )
        if path.parent == ours and path.stem in OUTPUTS:
            raise RecipeError(f"{name} is a file that this run writes: choose another -o")


def _read_by(recipe: Recipe) -> Iterator[str]:
    """The files and folders whose rows a recipe names."""
    examples = recipe.prompts.examples
    if recipe.prompts.source != "-":
        yield recipe.prompts.source
    if examples is not None and examples.source is not None:
        yield examples.source
    for kind, parts in (("validator", recipe.validation), ("selector", recipe.selection)):
        for part in parts:
            yield from registry.paths_in(kind, part.name, part.options)


def model_of_source(recipe: Recipe) -> str | None:
    """The model that the source of a recipe names, as far as it can be told without a run."""
    if recipe.prompts.source == "-":
        return None
    try:
        source = _source_at(recipe.folder / recipe.prompts.source)
        model: str | None = getattr(source, "model", None)
    except WeaveError:  # it is for the run to tell what is wrong with its prompts
        return None
    return model


def examples_source_of(recipe: Recipe) -> Source | None:
    """The source of examples, where it is another than that of the prompts."""
    examples = recipe.prompts.examples
    if examples is None or examples.source is None:
        return None
    return _source_at(recipe.folder / examples.source)


def _source_at(path: Path) -> Source:
    source: Source = registry.build("source", _format_of(path), {"path": path})
    return source


def _format_of(path: Path) -> str:
    """By its name; a batch file is JSON Lines by name, and told by its first line."""
    if path.is_dir():
        return "run"
    if not path.suffix and not path.exists():
        raise InputError(
            f"there is no {path}: a source is a file of rows, or the folder of a run that has ended"
        )
    by_name = format_of(path)
    if by_name != "jsonl" or not path.is_file():
        return by_name
    with open_bytes(path) as lines:
        first = next((line for line in lines if line.strip()), b"")
    return "openai_batch" if is_batch_line(first) else by_name


def num_samples_asked(folder: RunFolder, recipe: Recipe) -> int | None:
    """How many the run was told to ask for, with all shards; ``None`` where that is for the recipe
    to say.
    """
    if (shard := folder.read_shard()) is not None:
        return shard["of_samples"]
    manifest = folder.read_manifest()
    if manifest is None or recipe.accept is not None:
        return None
    asked, copies = manifest.get("asked"), manifest.get("copies", 0)
    if not isinstance(asked, int) or not isinstance(copies, int):
        return None
    return asked - copies if asked > copies else None
