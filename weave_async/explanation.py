"""One row's whole path, from the files of its run: what was asked, what came, who judged it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from weave_async.errors import InputError, RecipeError, UsageError
from weave_async.journal import entries
from weave_async.journal.segments import Segment, list_segments, not_ours
from weave_async.parts.staging import selectors_of, stage_spec_of
from weave_async.recipe import Recipe
from weave_async.rundir import OUTPUTS, RunFolder
from weave_async.stages.building import stages_of

MAX_MATCHES_NAMED = 5
MAX_ADVICE_CHARS = 400
_PLACE = re.compile(r"(?P<file>.+):(?P<line>[0-9]{1,18})")

State = Literal["written", "rejected", "failed", "pending"]
_STATES: dict[str, State] = {"samples": "written", "rejected": "rejected", "failed": "failed"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call for the row. ``at`` is wall-clock time; ``outcome`` is answered, missed, unknown."""

    run: int
    attempt_id: str
    at: str
    outcome: str = "unknown"
    took_s: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """What one stage made of the row."""

    stage: str
    name: str
    verdict: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Consultation:
    """What a stage has asked a model about the row, and what came: an answer, shortened, or why
    none. ``draw`` tells apart questions that are the same.
    """

    run: int
    stage: str
    endpoint: str
    model: str
    draw: int
    answer: str
    place: str


@dataclass(slots=True)
class Explanation:
    """Everything that is known of one row. ``place`` is where it was written, ``file:line``."""

    sample_id: str
    state: State = "pending"
    place: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    answer: Mapping[str, Any] | None = None
    answer_place: str | None = None
    stages: list[StageVerdict] = field(default_factory=list)
    consultations: list[Consultation] = field(default_factory=list)
    failure: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Found:
    stem: str
    place: str
    row: Mapping[str, Any]


def explain(path: Path, row: str) -> Explanation:
    """``row`` is a sample's id or how it begins, ``samples:12``, or a source's ``file.jsonl:12``.

    Raises ``UsageError`` when that is no row of this run, or more than one.
    """
    folder = RunFolder(path)
    folder.require_run()
    segments = list_segments(folder.journal) if folder.journal.is_dir() else []
    row = os.fsencode(row).decode(errors="replace")
    found = _find(folder, row)
    if found is None:
        explanation = Explanation(_journalled_id(segments, row))
    else:
        explanation = Explanation(
            sample_id=found.row["sample_id"],
            state=_STATES[found.stem],
            place=found.place,
            lineage=found.row["lineage"],
            messages=found.row["messages"],
        )
        if found.stem == "failed":
            explanation.failure = _without(found.row, "messages", "lineage", "sample_id")
        explanation.stages = _stages(folder.recipe, found)
    _add_calls(explanation, segments)
    if folder.consultations.is_dir():
        explanation.consultations = list(_consultations(folder, explanation.sample_id))
    return explanation


def _find(folder: RunFolder, row: str) -> _Found | None:
    """The one row of the outputs that is meant."""
    place = _PLACE.fullmatch(row)
    if place and place["file"] in OUTPUTS:
        return _nth_row(folder, place["file"], int(place["line"]))
    key, value = ("source", row) if place else ("sample_id", row)
    matches: list[_Found] = []
    for found in _rows(folder, needle=value.encode()):
        told = found.row["lineage"]["source"] if key == "source" else found.row["sample_id"]
        if told == value and key == "sample_id":
            return found
        if told == value or (key == "sample_id" and told.startswith(value)):
            matches.append(found)
    if len(matches) > 1:
        raise _ambiguous(row, [found.row["sample_id"] for found in matches])
    return matches[0] if matches else None


def _nth_row(folder: RunFolder, stem: str, number: int) -> _Found:
    for found in _rows(folder, stems=(stem,), number=number):
        return found
    raise UsageError(f"{folder.path} has no row {number} in {stem}.jsonl")


