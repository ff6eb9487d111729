"""Two sets of texts are compared at equal rows and words, or not at all."""

from __future__ import annotations

import json
import random

import pytest

from weave_async.features.words import words_of
from weave_async.metrics.comparing import (
    UnequalSetsError,
    change_between,
    compared,
    first_words,
    of_equal_words,
)
from weave_async.metrics.estimate import Estimate

WORDS = [f"w{rank}" for rank in range(2_000)]


def texts(num: int, vocabulary: int, *, seed: int, words: tuple[int, int] = (6, 14)) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS[:vocabulary], k=rng.randint(*words))) for _ in range(num)]


def test_the_more_diverse_set_is_found_and_the_change_is_clear() -> None:
    found = compared(texts(150, 200, seed=1), texts(220, 1_500, seed=2), seed=1)
    for name in ("distinct_1", "distinct_2", "vendi", "mtld"):
        comparison = found[name]
        assert comparison.one
        assert comparison.other
        assert comparison.change
        assert comparison.one.num_rows == comparison.other.num_rows == 150
        assert comparison.one.num_words == comparison.other.num_words
        assert comparison.is_clear
        assert comparison.change.difference > 0
    assert found["self_bleu"].change
    assert found["self_bleu"].change.difference < 0
    assert "novelty_2" not in found
    for comparison in found.values():
        json.dumps(comparison.as_dict(), allow_nan=False)


def test_two_draws_of_the_same_are_seldom_clearly_different() -> None:
    names = ["distinct_1", "distinct_2", "self_bleu"]
    num_clear = 0
    for seed in range(20):
        one, other = texts(80, 500, seed=2 * seed), texts(80, 500, seed=2 * seed + 1)
        found = compared(one, other, seed=seed, metrics=names)
        num_clear += sum(comparison.is_clear for comparison in found.values())
    assert num_clear <= 9  # of 60; 3 are to be expected


def test_longer_rows_of_the_same_kind_do_not_look_less_diverse() -> None:
    short, long = texts(200, 1_000, seed=1), texts(200, 1_000, seed=2, words=(10, 24))
    equal = compared(short, long, seed=3, metrics=["distinct_1"])["distinct_1"]
    unequal = compared(short, long, seed=3, metrics=["distinct_1"], allow_unequal=True)
    assert not equal.is_clear
    assert unequal["distinct_1"].is_clear


def test_sets_of_quite_different_lengths_are_refused_without_the_flag() -> None:
    short, long = texts(20, 100, seed=1, words=(3, 4)), texts(20, 100, seed=2, words=(30, 40))
    with pytest.raises(UnequalSetsError, match="words on average: too far apart"):
        compared(short, long, seed=1)
    assert compared(short, long, seed=1, metrics=["mtld"], allow_unequal=True)["mtld"].change


def test_cut_sets_have_the_same_lengths_throughout() -> None:
    one, other = of_equal_words(texts(50, 100, seed=1), texts(50, 100, seed=2, words=(8, 20)))
    lengths = [sorted(len(words_of(text)) for text in part) for part in (one, other)]
    assert lengths[0] == lengths[1]


@pytest.mark.parametrize(
    ("text", "num", "expected"),
    [
        ("Well, don't stop now.", 2, "Well, don't"),
        ("Well, don't stop now.", 4, "Well, don't stop now."),
        ("Well", 0, ""),
        ("日本語です", 2, "日本"),
    ],
)
def test_a_text_is_cut_behind_its_words(text: str, num: int, expected: str) -> None:
    assert first_words(text, num) == expected


def test_what_cannot_be_told_of_one_has_a_reason() -> None:
    found = compared(["one text"], ["another text"], seed=1)
    assert found["self_bleu"].reason == "it takes two texts with words"
    assert found["self_bleu"].change is None
    assert not found["self_bleu"].is_clear
    assert found["distinct_1"].change
    assert found["distinct_1"].change.low is None


def test_empty_sets_have_reasons_only() -> None:
    found = compared([], [], seed=1)
    assert found
    assert all(comparison.reason for comparison in found.values())


def test_one_empty_set_is_no_comparison() -> None:
    assert all(comparison.reason for comparison in compared([], ["a text"], seed=1).values())


def test_an_unknown_metric_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'vendy'; known: .*vendi"):
        compared(["a"], ["b"], seed=1, metrics=["vendy"])


def test_figures_of_different_sizes_are_compared_with_the_flag_alone() -> None:
    one, other = Estimate(0.4, 0.3, 0.5, 100, 900, "x"), Estimate(0.6, 0.5, 0.7, 200, 1_800, "x")
    with pytest.raises(UnequalSetsError, match="100 rows with 900 words cannot be compared"):
        change_between(one, other)
    change = change_between(one, other, allow_unequal=True)
    assert change.difference == pytest.approx(0.2)
    assert change.relative == pytest.approx(0.5)
    assert change.low == pytest.approx(0.2 - 0.1 * 2**0.5)
