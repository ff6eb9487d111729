"""Signatures."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.known_pairs import pair
from weave_async.selection.minhash import MinHasher


@given(st.lists(st.text(max_size=30), max_size=12), st.integers(1, 7))
def test_a_signature_depends_on_its_text_alone(texts: list[str], ngram_chars: int) -> None:
    hasher = MinHasher(16, ngram_chars)
    together = hasher.signatures(texts)
    assert together.shape == (len(texts), 16)
    for signature, text in zip(together, texts, strict=True):
        assert (signature == hasher.signatures([text])[0]).all()


@pytest.mark.parametrize(("shared", "of_each"), [(90, 5), (80, 10), (50, 25), (10, 45)])
def test_minima_are_equal_as_often_as_the_sets_are_alike(shared: int, of_each: int) -> None:
    rng, hasher = Random(1), MinHasher(256, 5)
    pairs = [pair(shared, of_each, 5, rng) for _ in range(40)]
    ones = hasher.signatures([one for one, _, _ in pairs])
    others = hasher.signatures([other for _, other, _ in pairs])
    assert np.mean(ones == others) == pytest.approx(float(pairs[0][2]), abs=0.02)


def test_order_and_repeats_of_ngrams_do_not_count() -> None:
    signatures = MinHasher(32, 1).signatures(["abc", "cbaabc" * 1000])
    assert (signatures[0] == signatures[1]).all()
