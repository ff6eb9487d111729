"""Which rejections say that a completion is worse than others, and which do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weave_async.stages.guard import PART_RAISED
from weave_async.stages.judging import NO_VERDICT
from weave_async.workers.pool import UNSENDABLE
from weave_async.workers.process import CRASHED, OUT_OF_MEMORY, TIMED_OUT

PEOPLE = "people"
"""The stage of a rejection by reviewers."""
AS_DUPLICATE = "people as a duplicate"
"""Likewise, where that was all they had against it: it is no worse than its twin."""
UNDECIDED = frozenset({PART_RAISED, NO_VERDICT, TIMED_OUT, OUT_OF_MEMORY, CRASHED, UNSENDABLE})
"""Reasons of rejections that say nothing about the completion."""


def why_no_worse(rejection: Mapping[str, Any]) -> str | None:
    """``None`` where the rejection does speak of quality."""
    if rejection["stage"] == PEOPLE:
        return None
    if rejection["stage"] != "validation":
        return f"rejected by {rejection['stage']}, which compares no quality"
    return "rejected by a rule that could not decide" if is_undecided(rejection) else None


def is_undecided(rejection: Mapping[str, Any]) -> bool:
    return rejection["stage"] == "validation" and rejection["reason"] in UNDECIDED
