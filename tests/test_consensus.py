"""What several people say of one row together."""

from __future__ import annotations

import pytest

from weave_async.consensus import consensus_of
from weave_async.review_log import Decision, HumanVerdict


def said(what: str, by: str = "ana", at: str = "1") -> HumanVerdict:
    """``what``: accept, reject, skip, or the completion as it is edited."""
    decision: Decision = "accept"
    edited: str | None = None
    if what == "reject":
        decision = "reject"
    elif what == "skip":
        decision = "skip"
    elif what != "accept":
        edited = what
    return HumanVerdict(at, by, "s-0", decision, "why", edited, "", "written: others")


def test_nobody_has_decided_where_all_have_skipped() -> None:
    assert consensus_of([]) is None
    assert consensus_of([said("skip"), said("skip", "ben")]) is None


@pytest.mark.parametrize(
    ("verdicts", "accepted", "defect", "edited"),
    [
        (["accept"], True, False, None),
        (["reject"], False, True, None),
        (["better"], True, True, "better"),
        (["accept", "skip"], True, False, None),
        (["accept", "reject"], False, True, None),
        (["accept", "better"], True, True, "better"),
        (["better", "reject"], False, True, None),
        (["accept", "accept", "reject"], True, False, None),
        (["accept", "accept", "better"], True, False, None),
        (["accept", "better", "reject"], True, True, "better"),
        (["accept", "reject", "reject"], False, True, None),
    ],
)
def test_the_majority_counts_and_a_tie_counts_against_the_row(
    verdicts: list[str], accepted: bool, defect: bool, edited: str | None
) -> None:
    found = consensus_of(said(what, f"reviewer {n}") for n, what in enumerate(verdicts))
    assert found is not None
    assert (found.is_accepted, found.is_defect, found.edited) == (accepted, defect, edited)


def test_of_two_edits_the_later_one_holds() -> None:
    found = consensus_of([said("second", "ana", at="2"), said("first", "ben", at="1")])
    assert found is not None
    assert found.edited == "second"
    assert found.reviewers == ("ana", "ben")
