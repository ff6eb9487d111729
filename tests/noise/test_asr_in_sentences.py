"""What speech recognition would write."""

from __future__ import annotations

from random import Random

import pytest

from weave_async.noise.asr import AsrNoise
from weave_async.noise.lock import MeaningLock
from weave_async.noise.spans import ProtectedSpans


def heard(text: str) -> str:
    varied = MeaningLock(ProtectedSpans()).vary(AsrNoise(homophones=0), text, Random(1))
    assert varied.broken == ()
    return varied.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("in the 2 months", "in the two months"),
        ("a 2 month stay", "a two month stay"),
        ("it takes 1 second", "it takes one second"),
        ("we paid 1.000 €", "we paid 1.000 €"),  # a thousand, in most of Europe
        ("call (555) 123-4567", "call (555) 123-4567"),
        ("solve x - 3 now", "solve x - three now"),
        ("solve $x = 12$ for x", "solve $x = 12$ for x"),
        ("a budget of 5m now", "a budget of 5m now"),
        ("he - the boss - left", "he the boss left"),
    ],
)
def test_what_is_said_has_the_same_value(text: str, said: str) -> None:
    assert heard(text) == said


def test_a_unit_is_never_misheard() -> None:
    noise = AsrNoise(homophones=1)
    varied = MeaningLock(ProtectedSpans()).vary(noise, "one hour each week, or 2 weeks", Random(1))
    assert varied.text == "one hour each weak or two weeks"
