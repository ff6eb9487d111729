"""What a recipe requires, and how that is told."""

from __future__ import annotations

import pytest

from weave_async.gates import Figure, Gate, shown


@pytest.mark.parametrize(
    ("condition", "value", "met"),
    [
        (">= 40", 40.0, True),
        (">= 40", 39.999, False),
        ("> 40", 40.0, False),
        ("<=0.05", 0.05, True),
        ("< 5e-2", 0.05, False),
        ("  <= -1.5  ", -2.0, True),
    ],
)
def test_a_figure_meets_its_condition_or_not(condition: str, value: float, met: bool) -> None:
    assert Gate.parsed("vendi", condition).judged(Figure(value)).met is met


@pytest.mark.parametrize(
    "condition", ["40", "", ">=", "=> 4", ">= forty", "== 4", ">= nan", ">= 4 5"]
)
def test_what_is_no_comparison_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match='as ">= 40"'):
        Gate.parsed("vendi", condition)


def test_the_line_of_a_missed_one_tells_figure_and_interval() -> None:
    judged = Gate.parsed("vendi", ">=40").judged(Figure(31.23, (29.81, 32.5)))
    assert str(judged) == "require vendi >= 40: 31.2 (29.8–32.5), missed"


def test_a_figure_that_cannot_be_told_misses_with_the_reason() -> None:
    judged = Gate.parsed("vendi", ">= 0").judged(Figure(None, missing_because="of one row"))
    assert not judged.met
    assert str(judged) == "require vendi >= 0: cannot be told, of one row, missed"


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.04213, "0.0421"), (41.23, "41.2"), (12345.6, "12,346"), (2000, "2,000"), (0.0, "0")],
)
def test_figures_are_shown_to_three_digits(value: float, told: str) -> None:
    assert shown(value) == told


def test_a_missed_figure_is_not_shown_as_its_bound() -> None:
    judged = Gate.parsed("top_opening_share", "<= 0.05").judged(Figure(0.050004))
    assert str(judged) == "require top_opening_share <= 0.05: 0.050004, missed"
