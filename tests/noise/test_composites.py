"""Noises made of noises."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import pytest

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.noise.composites import Composite
from weave_async.noise.typos import TyposNoise

COMPOSE = "weave_async.noise.composites:ComposeNoise"
ONE_OF = "weave_async.noise.composites:OneOfNoise"
CASING = "weave_async.noise.casing:CasingNoise"


@dataclass
class Asking:
    consults: ClassVar[tuple[str, ...]] = ("judge",)


def built(name: str, options: dict[str, Any]) -> Composite:
    composite: Composite = registry.build("noise", name, options)
    assert isinstance(composite, Composite)
    return composite


def names(composite: Composite, seed: int = 0) -> list[str]:
    return [name for name, _ in composite.chosen(Random(seed))]


def test_compose_applies_its_parts_in_order_built_as_in_a_recipe() -> None:
    composite = built(COMPOSE, {"": [{"typos": {"rate": 0.01}}, CASING, {"typos": 0.2}]})
    chosen = composite.chosen(Random(0))
    assert [name for name, _ in chosen] == ["typos", CASING, "typos"]
    assert chosen[0][1] == TyposNoise(rate=0.01)
    assert chosen[2][1] == TyposNoise(rate=0.2)


def test_one_of_takes_each_part_as_often_as_its_weight_says() -> None:
    composite = built(ONE_OF, {"parts": ["typos", CASING], "weights": [3, 1]})
    counts = Counter(names(composite, seed)[0] for seed in range(4000))
    assert counts["typos"] == pytest.approx(3000, abs=150)
    equal = built(ONE_OF, {"": ["typos", CASING]})
    counts = Counter(names(equal, seed)[0] for seed in range(4000))
    assert counts["typos"] == pytest.approx(2000, abs=150)


def test_composites_nest_and_say_the_noises_within() -> None:
    inner = {ONE_OF: {"parts": [CASING, {COMPOSE: ["typos", "typos"]}], "weights": [0, 1]}}
    assert names(built(COMPOSE, {"": ["typos", inner]})) == ["typos", "typos", "typos"]


def test_the_probability_of_a_part_is_the_share_of_texts_that_it_is_applied_to() -> None:
    composite = built(COMPOSE, {"": [{"typos": {"rate": 0.1, "probability": 0.25}}, CASING]})
    counts = Counter(name for seed in range(4000) for name in names(composite, seed))
    assert counts["typos"] == pytest.approx(1000, abs=120)
    assert counts[CASING] == 4000


def test_the_same_seed_chooses_the_same() -> None:
    composite = built(ONE_OF, {"": ["typos", CASING]})
    assert [names(composite, seed) for seed in range(50)] == [
        names(composite, seed) for seed in range(50)
    ]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (COMPOSE, {"": []}, "compose needs parts"),
        (COMPOSE, {"": "typos"}, "parts: Input should be a valid list"),
        (COMPOSE, {"": [5]}, "parts of compose are names, or names with options"),
        (COMPOSE, {"": ["typo"]}, "unknown noise 'typo'; did you mean 'typos'"),
        (COMPOSE, {"": [{"typos": {"rate": 7}}]}, "noise 'typos': rate must be"),
        (COMPOSE, {"": [{"typos": {"rat": 0.1}}]}, "unknown option 'rat'; did you mean 'rate'"),
        (COMPOSE, {"": [{"typos": {"probability": 2}}]}, "probability of 'typos' must be between"),
        (COMPOSE, {"": [{"typos": {"probability": "x"}}]}, "probability of 'typos' must be a numb"),
        (ONE_OF, {"parts": ["typos"], "weights": [1, 2]}, "weights must be as many as parts"),
        (ONE_OF, {"parts": ["typos"], "weights": [-1]}, "weights must be 0 or more"),
        (ONE_OF, {"parts": ["typos"], "weights": [0]}, "one of them more than 0"),
        (ONE_OF, {"parts": ["typos"], "weights": [float("inf")]}, "weights must be 0 or more"),
    ],
)
def test_parts_that_cannot_be_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        registry.build("noise", name, options)


def test_a_part_that_asks_a_model_is_refused_with_the_way_out() -> None:
    with pytest.raises(RecipeError, match=r"cannot hold .*Asking', which asks a model: list it as"):
        registry.build("noise", COMPOSE, {"": [f"{__name__}:Asking"]})
