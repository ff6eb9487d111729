"""The best of each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.selecting import decided
from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.records import Message, Prompt, Request, Sample, SamplingParams, Verdict
from weave_async.selection.grid import GridSelector

NAME = "weave_async.selection.grid:GridSelector"
ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.sampled_from([1.0, 2.0, 2.5])),
    max_size=60,
)


def grid(by: Any, **options: Any) -> GridSelector:
    selector = registry.build("selector", NAME, {"by": by, **options})
    assert isinstance(selector, GridSelector)
    return selector


def samples_of(rows: Sequence[tuple[Any, str, float]]) -> list[Sample]:
    """A sample for each topic, text and number of stars."""
    request = Request("request", "tiny", (), SamplingParams())
    samples = []
    for n, (topic, text, stars) in enumerate(rows):
        prompt = Prompt(f"{n:016x}", 0, (), {"topic": topic}, "", {"stars": stars})
        samples.append(Sample(n, prompt, request, "here", n, (Message("assistant", text),)))
    return samples


def passed(verdicts: Sequence[Verdict]) -> list[int]:
    return [number for number, verdict in enumerate(verdicts) if verdict.passed]


@given(ROWS, st.integers(1, 3), st.sampled_from([1, 7, 128]))
def test_those_that_stay_are_the_best_of_their_cell_and_the_first_of_equals(
    rows: list[tuple[str, int, float]], per_cell: int, batch_rows: int
) -> None:
    select = grid(
        ["topic", {"length_words": [10, 30]}], per_cell=per_cell, quality={"column": "stars"}
    )
    samples = samples_of([(topic, "word " * words, stars) for topic, words, stars in rows])
    verdicts = decided(select, samples, batch_rows)
    cells = [(topic, (words >= 10) + (words >= 30)) for topic, words, _ in rows]
    expected = []
    for cell in set(cells):
        members = [number for number, its in enumerate(cells) if its == cell]
        expected += sorted(members, key=lambda number: (-rows[number][2], number))[:per_cell]
    assert passed(verdicts) == sorted(expected)
    assert max(Counter(cells[number] for number in expected).values(), default=0) <= per_cell


def test_a_sample_that_is_not_the_best_names_the_one_that_is() -> None:
    rows = [("fees", "a b", 2.0), ("fees", "a b", 4.5), ("fees", "a " * 10, 1.0)]
    samples = samples_of(rows)
    select = grid(["topic", {"length_words": [10, 30]}], quality={"column": "stars"})
    verdicts = decided(select, samples)
    assert passed(verdicts) == [1, 2]
    assert verdicts[0].reason == "not_best_of_cell"
    assert verdicts[0].evidence == {
        "of": samples[1].sample_id,
        "cell": "fees / length_words < 10",
        "quality": 2.0,
        "of_quality": 4.5,
    }


def test_the_cells_of_a_number_begin_at_its_edges() -> None:
    rows = [("a", "x", stars) for stars in (1.9, 2, 3.9, 4, "many", True)]
    select = grid([{"stars": [2, 4]}])
    verdicts = decided(select, samples_of([*rows, *rows]))  # type: ignore[list-item, arg-type]
    cells = [verdict.evidence["cell"] for verdict in verdicts[6:]]
    between = "2 ≤ stars < 4"
    assert cells == [
        "stars < 2", between, between, "stars ≥ 4", "stars: no number", "stars: no number",
    ]  # fmt: skip
    assert select.columns_read == ["stars"]


def test_texts_that_are_near_to_each_other_share_a_cell_of_meaning() -> None:
    texts = ["My card is lost.", "Where is the beach?", "My card is lost!", "where is the Beach"]
    select = grid(["topic", {"meaning": 2}], embedder="ngrams")
    rows = [("meaning", text, 0.0) for text in [texts[0], *texts]]
    verdicts = decided(select, samples_of(rows))
    assert passed(verdicts) == [0, 2]
    cells = [verdict.evidence["cell"] for verdict in verdicts if not verdict.passed]
    assert cells == ["meaning / meaning 1", "meaning / meaning 1", "meaning / meaning 2"]


@given(ROWS, st.sampled_from([2, 5]))
def test_cells_of_meaning_do_not_depend_on_batches(
    rows: list[tuple[str, int, float]], num_cells: int
) -> None:
    samples = samples_of([(topic, f"{topic} {words % 9}", stars) for topic, words, stars in rows])
    one_by_one, by_seven, at_once = (
        decided(grid([{"meaning": num_cells}], embedder="ngrams"), samples, size)
        for size in (1, 7, 128)
    )
    assert one_by_one == by_seven == at_once
    assert len(passed(at_once)) <= num_cells


def test_one_name_is_an_axis_and_the_first_of_each_value_stays() -> None:
    rows = [("a", "x", 0.0), ("b", "x", 0.0), ("a", "y", 0.0), (None, "x", 0.0)]
    assert passed(decided(grid("topic"), samples_of(rows))) == [0, 1, 3]
    assert passed(decided(grid("endpoint"), samples_of(rows))) == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": []}, "at least one"),
        ({"by": ["topic", "topic"]}, "each axis once"),
        ({"by": "length_words"}, r"in which cells, as in {length_words: \[10, 30, 100\]}"),
        ({"by": ["meaning"]}, "in which cells, as in {meaning: 16}"),
        ({"by": [{"meaning": 1}]}, "1 is no number of cells"),
        ({"by": [{"meaning": [1.5]}]}, "is no number of cells"),
        ({"by": [{"length_words": 3}]}, "3 are no edges"),
        ({"by": [{"length_words": [30, 10]}]}, "give ascending numbers"),
        ({"by": [{"length_words": [1], "length_chars": [1]}]}, "one name with its edges"),
        ({"by": "topic", "per_cell": 0}, "per_cell 0 must be 1 or more"),
    ],
)
def test_what_could_not_be_meant_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        registry.build("selector", NAME, options)
