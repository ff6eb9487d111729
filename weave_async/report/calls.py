"""What the journal tells of a run's calls: how long answers took, when they came, what failed."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weave_async.errors import RunFolderError
from weave_async.journal import entries, frames
from weave_async.journal.segments import Segment, is_damaged, list_segments, missing_numbers
from weave_async.visible import path_text

MAX_SELLERS, MAX_ERRORS = 200, 200
OTHERS = ("others", "")


@dataclass(slots=True)
class Answers:
    """Of one model at one endpoint: twelve bytes for each answer.

    ``at_s`` is when it came, ``e2e_s`` how long it took, NaN where nobody has said.
    """

    at_s: array[float] = field(default_factory=lambda: array("f"))
    e2e_s: array[float] = field(default_factory=lambda: array("f"))
    output_tokens: array[float] = field(default_factory=lambda: array("f"))
    input_tokens: int = 0


@dataclass(slots=True)
class Calls:
    """Times are of the sessions one after another, without what lay between them: ``begun_s`` is
    where each begins, ``begun_at`` when that was by the calendar. ``missed`` counts calls that
    brought no answer, by error; ``missed_at_s`` is when they did.
    """

    answers: dict[tuple[str, str], Answers] = field(default_factory=dict)
    missed: Counter[str] = field(default_factory=Counter)
    missed_at_s: array[float] = field(default_factory=lambda: array("f"))
    begun_s: list[float] = field(default_factory=list)
    begun_at: list[float] = field(default_factory=list)
    endpoints: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    num_answers: int = 0
    """Of all sellers."""
    notes: list[str] = field(default_factory=list)
    last_s: float = 0.0

    @property
    def tokens(self) -> tuple[int, int]:
        """In and out, of all answers."""
        found = self.answers.values()
        return sum(a.input_tokens for a in found), round(sum(sum(a.output_tokens) for a in found))


def read_calls(journal: Path) -> Calls:
    """Goes through the whole journal once. What is damaged is left out, and said in ``notes``.

    Raises ``RunFolderError`` for what is no journal of ours, or of a newer version.
    """
    try:
        segments = list_segments(journal)
    except OSError as error:
        raise RunFolderError(f"cannot read {journal}: {error.strerror}") from error
    calls = Calls()
    for number in missing_numbers(segments):
        calls.notes.append(f"the journal's file {number:06d} is missing: try `weave-async verify`")
    epoch = None
    for segment in segments:
        if segment.epoch != epoch:
            epoch = segment.epoch
            _begin_session(calls, segment)
        _read_segment(calls, segment)
    return calls


def _begin_session(calls: Calls, segment: Segment) -> None:
    started_at = _number(segment.opening.get("started_at"))
    calls.begun_s.append(calls.last_s)
    calls.begun_at.append(started_at if started_at is not None else math.nan)
    endpoints = segment.opening.get("endpoints")
    if isinstance(endpoints, dict):
        for name, told in list(endpoints.items())[:MAX_SELLERS]:
            calls.endpoints[name] = told if isinstance(told, dict) else {}


def _read_segment(calls: Calls, segment: Segment) -> None:
    with segment.open() as file:
        end, num_odd = 0, 0
        for offset, entry in _entries(segment, file):
            end = offset
            if entry is None:
                num_odd += 1
            elif entry["kind"] == "answer":
                _count_answer(calls, entry)
            elif entry["kind"] == "missed":
                _count_missed(calls, entry)
        name = path_text(Path(segment.path.name))
        if end != segment.limit and is_damaged(segment, file, end):
            calls.notes.append(
                f"the journal's {name} is damaged at byte {end:,}: the times that stand behind "
                "that are left out; try `weave-async verify`"
            )
    if num_odd:
        calls.notes.append(f"the journal's {name} holds {num_odd:,} records that are none of ours")


def _entries(segment: Segment, file: Any) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Where each frame ends, and its record; ``None`` for one that is none of ours. Of frames that
    tell of no outcome, nothing is read.
    """
    for offset, body in segment.frames(file):
        end = frames.end_of(offset, body)
        if body.startswith(_OUTCOMES):
            try:
                yield end, entries.parse(body)
            except ValueError:
                yield end, None
        else:
            yield end, {"kind": ""}


_OUTCOMES = (b'{"kind":"answer"', b'{"kind":"missed"')


def _count_answer(calls: Calls, entry: Mapping[str, Any]) -> None:
    seller = entry["endpoint"], entry.get("model", "")
    answers = calls.answers.get(seller)
    if answers is None:
        if len(calls.answers) >= MAX_SELLERS:
            seller = OTHERS
        answers = calls.answers.setdefault(seller, Answers())
    response, at_s = entry["response"], _at_s(calls, entry)
    e2e_s = _number(response.get("e2e_s"))
    calls.num_answers += 1
    answers.at_s.append(at_s)
    answers.e2e_s.append(e2e_s if e2e_s is not None and e2e_s >= 0 else math.nan)
    answers.output_tokens.append(response["usage"]["output_tokens"] or 0)
    answers.input_tokens += response["usage"]["input_tokens"] or 0


def _count_missed(calls: Calls, entry: Mapping[str, Any]) -> None:
    error = entry["failure"]["error"]
    is_known = error in calls.missed or len(calls.missed) < MAX_ERRORS
    calls.missed[error if is_known else OTHERS[0]] += 1
    calls.missed_at_s.append(_at_s(calls, entry))


def _at_s(calls: Calls, entry: Mapping[str, Any]) -> float:
    at_s = calls.begun_s[-1] + max(0.0, _number(entry.get("at_s")) or 0.0)
    calls.last_s = max(calls.last_s, at_s)
    return at_s


def _number(value: object) -> float | None:
    """``None`` for what is no time: a damaged journal may say anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_TIME_S:
        return None
    return float(value) if math.isfinite(value) else None


MAX_TIME_S = 1e11
"""Three thousand years: what is more is no time."""
