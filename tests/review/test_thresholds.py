"""Where a rule's threshold had better be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from weave_async.review.thresholds import MIN_EACH, ScoredRow, threshold_for


def rows_of(
    bad: Sequence[float | None], good: Sequence[float | None], weight: float = 1.0, name: str = "s"
) -> list[ScoredRow]:
    """``bad`` and ``good`` are the values of such rows."""
    return [
        ScoredRow(value, is_defect, weight, name)
        for is_defect, values in ((True, bad), (False, good))
        for value in values
    ]


def drawn(seed: int, effect: float, num_rows: int = 120) -> list[ScoredRow]:
    """Scores from 1 to 5 that are lower by ``effect`` where a row is bad."""
    rng = np.random.default_rng(seed)
    bad = rng.random(num_rows) < 0.35
    scores = np.clip(np.round(rng.normal(3.8 - effect * bad, 0.8)), 1, 5)
    return [ScoredRow(float(s), bool(b), 1.0, "s") for s, b in zip(scores, bad, strict=True)]


def test_a_threshold_that_parts_good_from_bad_is_proposed() -> None:
    found = threshold_for("min", 2.0, rows_of([1, 2, 3] * 8, [4, 5] * 12))
    assert (found.proposed, found.low, found.high) == (4.0, 4.0, 4.0)
    assert found.why == "propose 4 (4 to 4)"
    assert found.gain is not None
    assert found.gain.value == pytest.approx(2 / 3, abs=0.03)
    of = {split.threshold: split for split in found.splits}
    assert (of[4.0].finds, of[4.0].spares, of[4.0].youden) == (1.0, 1.0, 1.0)
    assert (of[2.0].finds, of[2.0].spares) == (pytest.approx(1 / 3), 1.0)


def test_an_upper_bound_is_found_in_the_same_way() -> None:
    found = threshold_for("max_score", 0.9, rows_of([0.6, 0.8] * 10, [0.1, 0.3] * 10))
    assert found.proposed is not None
    assert 0.3 <= found.proposed < 0.6


def test_the_best_threshold_stays() -> None:
    found = threshold_for("min", 3.5, rows_of([1, 2, 3] * 8, [4, 5] * 12))
    assert found.proposed is None
    assert found.why == "keep 3.5: it is the best"


@pytest.mark.parametrize(
    ("num_bad", "num_good", "lacking"),
    [
        (MIN_EACH - 3, 50, "3 more that people reject or edit"),
        (50, MIN_EACH - 1, "1 more that people accept"),
        (0, 0, "10 more that people reject or edit and 10 more that people accept"),
    ],
)
def test_of_too_few_rows_nothing_is_proposed(num_bad: int, num_good: int, lacking: str) -> None:
    found = threshold_for("min", 2.0, rows_of([1.0] * num_bad, [5.0] * num_good))
    assert found.proposed is None
    assert found.why == f"too few verdicts: needs {lacking}"


def test_scores_that_say_nothing_propose_nothing() -> None:
    proposed = [threshold_for("min", 3.0, drawn(n, 0.0), seed=n).proposed for n in range(60)]
    assert sum(each is not None for each in proposed) <= 6


def test_what_the_best_threshold_gains_is_not_overrated() -> None:
    """Its gain on the rows that chose it is, by 0.05 here; scores that say nothing gain nothing."""
    found = [threshold_for("min", 3.0, drawn(n, 0.0), seed=n) for n in range(60)]
    gains = [each.gain.value for each in found if each.gain is not None]
    on_own_rows = [
        max(split.youden for split in each.splits)
        - next(split.youden for split in each.splits if split.threshold == 3.0)
        for each in found
    ]
    assert np.mean(gains) < np.mean(on_own_rows) / 2


def test_scores_that_say_much_are_listened_to() -> None:
    proposed = [threshold_for("min", 2.0, drawn(n, 1.8), seed=n).proposed for n in range(20)]
    assert sum(each in (3.0, 4.0) for each in proposed) >= 18


def test_a_stratum_that_was_shown_often_does_not_decide() -> None:
    """Of 900 rows 30 were looked at, of 100 others 60: in those, the best threshold is another."""
    rows = rows_of([1, 2] * 8, [3, 4, 5, 4], weight=30.0, name="many")
    rows += rows_of([], [3, 4, 5, 5, 5, 4, 3, 3, 3, 3], weight=30.0, name="many")
    rows += rows_of([3, 4] * 20, [5] * 20, weight=100 / 60, name="few")
    assert threshold_for("min", 1.0, rows).proposed == 3.0
    unweighted = [ScoredRow(row.value, row.is_defect, 1.0, row.stratum) for row in rows]
    assert threshold_for("min", 1.0, unweighted).proposed == 5.0


def test_what_a_miss_costs_moves_the_threshold() -> None:
    rows = rows_of([1, 2, 3, 3, 4] * 6, [3, 4, 4, 5, 5] * 20)
    dear, cheap = (threshold_for("min", 5.0, rows, miss_cost=cost) for cost in (50.0, 0.2))
    assert dear.proposed is None
    assert dear.why.startswith("keep 5")
    assert cheap.proposed is not None
    assert cheap.proposed <= 3.0


def test_where_passing_rows_tell_no_value_only_looser_thresholds_are_looked_at() -> None:
    rows = rows_of([2, 3, 4] * 5 + [None] * 10, [8, 9] * 8 + [None] * 40)
    found = threshold_for("min_words", 10.0, rows)
    assert found.is_one_sided
    assert max(split.threshold for split in found.splits) == 10.0
    assert found.proposed == 8.0
    some_known = threshold_for("min_words", 10.0, [*rows, *rows_of([12] * 9, [15] * 9)])
    assert max(split.threshold for split in some_known.splits) == 10.0
    loose = threshold_for("max_words", 10.0, rows_of([None] * 12, [11, 12] * 8 + [None] * 9))
    assert loose.proposed == 12.0
    assert loose.why == "propose 12 (12 to 12), which rejects none of these rows"


def test_a_long_table_is_shown_in_part_with_the_thresholds_that_matter() -> None:
    rng = np.random.default_rng(3)
    rows = rows_of(rng.normal(0, 1, 200).tolist(), rng.normal(2, 1, 200).tolist())
    found = threshold_for("min_score", -2.0, rows)
    shown = [split.threshold for split in found.splits]
    assert len(shown) <= 9
    assert shown == sorted(shown)
    assert {-2.0, found.proposed} <= set(shown)


def test_a_handful_of_rows_moves_no_threshold() -> None:
    rows = rows_of([1] * 20, [2] * 5 + [5] * 60)
    found = threshold_for("min", 3.0, rows)
    assert found.proposed is None
    assert found.why == "keep 3: too few verdicts, 5, lie between it and 2"


def test_rows_that_are_all_alike_propose_nothing() -> None:
    found = threshold_for("min", 3.0, rows_of([4.0] * 20, [4.0] * 20))
    assert found.proposed is None
    assert found.why.startswith("keep 3")


def test_a_proposal_is_the_same_every_time() -> None:
    assert threshold_for("min", 2.0, drawn(1, 1.0), seed=5).as_dict() == (
        threshold_for("min", 2.0, drawn(1, 1.0), seed=5).as_dict()
    )
