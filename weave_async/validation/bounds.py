"""Bounds of the quality heuristics by the kind of text: a paper's own, and those for short rows.

The papers filter web pages. On good short texts their bounds are wrong by design: hardly a question
has fifty words, and in a text of ten every pair of words is a fifth of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from weave_async.records import ACCEPTED, Verdict

TextKind = Literal["question", "chat", "paragraph", "document"]
Bound = float | None | Literal["preset"]
"""An option: a number, ``null`` for no bound, or what the preset has."""
Switch = bool | Literal["preset"]
Bounds = Mapping[str, float | None]
Measure = tuple[str, str, float]
"""The reason of a rejection, the option that bounds it (``min_…`` or ``max_…``), the value."""


def bounds_of(rule: Any, presets: Mapping[TextKind, Bounds]) -> dict[str, float | None]:
    """The bounds that hold: a rule's own options, and its preset's for the others.

    Raises ``ValueError`` for those that no text, or every text, could keep.
    """
    bounds = {}
    for option, preset in presets[rule.preset].items():
        value = getattr(rule, option)
        bounds[option] = preset if value == "preset" else value
        _check(option, bounds[option], is_fraction=_is_fraction(option, presets))
    for option, least in bounds.items():
        most = bounds.get("max_" + option.removeprefix("min_"))
        if option.startswith("min_") and least is not None and most is not None and least > most:
            raise ValueError(f"{option} {least} is above max_{option[4:]} {most}")
    return bounds


def _is_fraction(option: str, presets: Mapping[TextKind, Bounds]) -> bool:
    value = presets["document"][option]
    return isinstance(value, float) and 0 < value < 1


def _check(option: str, value: float | None, *, is_fraction: bool) -> None:
    if value is None:
        return
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{option} {value} is no bound: a number from 0 on, or null for none")
    if is_fraction and value > 1:
        raise ValueError(f"{option} {value} is a fraction: 0.2 for 20 %, or null for no bound")


def first_broken(measures: Iterable[Measure], bounds: Bounds) -> Verdict:
    """The verdict of a rule; what comes after the first broken bound is not even measured."""
    for reason, option, value in measures:
        bound = bounds[option]
        if bound is None:
            continue
        if value < bound if option.startswith("min_") else value > bound:
            return Verdict(False, reason, {"value": round(value, 4), option: bound})
    return ACCEPTED
