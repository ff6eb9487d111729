"""How many rows are bad, said of a run by the rows that people have decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from export.made_runs import row
from weave_async.consensus import Consensus
from weave_async.review.decided import DecidedRow
from weave_async.review.defects import Tally, defects, rate
from weave_async.run_rows import ExportRow

ACCEPTED, REJECTED = Consensus(("ana",), 1, 0), Consensus(("ana",), 0, 1)
EDITED = Consensus(("ana",), 1, 0, 1, "better")
TIE = Consensus(("ana", "ben"), 1, 1)


def decided(stratum: str, *said: Consensus) -> list[DecidedRow]:
    made = row("0-0", "answer")
    read = ExportRow("0-0", "0", None, "m", made["messages"], (), (), {})
    return [DecidedRow(read, stratum, consensus) for consensus in said]


def test_of_one_stratum_the_rate_is_the_share_found() -> None:
    found = rate([Tally(10_000, 50, 5)])
    assert found is not None
    assert found.value == 0.1
    assert found.low == pytest.approx(0.039, abs=0.002)
    assert found.high == pytest.approx(0.218, abs=0.002)
    assert (found.num_rows, found.num_decided, found.num_hits) == (10_000, 50, 5)


def test_a_stratum_that_is_shown_often_counts_by_its_size_alone() -> None:
    found = rate([Tally(9_900, 50, 0), Tally(100, 50, 50)])
    assert found is not None
    assert found.value == pytest.approx(0.01)


@pytest.mark.parametrize("num_hits", [0, 3, 8])
def test_rows_that_were_all_looked_at_leave_no_doubt(num_hits: int) -> None:
    found = rate([Tally(8, 8, num_hits), Tally(2, 2, 0)])
    assert found is not None
    assert found.low == found.value == found.high == num_hits / 10


def test_the_more_of_a_stratum_was_looked_at_the_less_doubt_is_left() -> None:
    most, few = rate([Tally(100, 90, 9)]), rate([Tally(100_000, 90, 9)])
    assert most is not None
    assert few is not None
    assert most.value == few.value
    assert most.high - most.low < (few.high - few.low) / 2


def test_where_nothing_was_found_something_may_be() -> None:
    found = rate([Tally(5_000, 60, 0), Tally(200, 20, 0)])
    assert found is not None
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0.03 < found.high < 0.1


def test_a_bound_is_never_beyond_what_those_looked_at_prove() -> None:
    found = rate([Tally(10, 9, 2)])
    assert found is not None
    assert (found.low, found.high) == (0.2, 0.3)


def test_a_stratum_that_nobody_has_looked_into_may_hold_anything() -> None:
    found = rate([Tally(600, 600, 60), Tally(400, 0, 0)])
    assert found is not None
    assert found.value == 0.1
    assert (found.low, found.high) == (pytest.approx(0.06), pytest.approx(0.46))
    assert "40.0 % of them are of kinds that nobody has looked at" in str(found)
    assert rate([Tally(400, 0, 0)]) is None
    assert rate([]) is None


def test_more_verdicts_than_rows_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="counts more than there are"):
        Tally(3, 4, 0)


@pytest.mark.parametrize("is_inverted", [False, True])
@pytest.mark.parametrize(
    ("sizes", "nums_decided", "shares"),
    [
        ((2_000,), (50,), (0.02,)),
        ((2_000,), (20,), (0.3,)),
        ((9_000, 500, 300, 150, 50), (30, 25, 20, 15, 10), (0.02, 0.1, 0.2, 0.3, 0.5)),
        ((8_000, 400, 600, 100, 900), (18, 25, 18, 14, 12), (0.05, 0.3, 0.15, 0.1, 0.02)),
        ((1_000,) * 10, (5,) * 10, (0.05,) * 10),
        ((100,) * 20, (2,) * 20, (0.1,) * 20),
        ((9_500, 500), (10, 60), (0.03, 0.4)),
        ((9_900, 100), (40, 40), (0.01, 0.9)),
        ((9_000, 1_000), (8, 92), (0.1, 0.1)),
        ((40, 30), (38, 20), (0.05, 0.1)),
        ((12, 8, 5), (9, 4, 4), (0.17, 0.25, 0.2)),
        ((3_000, 1_000), (40, 40), (0.0, 0.001)),
    ],
)
def test_the_interval_holds_as_often_as_it_says(
    sizes: Sequence[int], nums_decided: Sequence[int], shares: Sequence[float], is_inverted: bool
) -> None:
    rng, num_trials, held, values = np.random.default_rng(7), 600, 0, list[float]()
    hits = [round(n * (1 - s if is_inverted else s)) for n, s in zip(sizes, shares, strict=True)]
    truth = sum(hits) / sum(sizes)
    good = [n - h for n, h in zip(sizes, hits, strict=True)]
    drawn = rng.hypergeometric(hits, good, nums_decided, (num_trials, len(sizes)))
    for found_hits in drawn.tolist():
        found = rate(map(Tally, sizes, nums_decided, found_hits))
        assert found is not None
        assert 0 <= found.low <= found.value + 1e-12
        assert found.value - 1e-12 <= found.high <= 1
        values.append(found.value)
        held += found.low - 1e-12 <= truth <= found.high + 1e-12
    assert held / num_trials >= 0.93
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / num_trials**0.5 + 1e-9)


def test_what_people_reject_and_what_they_edit_are_told_apart() -> None:
    rows = decided("written: others", *[ACCEPTED] * 15, *[REJECTED] * 2, *[EDITED] * 3)
    found = defects(rows, {"written: others": 20, "rejected: by length": 5})
    values = {name: told and told["value"] for name, told in found.as_dict().items()}
    assert values == {
        "defective": 0.25,
        "rejected": 0.1,
        "edited": 0.15,
        "wrongly_rejected": None,
        "mendable": None,
    }
    assert "written rows with a defect: 25.0 % (25.0 % to 25.0 %), by 20 of 20 rows" in str(found)
    assert "rejected rows: nobody has decided on one" in str(found)


def test_a_rejected_row_that_people_accept_was_wrongly_rejected() -> None:
    rows = decided("rejected: by length", ACCEPTED, EDITED, REJECTED, REJECTED)
    found = defects(rows, {"written: others": 20, "rejected: by length": 4})
    assert found.defective is None
    assert found.wrongly_rejected is not None
    assert found.wrongly_rejected.value == 0.25
    assert found.mendable is not None
    assert found.mendable.value == 0.25
    assert "written rows: nobody has decided on one" in str(found)
    assert "rejected rows that are good as they are: 25.0 %" in str(found)


def test_a_tie_counts_as_a_defect() -> None:
    found = defects(decided("written: rare", TIE, ACCEPTED), {"written: rare": 2})
    assert found.defective is not None
    assert found.defective.value == 0.5


def test_figures_can_be_written_as_json() -> None:
    found = defects(decided("written: rare", EDITED), {"written: rare": 9})
    told: dict[str, Any] | None = found.as_dict()["edited"]
    assert told is not None
    assert set(told) == {"value", "low", "high", "rows", "decided", "hits", "unseen"}
