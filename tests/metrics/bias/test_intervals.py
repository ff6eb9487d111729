"""Intervals that hold what they say, on values that others have published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.metrics.bias.intervals import (
    Estimate,
    PerAccepted,
    difference,
    mean,
    mean_difference,
    rng_of,
    share,
)


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_shares_have_the_intervals_of_newcombe_1998(
    hits: int, rows: int, low: float, high: float
) -> None:
    """Table I of his first paper, method 3."""
    estimate = share(hits, rows)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


def test_differences_of_shares_have_the_intervals_of_newcombe_1998() -> None:
    """Table II of his second paper, method 10, example a: 56/70 less 48/80."""
    change = difference(share(48, 80), share(56, 70))
    assert (change.value, change.low, change.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_lies_in_its_interval_within_zero_and_one(counts: tuple[int, int]) -> None:
    estimate = share(*counts)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_bootstrap_of_a_mean_has_the_width_of_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    estimate = mean(values, rng_of(7, "t"))
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_difference_leaves_out_zero_only_where_there_is_one(shift: float) -> None:
    rng = np.random.default_rng(2)
    change = mean_difference(rng.normal(0, 1, 300), rng.normal(shift, 1, 300), rng_of(7, "t"))
    assert change.excludes_zero is bool(shift)


def test_the_interval_of_amounts_per_accepted_row_covers_the_truth() -> None:
    """In 95 of 100 draws, give or take what 300 draws can tell."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        taken = PerAccepted()
        for amount, is_accepted in zip(rng.gamma(4, 10, 200), rng.random(200) < 0.6, strict=True):
            taken.add(amount, is_accepted=bool(is_accepted))
        estimate = taken.estimate()
        assert estimate is not None
        covered += estimate.low <= 40 / 0.6 <= estimate.high
    assert 0.91 <= covered / 300 <= 0.99


def test_nothing_accepted_has_no_amount_per_row() -> None:
    taken = PerAccepted()
    taken.add(5, is_accepted=False)
    assert taken.estimate() is None


@pytest.mark.parametrize("num_rows", [6, 12, 40])
def test_the_interval_of_a_mean_of_few_rows_covers_the_truth(num_rows: int) -> None:
    """Without being moved apart, percentiles of six rows cover it in 84 of 100 draws."""
    rng = np.random.default_rng(4)
    drawn = [mean(rng.normal(3, 1, num_rows), rng_of(7, "t")) for _ in range(400)]
    covered = sum(each.low <= 3 <= each.high for each in drawn)
    assert 0.92 <= covered / 400 <= 0.98


def test_the_same_seed_and_name_draw_the_same() -> None:
    values = np.arange(50, dtype=float)
    assert mean(values, rng_of(-1, "a")) == mean(values, rng_of(-1, "a"))
    assert mean(values, rng_of(-1, "a")) != mean(values, rng_of(-1, "b"))


def test_a_change_of_nothing_does_not_exclude_zero() -> None:
    sure = Estimate(0.5, 0.5, 0.5, 9)
    assert not difference(sure, sure).excludes_zero
