"""Which rejections say that a completion is worse than others, and which do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weave_async.undecided import UNDECIDED

PEOPLE = "people"
"""The stage of a rejection by reviewers."""
AS_DUPLICATE = "people as a duplicate"
"""Likewise, where that was all they had against it: it is no worse than its twin."""


def why_no_worse(rejection: Mapping[str, Any]) -> str | None:
    """``None`` where the rejection does speak of quality."""
    if rejection["stage"] == PEOPLE:
        return None
    if rejection["stage"] != "validation":
        return f"rejected by {rejection['stage']}, which compares no quality"
    return "rejected by a rule that could not decide" if is_undecided(rejection) else None


def is_undecided(rejection: Mapping[str, Any]) -> bool:
    return rejection["stage"] == "validation" and rejection["reason"] in UNDECIDED
