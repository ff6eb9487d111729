"""How one text became another."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.differences import edits_between
from weave_async.noise.edits import Edit, Passage, applied, undone

WORDY = st.lists(st.sampled_from(["a", "b", "c", " ", "  ", ".", "not"]), max_size=40).map("".join)


@given(st.text() | WORDY, st.text() | WORDY)
def test_its_edits_make_the_other_text_and_can_be_taken_back(clean: str, noisy: str) -> None:
    made, changes = applied(Passage(clean), edits_between(clean, noisy))
    assert made == noisy
    assert undone(made, changes) == clean


@pytest.mark.parametrize(
    ("clean", "noisy", "edits"),
    [
        ("a b c", "a b c", []),
        ("the red car", "the blue car", [Edit(4, 7, "blue")]),
        ("the red car", "the car", [Edit(4, 8, "")]),
        ("the car", "the red car", [Edit(4, 4, "red ")]),
        ("one two three", "ONE two THREE", [Edit(0, 3, "ONE"), Edit(8, 13, "THREE")]),
        ("", "new", [Edit(0, 0, "new")]),
        ("gone", "", [Edit(0, 4, "")]),
    ],
)
def test_whole_words_are_replaced_and_the_rest_stays(
    clean: str, noisy: str, edits: list[Edit]
) -> None:
    assert edits_between(clean, noisy) == edits


def test_a_word_here_and_there_in_a_long_text_is_an_edit_each() -> None:
    words = [f"w{number}" for number in range(20_000)]
    changed = [word + "x" if number % 200 == 7 else word for number, word in enumerate(words)]
    assert len(edits_between(" ".join(words), " ".join(changed))) == 100


@pytest.mark.parametrize(
    ("clean", "noisy"),
    [
        ("a b " * 50_000, "b a " * 50_000),
        ("a " * 100_000, "b " * 100_000),
        ("x" + "a " * 100_000, "a " * 100_000 + "y"),
        (". " * 200_000, ", " * 200_000),
    ],
)
def test_texts_that_differ_all_over_take_bounded_time(clean: str, noisy: str) -> None:
    began = time.thread_time()
    made, _ = applied(Passage(clean), edits_between(clean, noisy))
    assert made == noisy
    assert time.thread_time() - began < 10
