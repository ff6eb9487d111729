"""Arms on a line: what other weights do to what is drawn."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.attributes import Choice, Uniform
from weave_async.controller.dimensions import MOST_ARMS, of_range, of_values
from weave_async.seeding import fraction_for

fractions = st.floats(0, 1, exclude_max=True)
weights = st.lists(st.floats(0.01, 100), min_size=2, max_size=8)


@given(prior=weights, fraction=fractions, data=st.data())
def test_what_is_drawn_by_other_weights_is_of_the_arm_that_is_told(
    prior: list[float], fraction: float, data: st.DataObject
) -> None:
    others = st.lists(st.floats(0.001, 1), min_size=len(prior), max_size=len(prior))
    cumulative = list(accumulate(data.draw(others)))
    values = list(range(len(prior)))
    dimension = of_values("attribute:a", values, prior)
    arm = dimension.arm_at(fraction, cumulative)
    moved = dimension.moved(fraction, cumulative)
    assert 0 <= moved < 1
    assert Choice(choice=values, weights=prior).draw(moved) == arm
    assert dimension.arm_at(moved, None) == arm


@given(fraction=fractions, first=st.floats(0.01, 0.99))
def test_a_range_is_drawn_within_the_part_that_is_told(fraction: float, first: float) -> None:
    dimension = of_range("params:temperature", (0.2, 1.0), 2)
    arm = dimension.arm_at(fraction, [first, 1.0])
    drawn = Uniform(uniform=(0.2, 1.0)).draw(dimension.moved(fraction, [first, 1.0]))
    assert arm == (fraction >= first)
    assert (0.2 <= drawn <= 0.6) if arm == 0 else (0.6 <= drawn <= 1.0)


@given(prior=weights, fraction=fractions)
def test_the_recipes_own_weights_move_nothing_by_more_than_rounding(
    prior: list[float], fraction: float
) -> None:
    dimension = of_values("mix", range(len(prior)), prior)
    assert dimension.moved(fraction, list(accumulate(prior))) == pytest.approx(fraction, abs=1e-9)


def test_values_come_as_often_as_was_decided() -> None:
    dimension = of_values("attribute:a", "abc", [1, 1, 2])
    choice = Choice(choice=["a", "b", "c"], weights=[1, 1, 2])
    drawn = (fraction_for(0, f"{i}", 0, "x") for i in range(4000))
    counts = Counter(choice.draw(dimension.moved(each, [0.6, 0.9, 1.0])) for each in drawn)
    assert counts["a"] == pytest.approx(2400, rel=0.05)
    assert counts["c"] == pytest.approx(400, rel=0.15)


def test_neighbours_in_a_long_list_share_an_arm() -> None:
    values = [f"topic {i}" for i in range(1000)]
    dimension = of_values("attribute:topic", values, None)
    assert len(dimension.labels) == MOST_ARMS
    assert dimension.labels[0] == "topic 0 … topic 30"
    assert sum(dimension.prior) == pytest.approx(1)
    only_first = [1.0] * MOST_ARMS
    drawn = {Choice(choice=values).draw(dimension.moved(i / 1000, only_first)) for i in range(1000)}
    assert drawn == set(values[:31])


def test_a_value_without_weight_is_never_drawn() -> None:
    dimension = of_values("attribute:a", ["never", "always"], [0, 1])
    assert not dimension.can_be_steered
    assert {dimension.arm_at(i / 100, None) for i in range(100)} == {1}
    assert {dimension.arm_at(i / 100, [0.0, 1.0]) for i in range(100)} == {1}


def test_a_range_of_one_number_is_one_arm() -> None:
    assert not of_range("params:top_p", (0.9, 0.9), 4).can_be_steered


def test_equal_labels_are_told_apart() -> None:
    assert of_values("mix", ["m", "m"], None).labels == ("m", "m #2")
