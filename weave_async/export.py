"""What a run asks, in the files of others. Reads the run folder; writes nothing into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Literal

import orjson

from weave_async import registry
from weave_async.batch.requests import custom_id_of
from weave_async.errors import InputError, RecipeError, RunFolderError
from weave_async.interfaces import BatchApi
from weave_async.journal.segments import list_segments
from weave_async.parts import examples_source_of, source_of
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Sample
from weave_async.rundir import OUTPUTS, RunFolder, open_regular
from weave_async.settings import FALLBACK_PROVIDER

Only = Literal["all", "pending", "written"]


def openai_batch(run: Path, only: Only) -> Iterator[bytes]:
    """A batch file of the run's requests, a line each, as its endpoints were asked them.

    Endpoints that speak another language than OpenAI's are written down as if they spoke it.
    """
    folder = RunFolder(run)
    folder.require_run()
    recipe = Recipe.load(folder.recipe)
    if recipe.prompts.source == "-":
        raise RecipeError(f"{run} was made from standard input, which nobody has any more")
    source = source_of(recipe, AsyncExitStack())
    endpoints = list(_endpoints_of(folder))
    if not endpoints:
        raise RunFolderError(
            f"{folder.journal} is empty, so that nothing tells who was asked: nothing has come "
            "back yet. Run the same command again, then export"
        )
    if len(endpoints) != len(recipe.generate.mix):
        raise RunFolderError(f"{folder.recipe} is not the recipe of the journal beside it")
    plan = Plan(
        recipe,
        source,
        endpoints,
        num_samples=_num_samples(folder, recipe),
        examples=examples_source_of(recipe),
    )
    apis = {endpoint.name: _api_of(endpoint) for endpoint in endpoints}
    is_wanted = _chooser(folder, only)
    for sample in plan.samples():
        if is_wanted(sample):
            yield apis[sample.endpoint].request_line(sample.request, custom_id_of(sample))


FORMATS: Mapping[str, Callable[[Path, Only], Iterator[bytes]]] = {
    "openai-batch": openai_batch,
}
"""What ``weave-async export`` can write: rows as they stand in the file."""


def _endpoints_of(folder: RunFolder) -> Iterator[Endpoint]:
    """Who was asked last, by the journal: a run may have been sent elsewhere than its recipe says.

    Neither addresses nor keys: nobody is asked now.
    """
    segments = list_segments(folder.journal) if folder.journal.is_dir() else []
    mix = segments[-1].opening.get("asks", {}).get("mix", []) if segments else []
    for number, entry in enumerate(mix):
        provider, model, options = (entry.get(key) for key in ("provider", "model", "options"))
        yield Endpoint(f"{provider}#{number}", provider, model, options=options or {})


def _num_samples(folder: RunFolder, recipe: Recipe) -> int | None:
    """How many the run was told to ask for; ``None`` where that is for the recipe to say."""
    manifest = folder.read_manifest()
    if manifest is None or recipe.accept is not None:
        return None
    asked, copies = manifest.get("asked"), manifest.get("copies", 0)
    if not isinstance(asked, int) or not isinstance(copies, int):
        return None
    return asked - copies if asked > copies else None


def _api_of(endpoint: Endpoint) -> BatchApi:
    """Writes requests to this endpoint."""
    provider = registry.load("provider", endpoint.provider)
    options = endpoint.options
    if not hasattr(provider, "batch_api"):
        provider, options = registry.load("provider", FALLBACK_PROVIDER), {}
    address = getattr(provider, "default_base_url", None)
    api: BatchApi = provider(replace(endpoint, base_url=address, options=options)).batch_api()
    return api


def _chooser(folder: RunFolder, only: Only) -> Callable[[Sample], bool]:
    if only == "all":
        return lambda sample: True
    stems = ("samples",) if only == "written" else OUTPUTS
    found = {hash(sample_id) for stem in stems for sample_id in _sample_ids_in(folder, stem)}
    return lambda sample: (hash(sample.answer_id) in found) == (only == "written")


def _sample_ids_in(folder: RunFolder, stem: str) -> Iterator[str]:
    """Those whose rows stand in one of the outputs."""
    path = folder.path / f"{stem}.jsonl"
    if not path.exists():
        return
    with open_regular(path) as rows:
        for number, row in enumerate(rows, 1):
            try:
                yield orjson.loads(row)["sample_id"].partition("~")[0]  # copies are of one answer
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path}:{number} is no row of ours: {error!r}; try `verify`"
                ) from error
