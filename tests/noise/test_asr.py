"""Text as speech recognition writes it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.asr import AsrNoise
from weave_async.noise.homophones import HOMOPHONES
from weave_async.noise.lock import MeaningLock
from weave_async.noise.quantities import values_in
from weave_async.noise.spans import ProtectedSpans
from weave_async.noise.telling_words import KIND_OF
from weave_async.noise.units import UNITS

LOCK = MeaningLock(ProtectedSpans())


def heard(text: str, seed: int = 0, homophones: float = 0) -> str:
    result = LOCK.vary(AsrNoise(homophones=homophones), text, Random(seed))
    assert result.broken == ()
    return result.text


@pytest.mark.parametrize(
    ("text", "as_heard"),
    [
        ("Hello, there! I am here.", "hello there i am here"),
        ("What is this? And that?", "what is this and that?"),
        ("It cost $5 and 25 of them came.", "it cost five dollars and twenty five of them came"),
        ("I ran 5 km, a 5 km run", "i ran five kilometers a five kilometer run"),
        ("Born in 1999, it was -3.5 °C", "born in nineteen ninety nine, it was minus three point "
         "five degrees Celsius"),
        ("She is 1st of 120", "she is first of one hundred and twenty"),
        ("It has $82.5 million now.", "it has eighty two point five million dollars now"),
        ("between 20 and 5", "between twenty and five"),
    ],
)  # fmt: skip
def test_marks_and_capitals_go_and_numbers_are_said(text: str, as_heard: str) -> None:
    assert heard(text) == as_heard


@pytest.mark.parametrize(
    "text",
    [
        "say 20 5 times",
        "say 100 and 5",
        "of $49.90 each",
        "code 12345678",
        "the 1980s",
        "1000000 °C",
    ],
)
def test_a_number_that_would_be_another_when_said_stays(text: str) -> None:
    assert heard(text) == text


def test_the_mark_behind_a_number_stays_lest_the_next_word_become_its_unit() -> None:
    assert heard("i saw two. Minutes later five. Three came") == (
        "i saw two. minutes later five. three came"
    )


@given(
    st.integers(0, 10**6) | st.decimals(0, 9999, places=1),
    st.sampled_from(["", *sorted(UNITS)]),
    st.integers(0, 99),
)
def test_a_number_that_is_said_has_the_same_value(amount: object, unit: str, seed: int) -> None:
    written = (UNITS[unit].signs or UNITS[unit].many)[0] if unit else "parrots"
    text = f"They took {amount} {written} of it, and then 3 more."
    assert values_in(heard(text, seed)) == values_in(text)


def test_words_are_misheard_as_others_that_sound_the_same() -> None:
    assert heard("a two hour wait", homophones=1) == "a two hour weight"  # the unit stays
    made = {heard("their mail is here", seed, 1) for seed in range(20)}
    assert made == {"there male is hear", "they're male is hear"}


def test_no_homophone_adds_or_takes_away_a_number_a_negator_or_a_day() -> None:
    for word, others in HOMOPHONES.items():
        assert KIND_OF.keys().isdisjoint({word, *others})
        assert word not in others


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_of_homophones_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="homophones must be between 0 and 1"):
        AsrNoise(homophones=share)


def test_homophones_are_misheard_at_their_rate_in_short_texts_too() -> None:
    texts = [heard("i go to town", seed, homophones=0.1) for seed in range(1000)]
    misheard = sum(text != "i go to town" for text in texts)
    assert 70 <= misheard <= 130
