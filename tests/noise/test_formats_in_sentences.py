"""Quantities written in another way, and those that are left alone."""

from __future__ import annotations

from random import Random

import pytest

from weave_async.noise.lock import MeaningLock
from weave_async.noise.spans import ProtectedSpans
from weave_async.noise.units_and_formats import UnitsAndFormatsNoise

LOCK = MeaningLock(ProtectedSpans())


def ways(text: str) -> set[str]:
    """All that comes out; the lock has nothing to refuse."""
    varied = [LOCK.vary(UnitsAndFormatsNoise(), text, Random(seed)) for seed in range(30)]
    assert all(each.broken == () for each in varied)
    return {each.text for each in varied}


@pytest.mark.parametrize(
    "text",
    [
        "They are like 90 thousand dollars base",
        "It takes 1 second",
        "A budget of 5m is enough",
        "May 12 people come in?",
        "March 5 miles and rest",
        "Solve $\\frac{x}{3} = 12$ for x",
        "Solve $x + 5$ and \\(y = 5 km\\) please",
        "She fixed 5k dollars as a price",
    ],
)
def test_what_is_in_doubt_stays(text: str) -> None:
    assert ways(text) == {text}


def test_a_plural_stays_one_behind_an_article() -> None:
    assert ways("in the 6 months I was there") == {"in the 6 months I was there"}
    assert "the 2 hours" not in ways("in the 2 hours")
    assert ways("a 5 km run") >= {"a 5 kilometre run", "a 5km run"}


def test_a_currency_beside_words_is_no_formula() -> None:
    assert ways("I paid $5, and x_1 = $7") >= {"I paid 5 USD, and x_1 = 7 USD"}
    assert ways("We meet on May 12 in Rome") >= {"We meet on 12 May in Rome"}
