"""What a page shows of a row: its turns with the noise marked, its verdicts, its lineage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

import orjson

from weave_async.errors import InputError
from weave_async.review.queue import ShownRow
from weave_async.run_rows import ROW_ERRORS, ExportRow

MAX_SHOWN_EVIDENCE_CHARS = 2000
MAX_MARKED_CHARS = 20_000
"""Comparing longer texts word by word would take seconds."""
_WORDS = re.compile(r"\s+|[^\W_]+|[\W_]")
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
    """All but the completion, with what noise has changed."""
    try:
        clean = row.clean_turns()
    except InputError:  # a noise of somebody else's
        clean = list(row.turns)
    return [
        ShownTurn(turn["role"], tuple(marked(before["content"], turn["content"])))
        for before, turn in zip(clean[:-1], row.prompt, strict=True)
    ]


def completion_of(row: ExportRow) -> ShownTurn:
    """The last turn, in the same way."""
    try:
        clean = row.clean_turns()[-1]["content"]
    except InputError:
        clean = row.completion
    return ShownTurn(row.turns[-1]["role"], tuple(marked(clean, row.completion)))


def marked(clean: str, noisy: str) -> Iterator[Piece]:
    """``noisy`` in pieces, with what it has instead of words of ``clean``."""
    if clean == noisy or len(clean) + len(noisy) > MAX_MARKED_CHARS:
        yield Piece("same", noisy)
        return
    before, after = _WORDS.findall(clean), _WORDS.findall(noisy)
    for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            yield Piece("same", "".join(after[k:m]))
            continue
        if i < j:
            yield Piece("removed", "".join(before[i:j]))
        if k < m:
            yield Piece("added", "".join(after[k:m]))


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
