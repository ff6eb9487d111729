"""The key ``controller`` of a recipe."""

from __future__ import annotations

import pytest

from weave_async import Recipe
from weave_async.errors import RecipeError
from weave_async.recipe import Controller

RECIPE = "prompts: {source: seeds.jsonl}\n"


@pytest.mark.parametrize("switch", ["", "controller: off", "controller: false", "controller:"])
def test_it_is_off_unless_it_is_wanted(switch: str) -> None:
    assert Recipe.parse(RECIPE + switch).controller is None


@pytest.mark.parametrize("switch", ["on", "true", "{}"])
def test_one_word_turns_it_on(switch: str) -> None:
    assert Recipe.parse(f"{RECIPE}controller: {switch}").controller == Controller()


def test_options_turn_it_on_too() -> None:
    recipe = Recipe.parse(f"{RECIPE}controller: {{round: 400, leave: [label]}}")
    assert recipe.controller == Controller(round=400, leave=["label"])
    assert Recipe.model_validate(recipe.resolved()) == recipe
    assert recipe.with_changes(controller={"floor": 0.5}).controller == Controller(
        round=400, leave=["label"], floor=0.5
    )
    assert Recipe.parse(RECIPE).with_changes(controller={"round": 10}).controller is not None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("maybe", "recipe:2: controller: expected on, off, or options such as {round: 400}"),
        ("{rond: 5}", "recipe:2: unknown key 'rond' in controller"),
        ("{floor: 0}", "recipe:2: controller.floor"),
        ("3", "recipe:2: controller: expected a mapping of keys, got 3"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(value: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.parse(f"{RECIPE}controller: {value}")
    assert str(error.value).startswith(told)


def test_the_schema_knows_the_switch_and_the_options() -> None:
    shape = Recipe.model_json_schema()["properties"]["controller"]["anyOf"]
    assert shape[0] == {"enum": ["on", "off", True, False]}
    assert {"$ref": "#/$defs/Controller"} in shape
