"""A text that noise has changed, in stretches: what it was before, and what it is now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from weave_async.noise.edits import undone
from weave_async.records import TextChange


class Stretch(NamedTuple):
    """``before`` and ``after`` are the same where noise has not been."""

    before: str
    after: str

    @property
    def is_changed(self) -> bool:
        return self.before != self.after


def stretches_of(text: str, edits: Iterable[Mapping[str, Any]]) -> list[Stretch]:
    """``text`` as all of these edits have left it, against the text before the first of them.

    A later change of what an earlier one has written becomes one change with it. Raises
    ``ValueError`` or ``TypeError`` where the edits are not of this text.
    """
    passes = [[TextChange(**change) for change in edit["changes"]] for edit in edits]
    clean = text
    for changes in reversed(passes):
        clean = undone(clean, changes)
    stretches = [Stretch(clean, clean)]
    for changes in passes:
        for change in reversed(changes):  # those before keep their places
            stretches = _changed(stretches, change)
    return [each for each in _joined(stretches) if each.before or each.after]


def _changed(stretches: Sequence[Stretch], change: TextChange) -> list[Stretch]:
    start, end = change.start, change.start + len(change.before)
    left, middle, right = list[Stretch](), list[Stretch](), list[Stretch]()
    place = 0
    for stretch in stretches:
        stops = place + len(stretch.after)
        if stops <= start and not (stretch.is_changed and stops == start == place):
            left.append(stretch)
        elif place >= end and middle:
            right.append(stretch)
        elif stretch.is_changed:  # it cannot be divided: nobody knows what came of which part
            middle.append(stretch)
        else:
            text, cut_at, cut_to = stretch.after, max(0, start - place), max(0, end - place)
            left += [Stretch(text[:cut_at], text[:cut_at])]
            middle += [Stretch(text[cut_at:cut_to], text[cut_at:cut_to])]
            right += [Stretch(text[cut_to:], text[cut_to:])]
        place = stops
    before, after = "".join(s.before for s in middle), "".join(s.after for s in middle)
    at = start - sum(len(s.after) for s in left)
    changed = Stretch(before, f"{after[:at]}{change.after}{after[at + len(change.before) :]}")
    return [*left, changed, *right]


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Neighbours of a kind as one."""
    joined: list[Stretch] = []
    for stretch in stretches:
        if joined and joined[-1].is_changed == stretch.is_changed:
            last = joined.pop()
            stretch = Stretch(last.before + stretch.before, last.after + stretch.after)
        joined.append(stretch)
    return joined
