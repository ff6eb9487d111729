"""What a page shows of a row: its turns with the noise marked, its verdicts, its lineage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from weave_async.noise.stretches import Stretch, stretches_of
from weave_async.review.queue import ShownRow
from weave_async.run_rows import ROW_ERRORS, ExportRow

MAX_SHOWN_EVIDENCE_CHARS = 2000
MAX_CHANGES = 400
"""In one turn: beyond them, it is shown without."""
_LINEAGE = (
    "source",
    "model",
    "endpoint",
    "attributes",
    "params",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "regenerations",
    "repairs",
    "parent",
)

Mark = Literal["same", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a turn: as it is in both texts, added by noise, or what noise has removed."""

    mark: Mark
    text: str


@dataclass(frozen=True, slots=True)
class ShownTurn:
    role: str
    pieces: tuple[Piece, ...]

    @property
    def is_noisy(self) -> bool:
        return any(piece.mark != "same" for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    rule: str
    passed: bool
    reason: str
    evidence: str


def turns_of(row: ExportRow) -> list[ShownTurn]:
    """What was asked, with what noise has changed."""
    return [_turn(row, index) for index in range(len(row.prompt))]


def completion_of(row: ExportRow) -> ShownTurn:
    """The last turn, in the same way."""
    return _turn(row, len(row.turns) - 1)


def _turn(row: ExportRow, index: int) -> ShownTurn:
    role, text = row.turns[index]["role"], row.turns[index]["content"]
    try:
        edits = [edit for edit in row.noise if edit["message_index"] == index]
        if sum(len(edit["changes"]) for edit in edits) > MAX_CHANGES:
            edits = []
        return ShownTurn(role, tuple(_pieces(stretches_of(text, edits))))
    except ROW_ERRORS:  # a noise of somebody else's, or a turn that a rule has mended since
        return ShownTurn(role, (Piece("same", text),))


def _pieces(stretches: Iterable[Stretch]) -> Iterator[Piece]:
    for stretch in stretches:
        if not stretch.is_changed:
            yield Piece("same", stretch.after)
            continue
        if stretch.before:
            yield Piece("removed", stretch.before)
        if stretch.after:
            yield Piece("added", stretch.after)


def verdicts_of(row: ExportRow) -> list[ShownVerdict]:
    """In the order in which they were given; what rejected the row comes last."""
    found = []
    for verdict in row.verdicts:
        try:
            rule, reason = str(verdict["rule"]), str(verdict["reason"])
            evidence = orjson.loads(verdict["evidence"])
            found.append(ShownVerdict(rule, bool(verdict["passed"]), reason, _told(evidence)))
        except ROW_ERRORS:
            continue
    if row.rejection is not None:
        rule, reason = row.rejection["rule"], row.rejection["reason"]
        found = [each for each in found if each.rule != rule or each.passed]
        found.append(ShownVerdict(rule, False, reason, _told(row.rejection["evidence"])))
    return found


def lineage_of(shown: ShownRow) -> list[tuple[str, str]]:
    """Names and values, those that there are."""
    lineage = shown.row.lineage
    told = [("sample", shown.row.sample_id)]
    for name in _LINEAGE:
        value = lineage.get(name)
        if isinstance(value, dict):
            told += [(str(key), _plain(each)) for key, each in value.items()]
        elif value not in (None, 0, ""):
            told.append((name.replace("_", " "), _plain(value)))
    return told


def _told(evidence: Any) -> str:
    if not evidence:
        return ""
    if isinstance(evidence, dict):
        text = "\n".join(f"{name}: {_plain(value)}" for name, value in evidence.items())
    else:
        text = _plain(evidence)
    most = MAX_SHOWN_EVIDENCE_CHARS
    return text if len(text) <= most else f"{text[:most]} …"


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    return (
        orjson.dumps(value, default=str).decode()
        if isinstance(value, Mapping | list)
        else f"{value}"
    )
