"""Flesch's and Kincaid's formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weave_async.records import Sample
from weave_async.validation.readability import (
    ReadabilityValidator,
    counts,
    ease,
    grade,
    syllables_in,
)

MakeSample = Callable[..., Sample]
EASY = "The cat sat on the mat. The dog ran to the cat. It was a good day. " * 3
HARD = (
    "Notwithstanding considerable methodological heterogeneity, contemporary investigations"
    " consistently demonstrate statistically significant associations between socioeconomic"
    " deprivation and cardiovascular morbidity, particularly throughout industrialised"
    " populations experiencing accelerated demographic transformation and urbanisation,"
    " irrespective of conventional physiological predispositions."
)


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("cat", 1),
        ("make", 1),
        ("makes", 1),
        ("walked", 1),
        ("wanted", 2),
        ("table", 2),
        ("houses", 2),
        ("reading", 2),
        ("going", 2),
        ("being", 2),
        ("lion", 2),
        ("nation", 2),
        ("question", 2),
        ("beautiful", 3),
        ("animal", 3),
        ("radio", 3),
        ("readability", 5),
        ("the", 1),
        ("queue", 1),
        ("café", 2),
        ("it's", 1),
        ("hmm", 1),
    ],
)
def test_syllables_are_told_from_the_spelling(word: str, syllables: int) -> None:
    assert syllables_in(word) == syllables
    assert syllables_in(word.upper()) == syllables


def test_the_formulas_are_those_of_the_papers() -> None:
    counted = {"words": 100, "sentences": 5, "syllables": 150}
    assert ease(**counted) == pytest.approx(206.835 - 1.015 * 20 - 84.6 * 1.5)
    assert grade(**counted) == pytest.approx(0.39 * 20 + 11.8 * 1.5 - 15.59)


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        ("One. Two! Three?", 3, 3),
        ("It costs 3.50, e.g. here", 5, 2),
        ("A title\n\nA line of text", 6, 2),
        ("- one\n- two", 2, 2),
        ("Run ```\nx = y\n``` now", 2, 1),
        ("", 0, 1),
        ("...", 0, 1),
    ],
)
def test_words_and_sentences_are_counted(text: str, words: int, sentences: int) -> None:
    counted = counts(text)
    assert (counted["words"], counted["sentences"]) == (words, sentences)


def test_bounds_decide(make_sample: MakeSample) -> None:
    easy, hard = make_sample(EASY), make_sample(HARD)
    assert ReadabilityValidator(8)(easy).passed
    assert ReadabilityValidator(8)(hard).reason == "grade_too_high"
    assert ReadabilityValidator(min_grade=8)(easy).reason == "grade_too_low"
    assert ReadabilityValidator(min_ease=60)(hard).reason == "ease_too_low"
    assert ReadabilityValidator(max_ease=60)(easy).reason == "ease_too_high"
    evidence = ReadabilityValidator(max_grade=8)(hard).evidence
    assert evidence["max_grade"] == 8
    assert evidence["grade"] > 20
    assert evidence["sentences"] == 1


def test_a_text_too_short_to_tell_passes(make_sample: MakeSample) -> None:
    hard = make_sample("Incomprehensible institutionalisation.")
    assert ReadabilityValidator(max_grade=1)(hard).passed
    assert not ReadabilityValidator(max_grade=1, min_words=1)(hard).passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set max_grade"),
        ({"min_grade": 9, "max_grade": 8}, "min_grade 9 is above max_grade 8"),
        ({"min_ease": 9, "max_ease": 8}, "min_ease 9 is above max_ease 8"),
        ({"max_grade": 9, "min_words": 0}, "min_words 0"),
    ],
)
def test_bounds_that_cannot_be_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReadabilityValidator(**options)
