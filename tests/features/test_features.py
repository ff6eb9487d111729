"""What texts are compared by: stable, the same everywhere, and blind to case and spacing."""

from __future__ import annotations

import numpy as np
import pytest

from weave_async.features.embeddings import NgramEmbedder
from weave_async.features.ngrams import char_ngram_hashes, normalized
from weave_async.features.words import words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, it's 3.5 km!", ["don't", "stop", "it's", "3", "5", "km"]),
        ("Größe_und ÉTÉ", ["größe", "und", "été"]),
        ("漢字 and кириллица", ["漢", "字", "and", "кириллица"]),
        ("... !?", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_ngram_hashes_are_the_same_in_every_process() -> None:
    hashes = [hex(each) for each in char_ngram_hashes("abcdef", 5)]
    assert hashes == ["0xde92851d3352221c", "0xbab9ee53eaf8327d"]


@pytest.mark.parametrize("text", ["", "a", "ab", "abcde", "abcdefg", "漢字", "\ud800", "😀" * 9])
def test_there_is_a_hash_for_each_place_and_one_of_a_short_text(text: str) -> None:
    assert len(char_ngram_hashes(text, 5)) == max(1, len(text) - 4)


def test_equal_ngrams_hash_alike_wherever_they_stand() -> None:
    one, other = char_ngram_hashes("xxabcdexx", 5), char_ngram_hashes("abcde", 5)
    assert other[0] == one[2]
    assert len(set(one.tolist())) == len(one)


def test_case_and_spacing_do_not_count() -> None:
    assert normalized("  Straße \n und\tMEHR ") == "strasse und mehr"
    rows = NgramEmbedder().embed(["Hello  World", "hello world"])
    assert np.array_equal(rows[0], rows[1])


def test_a_row_has_length_one_and_does_not_depend_on_those_beside_it() -> None:
    texts = ["", "a", "the cat sat on the mat", "漢字 и ещё", "x" * 5000]
    together = NgramEmbedder().embed(texts)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    for row, text in zip(together, texts, strict=True):
        assert np.array_equal(NgramEmbedder().embed([text])[0], row)


def test_what_is_nearer_has_a_larger_cosine() -> None:
    clean, near, far = NgramEmbedder().embed(
        [
            "My parcel has not arrived yet, where is it?",
            "My package has not arrived yet, where is it?",
            "Bake the cake at a low heat.",
        ]
    )
    assert clean @ far < 0.3 < 0.7 < clean @ near < 1
