"""What judges and writes: stages with their workers, selectors, sinks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.recipe import Part, Recipe
from weave_async.sinks.outputs import AnySink
from weave_async.stages import building
from weave_async.stages.building import AnyStage, PartSpec, StageSpec, cost_of
from weave_async.stages.selecting import SelectingStage
from weave_async.workers.pool import WorkerPool

MOST_WORKERS = 8
"""Unless a recipe says otherwise: each holds its parts, and maybe their models, in memory."""


def stage_spec_of(recipe: Recipe, *, explains_all: bool = False) -> StageSpec:
    """What noise and validation are built from, here and in the workers."""
    return StageSpec(
        seed=recipe.seed,
        noise=_specs(recipe, "noise", recipe.noise),
        validation=_specs(recipe, "validator", recipe.validation),
        schema=recipe.answer_schema,
        explains_all=explains_all,
    )


def workers_of(recipe: Recipe, spec: StageSpec, stages: Sequence[AnyStage]) -> WorkerPool | None:
    """Where what the event loop would suffer from runs; ``None`` if there can be no such thing.

    Where all stages are light, only long samples come here: the workers start with the first one.
    The event loop needs a core of its own for part of its time only, so that one worker more than
    there are other cores makes a run with much to do an eighth faster.
    """
    if not (spec.noise or spec.validation or spec.schema):
        return None
    limits, num_cores = recipe.stages, len(os.sched_getaffinity(0))
    return WorkerPool(
        building.BUILD,
        spec.as_dict(),
        num_workers=limits.workers or min(MOST_WORKERS, num_cores),
        num_spare=int(limits.workers is None and 1 < num_cores <= MOST_WORKERS),
        deadline_s=limits.deadline,
        memory_bytes=limits.memory_mb << 20,
        starts_late=all(cost_of(stage) != building.IN_WORKERS for stage in stages),
    )


def selectors_of(recipe: Recipe) -> list[SelectingStage]:
    stages = building.selectors_of(_specs(recipe, "selector", recipe.selection))
    rules = [part.name for part in recipe.validation]
    for stage in stages:
        for name in getattr(stage.rule, "rules_read", ()):
            if name.partition("#")[0] not in rules:
                unknown = registry.unknown("rule", name, rules, where=" in 'validation'")
                raise RecipeError(f"{stage.kind} '{stage.name}': {unknown}")
    if recipe.accept is not None and any(stage.is_final for stage in stages):
        raise RecipeError(
            f"accept: {recipe.accept} ends the asking at so many written samples, and "
            f"'{stages[-1].name}' writes none before it has seen all: give `candidates` instead"
        )
    return stages


def _specs(recipe: Recipe, kind: str, parts: Sequence[Part]) -> list[PartSpec]:
    return [
        PartSpec(part.name, registry.located(kind, part.name, part.options, recipe.folder))
        for part in parts
    ]


def require_divisible(recipe: Recipe) -> None:
    """Raises ``RecipeError`` for what needs to see the samples of all shards while it asks."""
    if recipe.controller is not None:
        raise RecipeError("a controller learns from all samples: it cannot steer one shard")
    if recipe.accept is not None:
        raise RecipeError(
            f"accept: {recipe.accept} written samples are known once shards are merged: leave it "
            "out, and say with --samples how many are asked for in all"
        )


def columns_read_by(stages: Iterable[Any]) -> dict[str, list[str]]:
    """The columns and attributes of prompts that stages need, by the name of the stage."""
    needed = {}
    for stage in stages:
        part = getattr(stage, "rule", None)
        names = [*getattr(part, "columns_read", ())]
        if (options := getattr(stage, "options", None)) is not None:
            names += options.protect_fields
        if names:
            needed[f"{stage.kind} '{stage.name}'"] = names
    return needed


def sinks_of(recipe: Recipe) -> list[AnySink]:
    """The writers of the dataset's formats."""
    return [_new_sink(name) for name in recipe.output.to]


def _new_sink(name: str) -> AnySink:
    sink: AnySink = registry.build("sink", name, {})
    writes = hasattr(sink, "encode") or (hasattr(sink, "open") and hasattr(sink, "rows_per_shard"))
    if not isinstance(getattr(sink, "suffix", None), str) or not writes:
        raise RecipeError(
            f"sink '{name}' needs a suffix, and an encode or an open: see interfaces.Sink"
        )
    return sink
