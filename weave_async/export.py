"""What a run asks, in the files of others. Reads the run folder; writes nothing into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import orjson

from weave_async import registry
from weave_async.batch.requests import custom_id_of
from weave_async.errors import InputError, RecipeError, UsageError
from weave_async.interfaces import BatchApi
from weave_async.noise.edits import undone
from weave_async.parts.endpoints import endpoints_asked
from weave_async.parts.reading import examples_source_of, num_samples_asked, source_of
from weave_async.parts.steering import decisions_of
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Sample, TextChange
from weave_async.rundir import OUTPUTS, RunFolder, open_regular
from weave_async.settings import FALLBACK_PROVIDER

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
    )
    decisions_of(plan, folder)
    apis = {endpoint.name: _api_of(endpoint) for endpoint in endpoints}
    is_wanted = _chooser(folder, only)
    for sample in plan.samples(plan.is_decided):
        if is_wanted(sample):
            yield apis[sample.endpoint].request_line(sample.request, custom_id_of(sample))


def noise_pairs(run: Path, only: Only) -> Iterator[bytes]:
    """The texts of the dataset that noise has changed, each beside what it was: a line each."""
    if only == "pending":
        raise UsageError("pairs of clean and noisy texts are of rows in the dataset: leave --only")
    folder = RunFolder(run)
    folder.require_run()
    for where, row in _rows_in(folder, "samples"):
        try:
            yield from _pairs_of(row)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise _not_ours(where, error) from error


def _pairs_of(row: Mapping[str, Any]) -> Iterator[bytes]:
    # One without changes is in a message that a rule has blacked something out of since.
    edits = [edit for edit in row["lineage"]["noise"] if edit["changes"]]
    for index in sorted({edit["message_index"] for edit in edits}):
        message = row["messages"][index]
        text: str = message["content"]
        ours = [edit for edit in edits if edit["message_index"] == index]
        for edit in reversed(ours):
            text = undone(text, [TextChange(**change) for change in edit["changes"]])
        pair = {
            "sample_id": row["sample_id"],
            "role": message["role"],
            "clean": text,
            "noisy": message["content"],
            "edits": [{"noise": edit["noise"], "changes": edit["changes"]} for edit in ours],
        }
        yield orjson.dumps(pair, option=orjson.OPT_APPEND_NEWLINE)


FORMATS: Mapping[str, Callable[[Path, Only], Iterator[bytes]]] = {
    "openai-batch": openai_batch,
    "noise-pairs": noise_pairs,
}
"""What ``weave-async export`` can write: rows as they stand in the file."""


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
    for where, row in _rows_in(folder, stem):
        try:
            yield row["sample_id"].partition("~")[0]
        except (AttributeError, KeyError, TypeError) as error:
            raise _not_ours(where, error) from error


def _rows_in(folder: RunFolder, stem: str) -> Iterator[tuple[str, Any]]:
    path = folder.path / f"{stem}.jsonl"
    if not path.exists():
        return
    with open_regular(path) as rows:
        for number, line in enumerate(rows, 1):
            where = f"{path}:{number}"
            try:
                row = orjson.loads(line)
            except ValueError as error:
                raise _not_ours(where, error) from error
            yield where, row


def _not_ours(where: str, error: Exception) -> InputError:
    return InputError(f"{where} is no row of ours: {error!r}; try `verify`")
