"""What a pool makes of what its workers have told."""

from __future__ import annotations

import pytest

from weave_async.errors import RecipeError
from weave_async.workers.ledger import StageLedger


def told(num_samples: int, *, loading_s: float | None = None) -> dict[str, object]:
    loading = {} if loading_s is None else {"0": loading_s}
    return {"times": {"0": [num_samples, 0.5, 0.25]}, "loading_s": loading}


def ledger() -> StageLedger:
    made = StageLedger(5.0, 60.0)
    made.stages = [("validation", "odd"), ("noise", "loud")]
    return made


def test_a_first_call_may_take_long_until_one_has_shown_how_long_it_takes() -> None:
    stages = ledger()
    assert stages.first_call_s(0) == 60
    stages.count(told(1, loading_s=0.001))
    assert 5 < stages.first_call_s(0) < 7
    stages.count(told(1, loading_s=10.0))
    assert 20 < stages.first_call_s(0) <= 60
    assert stages.first_call_s(1) == 60


def test_samples_lost_with_others_between_them_stop_nothing() -> None:
    stages = ledger()
    for lost_at in range(10):
        stages.count_lost(0, "crashed", lost_at=lost_at)


def test_the_third_sample_lost_in_a_row_stops_the_run() -> None:
    stages = ledger()
    stages.count_lost(0, "crashed", lost_at=2)
    stages.count_lost(1, "crashed", lost_at=7)
    stages.count_lost(0, "crashed", lost_at=7)
    stages.count_lost(0, "crashed", lost_at=7)
    with pytest.raises(RecipeError, match="validation 'odd' has hung on 3 samples in a row"):
        stages.count_lost(0, "timed_out", lost_at=7)


def test_stages_of_one_name_share_an_account() -> None:
    stages = ledger()
    stages.stages = [("noise", "loud"), ("noise", "loud")]
    both = {"times": {"0": [1, 0.5, 0.25], "1": [2, 0.5, 0.25]}, "loading_s": {}}
    stages.count(both)
    taken = stages.take_times()
    assert list(taken) == ["noise:loud"]
    assert taken["noise:loud"].num_samples == 3
    assert taken["noise:loud"].wall_s == 1.0
    assert stages.take_times() == {}
