"""A recipe's parts → its stages, in the order in which they are applied.

Validators come cheapest first, as each one spares the later ones what it rejects: those that run on
the event loop, those that run in workers, those that ask a model; within each, in the recipe's
order. Noise comes as the recipe has it, behind them: see ``pipeline``. The same is built in the
main process, where mistakes are found before anything is asked, and in every worker: from a spec,
which is JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.noise.lock import MeaningLock
from weave_async.noise.similarity import installed_similarity
from weave_async.noise.spans import ProtectedSpans
from weave_async.stages.interface import SampleStage
from weave_async.stages.judging import AskingJudgingStage, JudgingStage, SchemaStage
from weave_async.stages.noising import AskingNoiseStage, NoiseOptions, NoiseStage
from weave_async.stages.selecting import SelectingStage
from weave_async.validation.completion import CompletionValidator

AnyStage = SampleStage | AskingNoiseStage | AskingJudgingStage
HERE, IN_WORKERS, WITH_MODELS = range(3)
"""On the event loop, in worker processes, with a model's help."""
ALWAYS_APPLIED = "completion"
"""The rule that no recipe has to name."""
BUILD = f"{__name__}:stages_of"
"""How a worker finds ``stages_of``."""
_NOISE_OPTIONS = tuple(field.name for field in fields(NoiseOptions))


@dataclass(frozen=True, slots=True)
class PartSpec:
    """One part of a recipe: its name, and its options as plain data, paths absolute."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StageSpec:
    """All that stages are built from."""

    seed: int
    noise: Sequence[PartSpec]
    validation: Sequence[PartSpec]
    schema: Mapping[str, Any] | None = None
    explains_all: bool = False

    def as_dict(self) -> dict[str, Any]:
        parts = {
            kind: [{"name": part.name, "options": dict(part.options)} for part in chosen]
            for kind, chosen in (("noise", self.noise), ("validation", self.validation))
        }
        return {
            "seed": self.seed,
            **parts,
            "schema": self.schema,
            "explains_all": self.explains_all,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StageSpec:
        noise, validation = (
            [PartSpec(part["name"], part["options"]) for part in data[kind]]
            for kind in ("noise", "validation")
        )
        return cls(data["seed"], noise, validation, data["schema"], data["explains_all"])


def stages_of(spec: StageSpec | Mapping[str, Any]) -> list[AnyStage]:
    """Every stage before selection. Raises ``RecipeError`` for a part that cannot be built."""
    if not isinstance(spec, StageSpec):
        spec = StageSpec.from_dict(spec)
    rules = [
        (name, registry.build("validator", part.name, part.options))
        for name, part in _named(spec.validation)
    ]
    terms = [term for _, rule in rules for term in getattr(rule, "protected_terms", ())]
    judges: list[AnyStage] = [
        _judging_stage(name, rule, explains_all=spec.explains_all) for name, rule in rules
    ]
    return [
        JudgingStage("validation", ALWAYS_APPLIED, CompletionValidator()),
        *_schema_stages(spec),
        *sorted(judges, key=cost_of),
        *_noise_stages(spec, terms),
    ]


def selectors_of(parts: Sequence[PartSpec]) -> list[SelectingStage]:
    """The stages that look at samples beside each other: they run in output order."""
    stages = [
        SelectingStage(name, registry.build("selector", part.name, part.options))
        for name, part in _named(parts)
    ]
    for stage in stages[:-1]:
        if stage.is_final:
            raise RecipeError(
                f"selection: '{stage.name}' decides once it has seen all samples, so it comes last"
            )
    return stages


def drift_gate_of(stages: Sequence[AnyStage]) -> str | None:
    """What compares texts where a noise may change words; ``None`` where none does."""
    locks = [stage.lock for stage in stages if isinstance(stage, NoiseStage | AskingNoiseStage)]
    gates = {lock.similarity.gate_name for lock in locks if lock.similarity is not None}
    return next(iter(gates), None)


def cost_of(stage: AnyStage) -> int:
    """How dear a stage is, which is where it runs: ``HERE``, ``IN_WORKERS``, or ``WITH_MODELS``."""
    if isinstance(stage, AskingNoiseStage | AskingJudgingStage):
        return WITH_MODELS
    return HERE if stage.is_light else IN_WORKERS


def _named(parts: Sequence[PartSpec]) -> Iterator[tuple[str, PartSpec]]:
    """Each part by its name; the second one of a name is ``length#2``."""
    met: Counter[str] = Counter()
    for part in parts:
        met[part.name] += 1
        number = met[part.name]
        yield (part.name if number == 1 else f"{part.name}#{number}"), part


def _judging_stage(name: str, rule: Any, *, explains_all: bool) -> AnyStage:
    if hasattr(rule, "consults"):
        return AskingJudgingStage(name, rule, explains_all)
    return JudgingStage("validation", name, rule, explains_all)


def _schema_stages(spec: StageSpec) -> Iterator[SchemaStage]:
    if spec.schema is not None:
        from weave_async.validation.json_schema import AnswerSchema  # loads jsonschema

        yield SchemaStage(AnswerSchema(spec.schema), spec.explains_all)


def _noise_stages(spec: StageSpec, terms: Sequence[str]) -> Iterator[AnyStage]:
    stride = 1
    for name, part in _named(spec.noise):
        shared = {key: value for key, value in part.options.items() if key in _NOISE_OPTIONS}
        own = {key: value for key, value in part.options.items() if key not in _NOISE_OPTIONS}
        noise = registry.build("noise", part.name, own, also_known=_NOISE_OPTIONS)
        options = _noise_options(part.name, shared)
        lock = _lock(part.name, terms, options, drifts=_may_drift(noise))
        kind: Callable[..., AnyStage] = (
            AskingNoiseStage if hasattr(noise, "consults") else NoiseStage
        )
        yield kind(name, noise, lock, spec.seed, options, stride)
        stride *= options.num_variants


def _lock(name: str, terms: Sequence[str], options: NoiseOptions, *, drifts: bool) -> MeaningLock:
    try:
        spans = ProtectedSpans([*terms, *options.protect], options.protect_patterns)
    except ValueError as error:
        raise RecipeError(f"noise '{name}': protect_patterns: {error}") from error
    similarity = installed_similarity() if drifts else None
    return MeaningLock(spans, similarity, options.min_similarity)


def _may_drift(noise: Any) -> bool:
    """Whether it changes words; of one that stands for others, nobody can say."""
    return getattr(noise, "checks_drift", False) or hasattr(noise, "chosen")


def _noise_options(name: str, given: Mapping[str, Any]) -> NoiseOptions:
    try:
        return TypeAdapter(NoiseOptions).validate_python(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"noise '{name}': {where + ': ' if where else ''}{message} (got {first['input']!r})"
        ) from None
