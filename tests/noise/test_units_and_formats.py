"""Quantities written otherwise: the value is the same, and what may be something else stays."""

from __future__ import annotations

from datetime import date
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.lock import MeaningLock
from weave_async.noise.quantities import values_in
from weave_async.noise.spans import ProtectedSpans
from weave_async.noise.units import UNITS
from weave_async.noise.units_and_formats import UnitsAndFormatsNoise

LOCK = MeaningLock(ProtectedSpans())
DATES = st.dates(date(1000, 1, 1), date(2999, 12, 31))
DATE_FORMS = ("{0:%Y-%m-%d}", "{0:%B} {0.day}, {0.year}", "{0.day} {0:%b} {0.year}")
AMOUNTS = st.integers(0, 10**9) | st.decimals(0, 10**6, places=2)


def ways(text: str, noise: UnitsAndFormatsNoise | None = None) -> set[str]:
    noise = noise or UnitsAndFormatsNoise()
    return {LOCK.vary(noise, text, Random(seed)).text for seed in range(60)}


@given(DATES, st.sampled_from(DATE_FORMS), st.integers(0, 99))
def test_a_date_is_written_otherwise_and_stays_the_same_day(
    day: date, form: str, seed: int
) -> None:
    text = f"it was on {form.format(day)} that we met"
    noisy = LOCK.vary(UnitsAndFormatsNoise(), text, Random(seed))
    assert noisy.text != text
    assert noisy.broken == ()
    assert values_in(noisy.text) == values_in(text)


@given(AMOUNTS, st.sampled_from(sorted(UNITS)), st.booleans(), st.integers(0, 99))
def test_an_amount_is_written_otherwise_and_stays_the_same(
    amount: object, unit: str, is_grouped: bool, seed: int
) -> None:
    figure = f"{amount:,}" if is_grouped else f"{amount}"
    written = (UNITS[unit].signs or UNITS[unit].many)[0]
    text = f"they took {figure} {written} of it"
    noisy = LOCK.vary(UnitsAndFormatsNoise(), text, Random(seed))
    assert noisy.broken == ()
    assert values_in(noisy.text) == values_in(text)


@given(st.times(), st.sampled_from(("{0:%H:%M}", "{0:%I:%M %p}", "{0:%I:%M%p}")), st.integers(0, 9))
def test_a_time_stays_the_same(at: object, form: str, seed: int) -> None:
    text = f"be there at {form.format(at)} please"
    noisy = LOCK.vary(UnitsAndFormatsNoise(), text, Random(seed))
    assert noisy.broken == ()
    assert values_in(noisy.text) == values_in(text)


@pytest.mark.parametrize(
    ("text", "some"),
    [
        ("it has 1,000 parts", {"it has 1000 parts"}),
        ("it costs $5 now", {"it costs 5 USD now"}),
        ("come at 3pm please", {"come at 15:00 please", "come at 3 PM please"}),
        ("come at 15:00 please", {"come at 3 pm please"}),
        ("we met on 2024-03-05", {"we met on March 5, 2024", "we met on 5 Mar 2024"}),
        ("on the 5th of March 2024", {"on the 5th March 2024"}),
        ("I ran 5 km", {"I ran 5 kilometres", "I ran 5km"}),
        ("after a 5 km run", {"after a 5 kilometer run"}),
        ("10% of them", {"10 percent of them"}),
    ],
)
def test_the_usual_ways_of_writing_are_among_those_made(text: str, some: set[str]) -> None:
    made = ways(text)
    assert some <= made
    assert text not in made


@pytest.mark.parametrize(
    "text",
    [
        "on 03/04/2024 or later",
        "in 1999 and in 2024",
        "music of the 1980s and the 90s",
        "order 12345678 is late",
        "between 5-10 km from here",
        "the score was 15:30 then",
        "I march 5 times",
        "a 20 year old house",
        "version 1.2.3 of A4 paper and mp3",
        "call 555-1234 or 0049123",
        "see https://a.example/2024-03-05/5km",
        "the `x = 1000 km` of it",
        'he said "pay 1,000 now" to her',
    ],
)
def test_what_may_be_something_else_is_left_alone(text: str) -> None:
    assert ways(text) == {text}


def test_day_first_reads_and_writes_dates_in_figures() -> None:
    made = ways("on 03/04/2024 or later", UnitsAndFormatsNoise(day_first=True))
    assert "on 3 April 2024 or later" in made
    assert "on 03/04/2024 or later" not in made
    made = ways("on 2024-04-03 or later", UnitsAndFormatsNoise(day_first=False))
    assert "on 04/03/2024 or later" in made
