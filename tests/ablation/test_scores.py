"""Scores and their intervals: as others compute them, and as often right as they say."""

from __future__ import annotations

import numpy as np
import pytest

from weave_async.ablation import scores


def labels(rng: np.random.Generator, num: int, classes: int = 3) -> scores.Labels:
    return rng.integers(0, classes, num)


def mistaken(truth: scores.Labels, share: float, rng: np.random.Generator) -> scores.Labels:
    wrong = rng.random(len(truth)) < share
    return np.where(wrong, (truth + 1) % 3, truth)


def test_macro_f1_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    for _ in range(20):
        truth, guessed = labels(rng, 40), labels(rng, 40)
        expected = metrics.f1_score(truth, guessed, average="macro")
        assert scores.macro_f1(truth, guessed, 3) == pytest.approx(expected)


def test_a_class_that_is_not_there_does_not_count() -> None:
    truth = np.array([0, 0, 1, 1])
    assert scores.macro_f1(truth, truth, 5) == 1


def test_a_real_difference_is_seen_and_none_is_made_up() -> None:
    pytest.importorskip("scipy")
    rng = np.random.default_rng(2)
    told = {True: 0, False: 0}
    for draw in range(40):
        truth = labels(rng, 200)
        good = scores.scores_of(truth, [mistaken(truth, 0.1, rng) for _ in range(5)], 3, draw)
        for is_worse, share in ((True, 0.3), (False, 0.1)):
            guessed = [mistaken(truth, share, rng) for _ in range(5)]
            other = scores.scores_of(truth, guessed, 3, draw)
            told[is_worse] += other.less(good).interval().excludes_zero
    assert told[True] == 40
    assert told[False] <= 4  # 5 % of 40 are 2


def test_luck_of_draws_makes_intervals_as_wide_as_few_draws_need() -> None:
    """The mean of five draws from a normal distribution is held by 95 % of intervals."""
    pytest.importorskip("scipy")
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(1000):
        drawn = rng.normal(0.7, 0.1, 5)
        found = scores.Scores(float(drawn.mean()), drawn, np.full(10, 0.7)).interval()
        held += found.low <= 0.7 <= found.high
    assert 930 <= held <= 970


@pytest.mark.parametrize(
    ("score", "rows", "why"),
    [
        (0.5, 10.0, ""),
        (0.7, 40.0, ""),
        (0.6, 20.0, ""),
        (0.65, 28.28, ""),
        (0.4, None, "fewer than 10"),
        (0.9, None, "more than 80"),
    ],
)
def test_a_score_is_worth_so_many_rows_of_the_curve(
    score: float, rows: float | None, why: str
) -> None:
    worth, said = scores.rows_worth([10, 20, 40, 80], [0.5, 0.6, 0.7, 0.65], score)
    if score == 0.9:
        assert (worth, said.startswith(why)) == (None, True)
    elif rows is None:
        assert worth is None
        assert said.startswith(why)
    else:
        assert worth == pytest.approx(rows, rel=0.01)
