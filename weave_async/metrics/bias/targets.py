"""What shares a recipe asks for: the weights of its attributes and of its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Mix = Sequence[Mapping[str, Any]]


def targets_of(recipe: Mapping[str, Any], mix: Mix | None = None) -> dict[str, dict[str, float]]:
    """Weights by value, by the name of the attribute, and of ``model``. ``recipe`` is as it stands
    in YAML or as ``Recipe.resolved`` gives it; ``mix`` is whom a run has really asked, as its
    manifest has it. Where nothing fixes the shares, as with a file of values, a range, or a model
    that is left open, there is no target.
    """
    prompts = recipe.get("prompts") or {}
    targets = {}
    for name, shape in (prompts.get("attributes") or {}).items():
        if (weights := _weights_of(shape)) is not None:
            targets[name] = weights
    asked = (recipe.get("generate") or {}).get("mix") if mix is None else mix
    models = _models_in(asked or ())
    return targets if models is None else {**targets, "model": models}


def _weights_of(shape: Any) -> dict[str, float] | None:
    if not isinstance(shape, Mapping):
        return None
    if {key for key, value in shape.items() if value is not None} - {"choice", "weights"}:
        return None  # something else decides as well
    values: Sequence[Any] | None = shape.get("choice")
    if not values or any(not isinstance(value, str | int) for value in values):
        return None
    weights: Counter[str] = Counter()
    for value, weight in zip(values, shape.get("weights") or [1.0] * len(values), strict=True):
        weights[str(value)] += weight
    return dict(weights)


def _models_in(mix: Mix) -> dict[str, float] | None:
    weights: Counter[str] = Counter()
    for entry in mix:
        if not entry.get("model"):
            return None
        weights[entry["model"]] += entry.get("weight", 1.0)
    return dict(weights) or None
