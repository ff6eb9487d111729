"""Novelty: what repeats others adds little, in whatever order it comes."""

from __future__ import annotations

from random import Random

import pytest

from weave_async.controller.novelty import Novelty
from weave_async.features.embeddings import NgramEmbedder

KEYS = "The keys to the boathouse hang behind the kitchen door."
RENT = "Pay your rent by the third, or the bank will write to us."


def test_the_nth_repeat_of_a_text_adds_one_share_in_n_and_one() -> None:
    novelty = Novelty()
    assert [novelty.scores([KEYS])[0] for _ in range(4)] == pytest.approx(
        [1 / 2, 1 / 3, 1 / 4, 1 / 5]
    )


def test_another_text_adds_more_than_a_repeat() -> None:
    novelty = Novelty()
    novelty.scores([KEYS] * 10)
    again, other = novelty.scores([KEYS, RENT])
    assert other > 4 * again


def test_the_order_within_a_round_does_not_count() -> None:
    rng = Random(0)
    texts = [" ".join(rng.choices(KEYS.split() + RENT.split(), k=8)) for _ in range(40)]
    one, other = Novelty(), Novelty()
    forwards, backwards = one.scores(texts), other.scores(texts[::-1])
    assert forwards == pytest.approx(backwards[::-1], abs=2e-6)


def test_scores_are_shares_that_sum_to_no_more_than_there_are_dimensions() -> None:
    rng = Random(1)
    novelty = Novelty()
    texts = ["".join(rng.choices("abcdefghij ", k=60)) for _ in range(1500)]
    scores = novelty.scores(texts)
    assert all(0 <= score <= 1 for score in scores)
    assert sum(scores) <= NgramEmbedder.num_dimensions


def test_odd_texts_are_scored_like_others() -> None:
    scores = Novelty().scores(["", " ", "\ud800", "x" * 50_000])
    assert all(0 <= score <= 0.5 for score in scores)
    assert Novelty().scores([]) == []
