"""How good a sample is, where the better of two is to stay."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal

from weave_async.records import Sample
from weave_async.selection.values import columns_of, value_of

Quality = dict[Literal["rule", "column"], str]
"""``{rule: judge}``: the score that this rule has told, or ``{column: stars}``: a number there."""
UNKNOWN = 0.0
"""Where nobody asks for quality, all samples are as good as each other."""


def check(quality: Quality | None) -> None:
    """Raises ``ValueError`` for what names nothing."""
    if quality is not None and (len(quality) != 1 or not all(quality.values())):
        raise ValueError(f"quality {quality}: name one rule or one column, as in {{rule: judge}}")


def columns_read_for(quality: Quality | None) -> list[str]:
    return columns_of([quality["column"]]) if quality and "column" in quality else []


def rules_read_for(quality: Quality | None) -> list[str]:
    return [quality["rule"]] if quality and "rule" in quality else []


def quality_of(sample: Sample, quality: Quality | None) -> float:
    """Raises ``ValueError`` if the sample has no such number: it could not be compared."""
    if quality is None:
        return UNKNOWN
    if (rule := quality.get("rule")) is not None:
        told: Mapping[str, Any] = next(
            (verdict.evidence for verdict in sample.verdicts if verdict.rule == rule), {}
        )
        number, origin = told.get("score"), f"rule '{rule}' has told no score"
    else:
        number, origin = value_of(sample, quality["column"]), f"column '{quality['column']}'"
    try:
        score = float(number)  # type: ignore[arg-type]  # whatever it is, it is a number or raises
    except (TypeError, ValueError):
        score = float("nan")
    if not isfinite(score):
        raise ValueError(f"quality: {origin} of {sample.sample_id}: {number!r} is no number")
    return score
