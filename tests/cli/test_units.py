"""Amounts as people read them."""

from __future__ import annotations

import pytest

from weave_async.cli.units import dollars, duration, rate, short


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.7, "1:00"),
        (125, "2:05"),
        (3599.9, "1:00:00"),
        (11230, "3:07:10"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (9999, "9,999"),
        (10_000, "10k"),
        (81_234, "81.2k"),
        (999_499, "999k"),
        (999_999, "1M"),
        (1_340_000, "1.34M"),
        (2e9, "2G"),
        (1e14, "1e+14"),
    ],
)
def test_large_numbers_are_short(number: float, expected: str) -> None:
    assert short(number) == expected


def test_small_amounts_keep_their_digits() -> None:
    assert [dollars(0), dollars(0.0123), dollars(12.345)] == ["$0.00", "$0.0123", "$12.35"]
    assert [rate(0), rate(3.14), rate(12345.6)] == ["0.0", "3.1", "12,346"]