def _rows(
    folder: RunFolder,
    needle: bytes = b"",
    stems: tuple[str, ...] = OUTPUTS,
    number: int | None = None,
) -> Iterator[_Found]:
    """Rows of the outputs in which ``needle`` stands somewhere; or the one of that ``number``."""
    for stem in stems:
        path = folder.path / f"{stem}.jsonl"
        if not path.is_file():
            continue
        with path.open("rb") as file:
            for line_number, line in enumerate(file, 1):
                if needle in line and number in (None, line_number):
                    row = _row_from(line, path, line_number)
                    yield _Found(stem, f"{path.name}:{line_number}", row)


def _row_from(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row: dict[str, Any] = orjson.loads(line)
        row["sample_id"].encode(), row["lineage"]["source"].encode()
        if not isinstance(row["messages"], list):
            raise TypeError("messages is no list")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}:{number} is no row of ours: {error!r}; try `verify`") from error
    return row


def _journalled_id(segments: list[Segment], row: str) -> str:
    """The sample that is meant, of those whose answers have not been written yet."""
    ids = {
        entry["sample_id"]
        for _, _, entry in _entries(segments, row.encode())
        if entry["kind"] in ("answer", "failure") and entry["sample_id"].startswith(row)
    }
    if row in ids or len(ids) == 1:
        return row if row in ids else ids.pop()
    if ids:
        raise _ambiguous(row, sorted(ids))
    raise UsageError(
        f"no row is '{row}': name a sample's id or how it begins, samples:12, rejected:3, or a "
        "source's file.jsonl:LINE"
    )


def _ambiguous(row: str, ids: list[str]) -> UsageError:
    more = ", …" if len(ids) > MAX_MATCHES_NAMED else ""
    named = ", ".join(ids[:MAX_MATCHES_NAMED])
    return UsageError(f"'{row}' means {len(ids)} samples: {named}{more}; name one of them")


def _entries(
    segments: list[Segment], *needles: bytes
) -> Iterator[tuple[Segment, int, dict[str, Any]]]:
    for segment in segments:
        with segment.open() as file:
            for offset, body in segment.frames(file):
                if any(needle in body for needle in needles):
                    try:
                        entry = entries.parse(body)
                    except ValueError as error:
                        raise not_ours(segment.path, offset, error) from error
                    yield segment, offset, entry


def _add_calls(explanation: Explanation, segments: list[Segment]) -> None:
    """The answer that was used, or else the first there is, and every call for this sample."""
    request_id = explanation.lineage.get("request_id")
    answers = []
    answer_id = explanation.sample_id.partition("~")[0]  # copies are of one answer
    for segment, offset, entry in _entries(segments, answer_id.encode()):
        if entry["kind"] == "answer" and entry["sample_id"] == answer_id:
            answers.append((segment, offset, entry))
    asked = [request_id] if request_id else [entry["request_id"] for *_, entry in answers]
    # Of several completions in one request, the calls are known by the request that was sent.
    used = [entry for *_, entry in answers if entry["request_id"] in asked]
    sent = [entry.get("attempt_id", "").rpartition("-")[0] for entry in used]
    explanation.attempts = _attempts(segments, [*asked, *filter(None, sent)])
    max_tokens = explanation.lineage.get("params", {}).get("max_tokens")
    for segment, offset, entry in answers:
        if entry["request_id"] in asked and (
            not request_id
            or entries.fits(
                entry, sample_id=answer_id, request_id=request_id, max_tokens=max_tokens
            )
        ):
            explanation.answer = entry["response"]
            explanation.answer_place = f"{segment.path.name} at byte {offset}"
            return


def _consultations(folder: RunFolder, sample_id: str) -> Iterator[Consultation]:
    """A question is named after the row it is about, and its draw."""
    for segment, offset, entry in _entries(list_segments(folder.consultations), sample_id.encode()):
        if entry["kind"] not in ("answer", "failure"):
            continue
        about, _, draw = entry["sample_id"].rpartition("-")
        if about == sample_id and draw.isdecimal():
            yield Consultation(
                run=segment.epoch,
                stage=entry.get("stage", ""),
                endpoint=entry.get("endpoint", ""),
                model=entry.get("model", ""),
                draw=int(draw),
                answer=_advice_in(entry),
                place=f"{segment.path.name} at byte {offset}",
            )


