"""What the numbers in a text amount to, however they are written."""

from __future__ import annotations

import time as clock
from collections import Counter
from datetime import date, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.quantities import Value, quantities_in, values_in
from weave_async.noise.spoken_numbers import numbers_in, spoken, spoken_ordinal, spoken_year


def number(amount: str, unit: str = "") -> Value:
    return Value("number", Decimal(amount), unit)


@pytest.mark.parametrize(
    ("ways", "value"),
    [
        ("1,000|1000|one thousand|1'000|1k", number("1000")),
        ("25|twenty five|twenty-five|Twenty Five|25.0", number("25")),
        ("205|two hundred and five|two hundred five", number("205")),
        ("3.5|3,5|three point five", number("3.5")),
        ("1.234,56|1,234.56", number("1234.56")),
        ("$5|5 USD|5 dollars|five dollars|US$5|USD 5", number("5", "USD")),
        ("€49.90|49,90€|49.90 EUR|49.9 euros", number("49.9", "EUR")),
        ("$5 million|5,000,000 USD|five million dollars", number("5000000", "USD")),
        ("5 km|5km|5 kilometres|five kilometers", number("5", "km")),
        ("10%|10 percent|ten per cent|10 %", number("10", "%")),
        ("-5°C|-5 °C|minus five degrees Celsius", number("-5", "°C")),
        ("3pm|3 p.m.|15:00|3:00 PM|3.00 pm", Value("time", time(15))),
        ("12 am|00:00|12:00 am", Value("time", time(0))),
        (
            "2024-03-05|2024/3/5|March 5, 2024|5 March 2024|5 Mar 2024|the 5th of March 2024",
            Value("date", date(2024, 3, 5)),
        ),
        ("25/12/2024|12/25/2024|25.12.2024|25 Dec. 2024", Value("date", date(2024, 12, 25))),
        ("March 5|5 March|Mar 5th|march 5", Value("date", "--03-05")),
        ("21st|twenty first|Twenty-First", Value("ordinal", Decimal(21))),
    ],
)
def test_a_value_is_the_same_however_it_is_written(ways: str, value: Value) -> None:
    for way in ways.split("|"):
        assert values_in(f"so {way}, then.") == Counter([value]), way
        assert values_in(way) == Counter([value]), way


@pytest.mark.parametrize("text", ["he11o", "mp3", "the A4 format", "phones often tend", "", "none"])
def test_a_digit_within_a_word_is_no_number(text: str) -> None:
    assert not values_in(text)


@pytest.mark.parametrize("text", ["03/04/2024", "5/6/24", "007", "1.2.3", "2024-02-31", "25:70"])
def test_what_can_be_read_in_two_ways_or_none_stands_for_itself(text: str) -> None:
    assert values_in(f"so {text} then") == Counter([Value("raw", text)])


def test_day_first_settles_what_an_ambiguous_date_means() -> None:
    assert values_in("03/04/2024", day_first=True) == Counter([Value("date", date(2024, 4, 3))])
    assert values_in("03/04/2024", day_first=False) == Counter([Value("date", date(2024, 3, 4))])


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("twenty five two", [25, 2]),
        ("two and five", [2, 5]),
        ("one two three", [1, 2, 3]),
        ("nineteen ninety nine", [1999]),
        ("twenty twenty four", [2024]),
        ("5-10 km", [5, 10]),
        ("three $5 tickets", [3, 5]),
        ("two million three hundred thousand and one", [2_300_001]),
    ],
)
def test_numbers_side_by_side_are_told_apart(text: str, amounts: list[int]) -> None:
    assert [quantity.value.amount for quantity in quantities_in(text)] == amounts


@given(st.integers(0, 999_999) | st.decimals(0, 9_999, places=2))
def test_a_spoken_number_is_read_as_what_was_said(amount: int | Decimal) -> None:
    words = spoken(Decimal(amount))
    assert words is not None
    assert values_in(words) == values_in(f"{amount}")
    assert [each.amount for each in numbers_in(words.split())] == [amount]


@pytest.mark.parametrize("year", range(1110, 2100, 7))
def test_a_spoken_year_is_read_as_that_year(year: int) -> None:
    words = spoken_year(year) or spoken(Decimal(year))
    assert words is not None
    assert values_in(words) == values_in(str(year))


@pytest.mark.parametrize("place", range(1, 100))
def test_a_spoken_ordinal_is_read_as_that_place(place: int) -> None:
    words = spoken_ordinal(place)
    if words is None:
        assert place % 10 == 2
        assert place != 12
    else:
        assert values_in(words) == Counter([Value("ordinal", Decimal(place))])


@given(st.text())
def test_any_text_is_read_and_its_quantities_are_in_order(text: str) -> None:
    end = 0
    for quantity in quantities_in(text):
        assert end <= quantity.start < quantity.end <= len(text)
        end = quantity.end


@pytest.mark.parametrize(
    "text",
    [
        "1," * 50_000,
        "one " * 30_000,
        "1 " * 50_000,
        "March " * 20_000,
        "1:" * 50_000,
        "$-" * 50_000,
    ],
    ids=["commas", "words", "figures", "months", "colons", "signs"],
)
def test_time_grows_with_the_text_and_no_faster(text: str) -> None:
    for part in (text[: len(text) // share] for share in (27, 9, 3, 1)):
        began = clock.thread_time()
        quantities_in(part)
        assert clock.thread_time() - began < 3, f"{len(part)} characters"
