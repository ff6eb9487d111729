"""Noises made of noises: several one after the other, or one of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, runtime_checkable

from weave_async import registry
from weave_async.errors import RecipeError

Named = tuple[str, Any]
"""A noise and what it is called, in the recipe and in the report."""


@runtime_checkable
class Composite(Protocol):
    """A noise that stands for others. Each of those goes through the lock in a pass of its own."""

    def chosen(self, rng: Random) -> Sequence[Named]:
        """The noises to apply to one text, in order; none of them is a composite itself."""

    @property
    def names(self) -> frozenset[str]:
        """What the noises are called that it may apply."""


@dataclass(frozen=True, slots=True)
class ComposeNoise:
    """Applies ``parts`` in order, each to what the one before it has made of the text.

    A part is written as in the recipe: ``casing``, ``{typos: 0.01}``, ``{typos: {rate: 0.01}}``.
    Besides its own options it may have ``probability``, the share of texts that it is applied to.
    """

    parts: list[Any]
    _noises: tuple[_Built, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_noises", _built_all("compose", self.parts))

    def chosen(self, rng: Random) -> Sequence[Named]:
        return [named for noise in self._noises for named in noise.chosen(rng)]

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(noise.names for noise in self._noises))


@dataclass(frozen=True, slots=True)
class OneOfNoise:
    """Applies one of ``parts``, written as those of ``compose``.

    ``weights`` say how often each is taken, relative to the others: as a list in their order. All
    are taken as often without them.
    """

    parts: list[Any]
    weights: list[float] | None = None
    _noises: tuple[_Built, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_noises", _built_all("one_of", self.parts))
        weights = self.weights
        if weights is None:
            return
        if len(weights) != len(self.parts):
            raise ValueError(
                f"weights must be as many as parts: {len(weights)} for {len(self.parts)}"
            )
        if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
            raise ValueError("weights must be 0 or more, and one of them more than 0")

    def chosen(self, rng: Random) -> Sequence[Named]:
        return rng.choices(self._noises, self.weights)[0].chosen(rng)

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(noise.names for noise in self._noises))


@dataclass(frozen=True, slots=True)
class _Built:
    name: str
    noise: Any
    probability: float = 1.0

    def chosen(self, rng: Random) -> Sequence[Named]:
        if self.probability < 1 and rng.random() >= self.probability:
            return ()
        if isinstance(self.noise, Composite):
            return self.noise.chosen(rng)
        return ((self.name, self.noise),)

    @property
    def names(self) -> frozenset[str]:
        return self.noise.names if isinstance(self.noise, Composite) else frozenset((self.name,))


def _built_all(composite: str, parts: Sequence[Any]) -> tuple[_Built, ...]:
    if not parts:
        raise ValueError(f"{composite} needs parts: [casing, {{typos: {{rate: 0.01}}}}]")
    return tuple(_built(composite, part) for part in parts)


def _built(composite: str, part: Any) -> _Built:
    name, options = _name_and_options(composite, part)
    probability = options.pop("probability", 1.0)
    if isinstance(probability, bool) or not isinstance(probability, (int, float)):
        raise ValueError(f"probability of '{name}' must be a number, not {probability!r}")
    if not 0 <= probability <= 1:
        raise ValueError(f"probability of '{name}' must be between 0 and 1, not {probability}")
    try:
        noise = registry.build("noise", name, options, also_known=("probability",))
    except RecipeError as error:  # pydantic tells a ValueError as what is wrong with the parts
        raise ValueError(str(error)) from None
    if hasattr(noise, "consults"):
        raise ValueError(
            f"{composite} cannot hold '{name}', which asks a model: list it as a noise of its own"
        )
    return _Built(name, noise, probability)


def _name_and_options(composite: str, part: Any) -> tuple[str, dict[str, Any]]:
    """As the recipe reads them: a name, or a name with its options or its first option."""
    if isinstance(part, str):
        return part, {}
    if isinstance(part, Mapping) and len(part) == 1:
        [(name, options)] = part.items()
        if isinstance(name, str):
            if options is None:
                return name, {}
            return name, dict(options) if isinstance(options, Mapping) else {"": options}
    raise ValueError(
        f"parts of {composite} are names, or names with options: {{typos: {{rate: 0.01}}}}"
    )
