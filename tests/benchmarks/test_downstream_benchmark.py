"""The benchmarks of diversity and of what data is worth: fair recipes, and figures that add up."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GIVEN = Namespace(rows=20, tokens=5000, seed=1, mix=["simulated"], draws=2, endpoint="simulated")


@pytest.fixture(autouse=True)
def benchmarks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def module(name: str) -> Any:
    __import__(name)
    return sys.modules[name]


def test_every_arm_accepts_by_the_same_rules_under_the_same_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diversity = module("diversity")
    monkeypatch.setattr(
        diversity,
        "real_questions",
        lambda: [{"topic": "a", "question": f"why {n}?"} for n in range(9)],
    )
    recipes = [diversity.recipe_of(arm, tmp_path, GIVEN) for arm in diversity.ARMS]
    for name in ("validation", "budget", "accept", "candidates", "seed"):
        assert len({str(getattr(recipe, name)) for recipe in recipes}) == 1, name
    plain, ours = recipes[:2]
    assert (plain.selection, plain.controller, plain.prompts.attributes) == ([], None, {})
    assert ours.selection
    assert ours.controller is not None


def a_task(data: Any) -> Any:
    rows = [(f"a free prize number {n} for you", "spam") for n in range(60)]
    rows += [(f"see you at home at {n} then", "ham") for n in range(140)]
    return data.Task("spam", rows, data._SPAM, num_seeds=20, num_test=60)


def test_no_part_of_a_split_has_rows_of_another() -> None:
    data = module("downstream_data")
    parts = data.split(a_task(data), 3)
    assert parts.seeds == parts.real[:20]
    assert parts.test == data.split(a_task(data), 4).test
    assert not set(parts.real) & set(parts.test)
    assert {label for _, label in parts.seeds} == {"spam", "ham"}


def test_ours_and_plain_ask_for_the_same_labels(tmp_path: Path) -> None:
    data, downstream = module("downstream_data"), module("downstream")
    task = a_task(data)
    test = downstream.write_rows(tmp_path / "test.jsonl", task.rows[:9])
    ours = downstream.ours_recipe(task, tmp_path, test, 0, 10, "simulated")
    plain = downstream.plain_recipe(task, tmp_path, 0, 10, "simulated")
    assert ours.prompts.attributes["label"] == plain.prompts.attributes["label"]
    assert (plain.validation, plain.noise, plain.selection) == ([], [], [])
    assert downstream.noisy_recipe(test, 0, GIVEN).noise


def test_figures_tell_who_is_better_and_by_how_many_rows() -> None:
    data, downstream = module("downstream_data"), module("downstream")
    outcome = downstream.Outcome(a_task(data))
    rng = np.random.default_rng(0)

    def guesses(truth: Any, wrong: float) -> Any:
        made = np.where(rng.random(len(truth)) < wrong, 1 - truth, truth)
        return np.concatenate([made, made])

    outcome.truth = truth = rng.integers(0, 2, 300)
    for _ in range(5):
        outcome.num_draws += 1
        arms = {"seeds": 0.35, "seeds, duplicated": 0.35, "seeds + plain": 0.3}
        arms |= {"noisy seeds": 0.35, "seeds + ours": 0.1}
        arms |= {f"ours without {part}": 0.2 for part in downstream.LEFT_OUT}
        for name, wrong in arms.items():
            outcome.guesses.setdefault(name, []).append(guesses(truth, wrong))
            outcome.num_rows.setdefault(name, []).append(50)
        for size, wrong in ((20, 0.35), (40, 0.2), (80, 0.05)):
            outcome.curve.setdefault(size, []).append(guesses(truth, wrong))
    told = downstream.figures_of(outcome)["clean"]
    assert told["seeds + ours"]["more_than_control"]["low"] > 0
    assert 40 < int(told["seeds + ours"]["worth_real_rows"]["value"]) < 80
    assert told["ours without noise"]["less_than_ours"]["high"] < 0
    assert told["seeds, duplicated"]["more_than_control"] == dict.fromkeys(
        ("value", "low", "high"), 0
    )
