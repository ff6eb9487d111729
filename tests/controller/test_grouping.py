"""Groups of examples: of equal size, and each of rows that look alike."""

from __future__ import annotations

from random import Random

from weave_async.controller.grouping import groups_alike, num_groups_of


def test_what_looks_alike_is_in_one_group() -> None:
    texts = [f"the harbor lies in fog, day {i}" for i in range(20)]
    texts += [f"SELECT name FROM users WHERE id = {i}" for i in range(20)]
    Random(0).shuffle(texts)
    for group in groups_alike(texts, 2):
        assert len({texts[number].startswith("SELECT") for number in group}) == 1


def test_each_row_is_in_one_group_and_groups_are_of_one_size() -> None:
    rng = Random(1)
    texts = ["".join(rng.choices("abcdef ", k=30)) for _ in range(50)]
    groups = groups_alike(texts, 8)
    assert sorted(number for group in groups for number in group) == list(range(50))
    assert {len(group) for group in groups} == {6, 7}
    assert groups_alike(texts, 8) == groups


def test_equal_rows_make_groups_too() -> None:
    assert groups_alike(["same"] * 6, 3) == [[0, 1], [2, 3], [4, 5]]


def test_a_small_pool_is_not_divided() -> None:
    assert num_groups_of(7, least=4) == 1
    assert num_groups_of(8, least=4) == 2
    assert num_groups_of(10_000, least=4) == 8