def _advice_in(entry: Mapping[str, Any]) -> str:
    if entry["kind"] == "failure":
        return f"none: {entry['failure']['error']}: {entry['failure']['message']}"
    text: str = entry["response"]["text"]
    return text if len(text) <= MAX_ADVICE_CHARS else f"{text[: MAX_ADVICE_CHARS - 1]}…"


def _attempts(segments: list[Segment], request_ids: list[str]) -> list[Attempt]:
    calls: dict[tuple[int, str], tuple[Attempt, float]] = {}
    for segment, _, entry in _entries(segments, *(each.encode() for each in request_ids)):
        if entry["kind"] == "sent":
            for attempt_id, request_id, _ in entry["calls"]:
                if request_id in request_ids:
                    call = Attempt(segment.epoch, attempt_id, _wall_time(segment, entry["at_s"]))
                    calls[segment.epoch, attempt_id] = call, entry["at_s"]
        elif entry["kind"] in ("answer", "missed") and entry["request_id"] in request_ids:
            key = segment.epoch, entry.get("attempt_id", "")
            if key in calls:
                call, sent_at_s = calls[key]
                took_s = entry.get("at_s", sent_at_s) - sent_at_s
                calls[key] = _ended(call, entry, took_s=took_s), sent_at_s
    return [call for call, _ in calls.values()]


def _ended(call: Attempt, entry: Mapping[str, Any], took_s: float) -> Attempt:
    if entry["kind"] == "answer":
        return replace(call, outcome="answered", took_s=round(took_s, 3))
    failure = entry["failure"]
    reason = f"{failure['error']}: {failure['message']}"
    return replace(call, outcome="missed", took_s=round(took_s, 3), reason=reason)


def _wall_time(segment: Segment, at_s: float) -> str:
    started_at = segment.opening.get("started_at")
    if started_at is None:
        return ""
    try:
        return datetime.fromtimestamp(started_at + at_s, UTC).isoformat(" ", "seconds")
    except (OverflowError, ValueError):  # a time that no calendar has
        return ""


def _stages(recipe: Path, found: _Found) -> list[StageVerdict]:
    """Each stage of the recipe, in order. Those before the one that rejected let the row pass."""
    if found.stem == "failed":
        return []
    try:
        loaded = Recipe.load(recipe)
        stages = [*stages_of(stage_spec_of(loaded)), *selectors_of(loaded)]
    except RecipeError as error:  # a part that is not installed here
        return [StageVerdict("recipe", recipe.name, "unknown", {"why": str(error)})]
    row, is_rejected = found.row, False
    verdicts = []
    for stage in stages:
        kind, name = stage.kind, stage.name
        if kind == "noise":
            detail = _edits(row, getattr(getattr(stage, "noise", None), "names", {name}))
            verdict = f"changed {len(detail)}" if detail else "left as it was"
        else:
            detail, verdict = _kept_verdict(row, name)
        if is_rejected and kind == "noise" and detail:
            pass  # the rule has judged what noise had made of it
        elif is_rejected:
            verdict, detail = "not reached", {}
        elif (row.get("stage"), row.get("rule")) == (kind, name):
            verdict, detail = f"rejected: {row['reason']}", row["evidence"]
            is_rejected = True
        verdicts.append(StageVerdict(kind, name, verdict, detail))
    return verdicts


def _kept_verdict(row: Mapping[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """What a rule that has let the row pass has said of it."""
    for told in reversed(row["lineage"].get("verdicts", ())):
        if told["rule"] == name:
            verdict = "passed" if told["passed"] else "rejected"
            reason = f": {told['reason']}" if told["reason"] else ""
            return orjson.loads(told["evidence"]), f"{verdict}{reason}"
    return {}, "passed"


def _edits(row: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Message by message, what noises of these names have changed there."""
    told: dict[str, list[str]] = {}
    for edit in row["lineage"].get("noise", ()):
        if edit["noise"] in names:
            changes = told.setdefault(f"message {edit['message_index']}", [])
            changes += [f"{each['before']!r} → {each['after']!r}" for each in edit["changes"]]
    return {message: ", ".join(changes) for message, changes in told.items()}


def _without(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}
