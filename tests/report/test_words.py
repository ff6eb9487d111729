"""Figures in words: as many digits as say something, and the unit that fits."""

from __future__ import annotations

import pytest

from weave_async.report import words


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "–"), (0.0, "0.0 %"), (0.25, "25.0 %"), (1.0, "100.0 %"), (0.00004, "0.004 %")],
)
def test_a_share_that_is_not_zero_does_not_look_so(value: float | None, told: str) -> None:
    assert words.percent(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (0, "0"),
        (0.0085, "0.00850"),
        (12.93, "12.9"),
        (3_655.4, "3,655"),
        (-0.5, "-0.500"),
    ],
)
def test_a_number_has_three_digits_that_count(value: float | None, told: str) -> None:
    assert words.number(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.05, "0.050"), (1.128, "1.128"), (12.345, "12.35"), (123.45, "123.5"), (0, "0.000")],
)
def test_seconds_of_a_column_line_up(value: float, told: str) -> None:
    assert words.seconds(value) == told


@pytest.mark.parametrize(
    ("value_s", "told"),
    [
        (0, "0"),
        (2.6e-6, "2.6 µs"),
        (0.0338, "33.8 ms"),
        (7.709, "7.71 s"),
        (211, "3.52 min"),
        (7200, "2 h"),
    ],
)
def test_a_duration_has_the_unit_that_fits(value_s: float, told: str) -> None:
    assert words.duration(value_s) == told


@pytest.mark.parametrize(("value", "told"), [(0, "$0.00"), (0.00123, "$0.00123"), (12.5, "$12.50")])
def test_small_amounts_of_money_are_not_rounded_away(value: float, told: str) -> None:
    assert words.usd(value) == told
