"""How far reviewers agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np
import pytest

from weave_async.metrics.wilson import Z_975
from weave_async.review.agreement import Agreement, TwoByTwo, agreement
from weave_async.review_log import Decision, HumanVerdict

_DECISIONS: Mapping[str, Decision] = {"a": "accept", "r": "reject", "s": "skip"}


def agreed(said: Mapping[str, str]) -> Agreement:
    """``said``: of each reviewer a letter a row: accepts, rejects, skips; nothing for a dot."""
    return agreement(
        HumanVerdict("1", who, f"row {n}", _DECISIONS[letter], None, None, "", "written: others")
        for who, letters in said.items()
        for n, letter in enumerate(letters)
        if letter != "."
    )


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [  # the worked examples of https://en.wikipedia.org/wiki/Cohen%27s_kappa
        ((20, 5, 10, 15), 0.40),
        ((45, 15, 25, 15), 0.1304),
        ((25, 35, 5, 35), 0.2593),
    ],
)
def test_kappa_is_that_of_worked_examples(counts: tuple[int, int, int, int], kappa: float) -> None:
    found = TwoByTwo(*counts).kappa()
    assert found is not None
    assert found.value == pytest.approx(kappa, abs=5e-5)
    assert found.low < found.value < found.high


def delta_method_error(counts: Sequence[int]) -> float:
    """The standard error of kappa as a function of multinomial shares, by numeric gradient: what
    the published formula is derived from.
    """

    def kappa(shares: np.ndarray) -> float:
        both, first, second, neither = shares
        expected = (both + first) * (both + second) + (second + neither) * (first + neither)
        return float((both + neither - expected) / (1 - expected))

    total = sum(counts)
    shares = np.array(counts) / total
    steps = np.eye(4) * 1e-6
    slopes = np.array([(kappa(shares + s) - kappa(shares - s)) / 2e-6 for s in steps])
    return sqrt((shares @ slopes**2 - (shares @ slopes) ** 2) / total)


@pytest.mark.parametrize("counts", [(20, 5, 10, 15), (60, 9, 4, 27), (118, 5, 2, 10)])
def test_the_standard_error_is_that_of_large_samples(counts: tuple[int, int, int, int]) -> None:
    table = TwoByTwo(*counts)
    error, found = table.standard_error(), table.kappa()
    assert error == pytest.approx(delta_method_error(counts), rel=1e-4)
    assert found is not None
    assert found.low <= found.value - Z_975 * error
    assert found.high >= found.value + Z_975 * error


def test_a_few_rows_on_which_all_agree_prove_little() -> None:
    found = TwoByTwo(6, 0, 0, 4).kappa()
    assert found is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 0.5


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (9, 0, 0, 0), (0, 0, 0, 3)])
def test_kappa_is_undefined_where_one_thing_alone_was_said(counts: tuple[int, ...]) -> None:
    assert TwoByTwo(*counts).kappa() is None


def test_the_interval_of_kappa_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    shares, num_rows, num_trials = (0.6, 0.08, 0.07, 0.25), 40, 1500
    truth = TwoByTwo(*shares).kappa()
    assert truth is not None
    held = 0
    for counts in rng.multinomial(num_rows, shares, num_trials):
        found = TwoByTwo(*map(int, counts)).kappa()
        held += found is not None and found.low <= truth.value <= found.high
    assert held / num_trials > 0.93


def test_each_two_are_compared_on_the_rows_that_both_decided() -> None:
    found = agreed({"ana": "aarras", "ben": "aaraa.", "eva": "....a"})
    of = {pair.reviewers: pair for pair in found.pairs}
    assert {names: pair.num_rows for names, pair in of.items()} == {
        ("ana", "ben"): 5,
        ("ana", "eva"): 1,
        ("ben", "eva"): 1,
    }
    assert of["ana", "ben"].table == TwoByTwo(3, 0, 1, 1)
    assert "kappa undefined" in str(of["ana", "eva"])
    assert "5 rows in common, the same on 80 %; kappa 0.55" in str(of["ana", "ben"])


def test_who_has_no_row_in_common_is_told_so() -> None:
    (pair,) = agreed({"ana": "aa..", "ben": "..rr"}).pairs
    assert str(pair) == "ana and ben: no row in common"
    assert pair.as_dict() == {
        "reviewers": ["ana", "ben"],
        "rows": 0,
        "observed": None,
        "kappa": None,
    }


def test_one_reviewer_has_nobody_to_agree_with() -> None:
    found = agreed({"ana": "arar"})
    assert found.as_dict() == {"pairs": [], "alpha": None}
    assert str(found) == "one reviewer: nobody to agree with"


def test_alpha_is_that_of_a_worked_example() -> None:
    """Krippendorff 2011, A: two observers, ten units. Our third one says nothing that counts."""
    found = agreed({"meg": "araaaaaara", "owen": "rrraaraaaa"})
    assert found.alpha is None
    found = agreed({"meg": "araaaaaara.", "owen": "rrraaraaaa.", "third": "..........a"})
    assert found.alpha is not None
    assert found.alpha.value == pytest.approx(0.095, abs=5e-4)
    assert found.alpha.low < 0 < found.alpha.high <= 1
    assert "Krippendorff's alpha 0.10" in str(found)


def test_alpha_is_undefined_where_all_say_the_same() -> None:
    assert agreed({"ana": "aaa", "ben": "aaa", "eva": "aaa"}).alpha is None
    assert agreed({"ana": "a..", "ben": ".r.", "eva": "..a"}).alpha is None


def test_figures_are_the_same_every_time() -> None:
    said = {"ana": "aarrarar", "ben": "aararaar", "eva": "rarraraa"}
    assert agreed(said) == agreed(said)
