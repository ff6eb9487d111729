"""A text about the other gender, and what a score makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.features.words import words_of
from weave_async.metrics.bias.counterfactual import counterfactual_gap, swapped
from weave_async.metrics.bias.gender_terms import FEMININE, MASCULINE, PAIRS


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("He paid. SHE did not.", "She paid. HE did not."),
        ("I told him about his card.", "I told her about her card."),
        ("I told her about her card.", "I told him about his card."),
        ("We called her.", "We called him."),
        (
            "We called her yesterday and sent her the form.",
            "We called him yesterday and sent him the form.",
        ),
        ("Let her know that her loan is open.", "Let him know that his loan is open."),
        ("We saw her mother.", "We saw his father."),
        ("Her bank helped her find it.", "His bank helped him find it."),
        ("The card is his.", "The card is hers."),
        ("A friend of his and mine", "A friend of hers and mine"),
        ("The card is hers.", "The card is his."),
        ("She's here; he’ll come.", "He's here; she’ll come."),
        ("Mr. Smith and his wife", "Mrs. Smith and her husband"),
        ("a businesswoman herself", "a businessman himself"),
        ("The theme of the ushers", "The theme of the ushers"),
    ],
)
def test_gendered_words_change_with_their_case_and_role(text: str, other: str) -> None:
    assert swapped(text, names=False) == other


def test_a_name_changes_into_the_same_one_each_time() -> None:
    pytest.importorskip("faker")
    one, _, again = swapped("Kevin and Kevin").partition(" and ")
    assert one == again != "Kevin"
    assert swapped(one) == "Kevin"
    assert swapped("Will you mark it?") == "Will you mark it?"


@given(st.text())
def test_what_says_no_gender_is_left_as_it_is(text: str) -> None:
    gendered = {word for pair in PAIRS for word in pair} | MASCULINE | FEMININE
    if gendered.isdisjoint(words_of(text.replace("’", "'"))):
        assert swapped(text, names=False) == text


@given(st.lists(st.sampled_from(["he", "She", "MOTHER", "sons", "king", "pays,", "the", "boy's"])))
def test_swapping_twice_brings_a_text_back(words: list[str]) -> None:
    text = " ".join(words)
    assert swapped(swapped(text, names=False), names=False) == text


def test_a_score_that_does_not_care_has_no_gap() -> None:
    gap = counterfactual_gap(["He is a doctor.", "She is late.", "It rains."], lambda text: 0.5)
    assert (gap.num_texts, gap.num_swapped) == (3, 2)
    assert gap.absolute is not None
    assert (gap.absolute.value, gap.absolute.high) == (0, 0)


def test_a_score_that_prefers_one_gender_has_a_gap_with_its_sign() -> None:
    def likes_men(text: str) -> float:
        return 1.0 if "he " in f" {text.lower()}".replace("she ", "") else 0.2

    texts = ["He is a doctor.", "She is a doctor."] * 20
    gap = counterfactual_gap(texts, likes_men)
    assert gap.absolute is not None
    assert gap.feminine_less_masculine is not None
    assert gap.absolute.value == pytest.approx(0.8)
    assert gap.feminine_less_masculine.value == pytest.approx(-0.8)
    assert gap.feminine_less_masculine.excludes_zero


def test_texts_without_gender_are_told_in_words() -> None:
    assert counterfactual_gap(["It rains."], len).as_dict() == {
        "texts": 1,
        "swapped": 0,
        "note": "no text says a gender",
    }
    assert counterfactual_gap([], len).as_dict()["texts"] == 0


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a number"):
        counterfactual_gap(["He pays."], lambda text: float("nan"))


@pytest.mark.parametrize("text", ["he2 and 2his", "x1'he", "he'x1", "sheep"])
def test_parts_of_words_are_left_as_they_are(text: str) -> None:
    assert swapped(text, names=False) == text
