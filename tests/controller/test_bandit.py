"""From evidence to weights: finds what is better, heeds its floors, and is not led by noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_async.controller.bandit import ArmEvidence, next_weights, shrunken_yields

FLOOR, STEP, MEMORY = 0.2, 0.5, 0.8
Draw = Callable[[Random, int], float]
"""A reward of a sample, by its round."""


def simulated(
    arms: Sequence[Draw], *, seed: int = 0, rounds: int = 12, size: int = 200, floor: float = FLOOR
) -> list[list[float]]:
    """The weights of each round."""
    rng = Random(seed)
    prior = [1 / len(arms)] * len(arms)
    evidence, weights = [ArmEvidence() for _ in arms], [prior]
    for number in range(rounds):
        for arm in evidence:
            arm.discount(MEMORY)
        for choice in rng.choices(range(len(arms)), weights[-1], k=size):
            evidence[choice].add(arms[choice](rng, number), rng.uniform(0.5, 1.5))
        weights.append(next_weights(prior, weights[-1], evidence, floor=floor, step=STEP))
    return weights


def good(rng: Random, _: int) -> float:
    return rng.uniform(0.5, 1.5)


def poor(rng: Random, _: int) -> float:
    return rng.uniform(0.5, 1.5) if rng.random() < 0.3 else 0.0


def test_it_finds_the_better_arm() -> None:
    for seed in range(5):
        last = simulated([poor, good, poor], seed=seed)[-1]
        assert last[1] > 0.7
        assert max(last[0], last[2]) < 0.15


def test_arms_that_are_equal_stay_near_the_recipe() -> None:
    moved = [abs(simulated([good] * 4, seed=seed)[-1][0] - 0.25) for seed in range(20)]
    assert fmean(moved) < 0.01
    assert max(moved) < 0.05


def test_an_arm_that_dries_out_is_forgotten() -> None:
    def dries_out(rng: Random, number: int) -> float:
        return good(rng, number) if number < 10 else 0.05

    def lesser(rng: Random, number: int) -> float:
        return good(rng, number) / 2

    weights = simulated([dries_out, lesser], rounds=25)
    assert weights[10][0] > 0.65
    assert weights[25][0] < 0.2


def test_what_was_given_up_is_found_again_when_it_gets_better() -> None:
    def late(rng: Random, number: int) -> float:
        return 0.0 if number < 10 else 2 * good(rng, number)

    weights = simulated([late, good], rounds=25)
    assert weights[10][0] < 0.15
    assert weights[25][0] > 0.6


def test_a_few_observations_move_little() -> None:
    prior = [0.5, 0.5]
    few, many = ([ArmEvidence(), ArmEvidence()] for _ in range(2))
    rng = Random(1)
    for arms, num in ((few, 3), (many, 300)):
        for _ in range(num):
            arms[0].add(rng.choice([0, 1, 2]), 1.0)
            arms[1].add(rng.choice([0, 0, 1, 2]), 1.0)
    shifts = [
        abs(next_weights(prior, prior, arms, floor=FLOOR, step=1)[0] - 0.5) for arms in (few, many)
    ]
    assert shifts[0] <= shifts[1]
    assert shifts[1] > 0.05


def test_an_arm_that_takes_more_tokens_for_the_same_is_worth_less() -> None:
    cheap, dear = ArmEvidence(), ArmEvidence()
    rng = Random(0)
    for _ in range(200):
        cheap.add(rng.uniform(0.8, 1.2), 0.5)
        dear.add(rng.uniform(0.8, 1.2), 1.5)
    weights = next_weights([0.5, 0.5], [0.5, 0.5], [cheap, dear], floor=FLOOR, step=1)
    assert weights[0] > 0.8


def test_where_nothing_was_accepted_nothing_changes() -> None:
    arms = [ArmEvidence(), ArmEvidence()]
    for arm in arms:
        arm.add(0.0, 1.0)
    assert next_weights([0.5, 0.5], [0.3, 0.7], arms, floor=FLOOR, step=STEP) == [0.3, 0.7]


def test_an_arm_that_was_never_drawn_counts_as_the_mean() -> None:
    seen = [ArmEvidence(), ArmEvidence()]
    rng = Random(0)
    for arm, level in zip(seen, (1.0, 2.0), strict=True):
        for _ in range(50):
            arm.add(level * rng.uniform(0.9, 1.1), 1.0)
    low, high, unseen = shrunken_yields([*seen, ArmEvidence()])
    assert low < unseen < high


samples = st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 50)), max_size=6)


@settings(max_examples=200)
@given(
    arms=st.lists(st.tuples(st.floats(0.01, 1), samples), min_size=1, max_size=6),
    floor=st.floats(0.01, 1),
    step=st.floats(0.01, 1),
)
def test_weights_sum_to_one_keep_their_floors_and_go_no_further_than_a_step(
    arms: list[tuple[float, list[tuple[float, float]]]], floor: float, step: float
) -> None:
    total = sum(weight for weight, _ in arms)
    prior = [weight / total for weight, _ in arms]
    evidence = [ArmEvidence() for _ in arms]
    for arm, (_, drawn) in zip(evidence, arms, strict=True):
        for reward, tokens in drawn:
            arm.add(reward, tokens)
    before = prior
    for _ in range(3):
        after = next_weights(prior, before, evidence, floor=floor, step=step)
        assert sum(after) == pytest.approx(1, abs=1e-5)
        assert all(w >= floor * p - 1e-5 for w, p in zip(after, prior, strict=True))
        assert sum(abs(a - b) for a, b in zip(after, before, strict=True)) <= 2 * step + 1e-4
        before = after
