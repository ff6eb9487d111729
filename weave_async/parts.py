"""Recipe and settings → the parts of a run, each checked and built before anything is asked."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.interfaces import Source, Stage
from weave_async.noise.spans import ProtectedSpans
from weave_async.recipe import MixEntry, Part, Recipe
from weave_async.records import Endpoint
from weave_async.settings import ProviderTraits, Settings
from weave_async.sources.files import format_of, spool
from weave_async.stages import JudgingStage, NoiseStage
from weave_async.validation.completion import CompletionValidator

NOISE_STAGE_OPTIONS = ("field", "protect", "probability")
"""Options of every noise, whatever its own are: see ``stages.NoiseStage``."""


def endpoints_of(mix: Sequence[MixEntry], settings: Settings) -> list[Endpoint]:
    """An endpoint per entry of the mix, each with a name of its own unless two are the same."""
    named: dict[str, Endpoint] = {}
    endpoints = []
    for entry in mix:
        endpoint = endpoint_of(entry, settings)
        count = 1
        while named.setdefault(endpoint.name, endpoint) != endpoint:
            count += 1
            endpoint = replace(endpoint, name=f"{endpoint.name.partition('#')[0]}#{count}")
        endpoints.append(endpoint)
    _refuse_shared_address([entry.endpoint for entry in mix], settings)
    return endpoints


def endpoint_of(
    entry: MixEntry, settings: Settings, *, default_model: str | None = None
) -> Endpoint:
    """The endpoint an entry of the mix means, once the environment has had its say."""
    provider = registry.load("provider", settings.provider_of(entry.endpoint))
    traits = ProviderTraits(
        getattr(provider, "default_model", None) or default_model,
        getattr(provider, "environment_fallback", None),
    )
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
        yield _noise_stage(part, terms, recipe.seed)
    for name, rule in validators:
        yield JudgingStage("validation", name, rule)
    for part in recipe.selection:
        rule = registry.build("selector", part.name, part.options)
        yield JudgingStage("selection", part.name, rule)


def _noise_stage(part: Part, terms: Sequence[str], seed: int) -> NoiseStage:
    own = {key: value for key, value in part.options.items() if key not in NOISE_STAGE_OPTIONS}
    noise = registry.build("noise", part.name, own, also_known=NOISE_STAGE_OPTIONS)
    field = part.options.get("field", "prompt")
    protect = part.options.get("protect", [])
    probability = part.options.get("probability", 1.0)
    if field not in ("prompt", "completion"):
        raise RecipeError(f"noise '{part.name}': field is prompt or completion, not {field!r}")
    if not isinstance(protect, list) or not all(isinstance(term, str) for term in protect):
        raise RecipeError(f"noise '{part.name}': protect is a list of terms, not {protect!r}")
    if not isinstance(probability, int | float) or not 0 <= probability <= 1:
        raise RecipeError(f"noise '{part.name}': probability is 0 to 1, not {probability!r}")
    spans = ProtectedSpans([*terms, *protect])
    return NoiseStage(part.name, noise, spans, seed, field, probability)


def _refuse_shared_address(names: Sequence[str], settings: Settings) -> None:
    """One address and key cannot be meant for several endpoints of different names."""
    unnamed = sorted({name for name in names if name not in settings.endpoints})
    default = settings.default
    if len(unnamed) > 1 and default.provider is None and (default.base_url or default.api_key):
        raise RecipeError(
            f"WEAVE_ASYNC_BASE_URL and WEAVE_ASYNC_API_KEY could be meant for {unnamed[0]} or for "
            f"{unnamed[1]}: give each an endpoint of its own, WEAVE_ASYNC_ENDPOINTS__NAME__BASE_URL"
        )


def source_of(recipe: Recipe, stack: AsyncExitStack) -> Source:
    """The source a recipe names. Standard input is copied first: a run reads its source twice."""
    if recipe.prompts.source == "-":
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="weave-async-"))
        path = spool(sys.stdin.buffer, Path(folder))
    else:
        path = recipe.folder / recipe.prompts.source
    source: Source = registry.build("source", format_of(path), {"path": path})
    return source
