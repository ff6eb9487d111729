"""What a run asks, as a batch file. Reads the run folder; writes nothing into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Literal

from weave_async import registry
from weave_async.batch.requests import custom_id_of
from weave_async.errors import RecipeError
from weave_async.interfaces import BatchApi
from weave_async.parts.endpoints import endpoints_asked
from weave_async.parts.reading import examples_source_of, num_samples_asked, source_of
from weave_async.parts.steering import decisions_of
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Sample
from weave_async.run_rows import ROW_ERRORS, not_ours, rows_in
from weave_async.rundir import OUTPUTS, RunFolder
from weave_async.settings import FALLBACK_PROVIDER
from weave_async.sharding import Shard

Only = Literal["all", "pending", "written"]


def openai_batch(run: Path, only: Only) -> Iterator[bytes]:
    """A batch file of the run's requests, a line each, as its endpoints were asked them. What a
    controller has not decided yet, nobody would ask, and is left out.

    Endpoints that speak another language than OpenAI's are written down as if they spoke it.
    """
    folder = RunFolder(run)
    folder.require_run()
    recipe = Recipe.load(folder.recipe)
    if recipe.prompts.source == "-":
        raise RecipeError(f"{run} was made from standard input, which nobody has any more")
    source = source_of(recipe, AsyncExitStack())
    endpoints = endpoints_asked(folder, recipe)
    plan = Plan(
        recipe,
        source,
        endpoints,
        num_samples=num_samples_asked(folder, recipe),
        examples=examples_source_of(recipe),
        shard=Shard.told(folder.read_shard()),
    )
    decisions_of(plan, folder)
    apis = {endpoint.name: _api_of(endpoint) for endpoint in endpoints}
    is_wanted = _chooser(folder, only)
    for sample in plan.samples(plan.is_decided):
        if is_wanted(sample):
            yield apis[sample.endpoint].request_line(sample.request, custom_id_of(sample))


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
    """Those whose rows stand in one of the outputs; copies are of one answer."""
    for where, row in rows_in(folder.path / f"{stem}.jsonl"):
        try:
            yield row["sample_id"].partition("~")[0]
        except ROW_ERRORS as error:
            raise not_ours(where, error) from error
