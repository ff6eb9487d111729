"""Recipe and settings → the parts of a run, each checked and built before anything is asked."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.interfaces import Source, Stage
from weave_async.noise.spans import ProtectedSpans
from weave_async.recipe import MixEntry, Recipe
from weave_async.records import Endpoint
from weave_async.settings import ProviderTraits, Settings
from weave_async.sources.files import format_of, spool
from weave_async.stages import JudgingStage, NoiseStage
from weave_async.validation.completion import CompletionValidator


def endpoint_of(
    entry: MixEntry, settings: Settings, *, default_model: str | None = None
) -> Endpoint:
    """The endpoint an entry of the mix means, once the environment has had its say."""
    provider = registry.load("provider", settings.provider_of(entry.endpoint))
    traits = ProviderTraits(provider.default_model or default_model, provider.environment_fallback)
    return settings.endpoint(
        entry.endpoint, model=entry.model, options=entry.options, traits=traits
    )


def stages_of(recipe: Recipe) -> Iterator[Stage]:
    """Noise, validation, selection: each part checked and built, before anything is asked."""
    yield JudgingStage("validation", "completion", CompletionValidator())
    validators = [
        (part.name, registry.build("validator", part.name, part.options))
        for part in recipe.validation
    ]
    terms = [term for _, rule in validators for term in getattr(rule, "protected_terms", ())]
    for part in recipe.noise:
        options = dict(part.options)
        field = options.pop("field", "prompt")
        if field not in ("prompt", "completion"):
            raise RecipeError(f"noise '{part.name}': field is prompt or completion, not {field!r}")
        spans = ProtectedSpans([*terms, *options.pop("protect", ())])
        noise = registry.build("noise", part.name, options)
        yield NoiseStage(part.name, noise, spans, recipe.seed, field)
    for name, rule in validators:
        yield JudgingStage("validation", name, rule)
    for part in recipe.selection:
        rule = registry.build("selector", part.name, part.options)
        yield JudgingStage("selection", part.name, rule)


def source_of(recipe: Recipe, stack: AsyncExitStack) -> Source:
    """The source a recipe names. Standard input is copied first: a run reads its source twice."""
    if recipe.prompts.source == "-":
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="weave-async-"))
        path = spool(sys.stdin.buffer, Path(folder))
    else:
        path = recipe.folder / recipe.prompts.source
    source: Source = registry.build("source", format_of(path), {"path": path})
    return source
