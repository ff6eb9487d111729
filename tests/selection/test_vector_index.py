"""The nearest row, as a search of all rows in full precision finds it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from weave_async.selection.codes import MAX_DIMENSIONS, codes_of, inverse_norms_of, unit_rows_of
from weave_async.selection.vector_index import Queries, VectorIndex


def unit_rows(num_rows: int, num_dimensions: int = 64, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((num_rows, num_dimensions), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def filled(rows: NDArray[np.float32], max_rows: int = 10_000) -> VectorIndex:
    index = VectorIndex(rows.shape[1], max_rows)
    for number, code in enumerate(codes_of(rows)):
        index.add(str(number), code)
    return index


def test_the_nearest_row_is_found_as_by_brute_force() -> None:
    rows, asked = unit_rows(3000), unit_rows(200, seed=1)
    asked[:100] = rows[:100] + asked[:100] * 0.3  # as near as what counts as redundant
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    index, queries = filled(rows), Queries.of(codes_of(asked))
    cosines = asked @ rows.T  # (200, 3000)
    found = [index.nearest(queries, number) for number in range(len(asked))]
    right = [
        each is not None and int(each.name) == nearest
        for each, nearest in zip(found, cosines.argmax(axis=1), strict=True)
    ]
    assert all(right[:100])
    assert np.mean(right) >= 0.95  # of random rows, the best two may be a rounding apart
    for each, cosine in zip(found, cosines.max(axis=1), strict=True):
        assert each is not None
        assert each.similarity == pytest.approx(cosine, abs=0.005)


@given(st.integers(0, 10_000), st.integers(1, 1040))
def test_products_of_codes_are_added_without_rounding(seed: int, num_dimensions: int) -> None:
    codes = np.random.default_rng(seed).integers(-127, 128, (4, num_dimensions), np.int8)
    codes[0] = codes[1] = 127  # the largest sum that there can be
    exact = codes.astype(np.int64) @ codes.astype(np.int64).T
    assert ((codes.astype(np.float32) @ codes.astype(np.float32).T).astype(np.int64) == exact).all()
    assert num_dimensions <= MAX_DIMENSIONS


def test_rows_that_have_been_taken_in_since_the_search_are_found_too() -> None:
    rows = unit_rows(10)
    index, queries = filled(rows[:3]), Queries.of(codes_of(rows))
    assert index.nearest(queries, 9) is not None
    for number in range(3, 9):
        index.add(str(number), codes_of(rows)[number])
        found = index.nearest(queries, number)
        assert found is not None
        assert (found.name, found.similarity) == (str(number), 1.0)


def test_which_rows_stay_does_not_depend_on_their_order() -> None:
    codes = codes_of(unit_rows(500))
    stayed = []
    for order in (range(500), reversed(range(500))):
        index = VectorIndex(64, 50)
        for number in order:
            index.add(str(number), codes[number])
        assert len(index) == 50
        queries = Queries.of(codes)
        found = [index.nearest(queries, number) for number in range(500)]
        stayed.append({each.name for each in found if each is not None and each.similarity == 1})
    assert stayed[0] == stayed[1]
    assert len(stayed[0]) == 50


def test_a_row_that_has_lost_its_slot_is_no_neighbour_any_more() -> None:
    codes = codes_of(unit_rows(200))
    index, queries = VectorIndex(64, 1), Queries.of(codes)
    for number in range(200):
        index.add(str(number), codes[number])
        in_index = [
            each for n in range(number + 1) if (each := index.nearest(queries, n)) is not None
        ]
        assert len({each.name for each in in_index}) == 1


def test_a_row_without_a_direction_is_like_no_other() -> None:
    zero = np.zeros((1, 64), np.float32)
    index = filled(np.concatenate([zero, unit_rows(2)]))
    found = index.nearest(Queries.of(codes_of(zero)), 0)
    assert found is not None
    assert found.similarity == 0
    assert not np.isnan(unit_rows_of(codes_of(zero))).any()
    assert inverse_norms_of(codes_of(zero))[0] == 0


def test_an_empty_index_has_no_neighbour_and_one_row_none_beside_itself() -> None:
    rows = unit_rows(1)
    queries = Queries.of(codes_of(rows))
    assert VectorIndex(64, 10).nearest(queries, 0) is None
    assert filled(rows).nearest(queries, 0, other_than="0") is None
