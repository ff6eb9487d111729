"""A run's rows as the people who reviewed them would have them.

What they reject leaves the dataset, what they accept joins it though a rule had rejected it, and
where they have edited a completion, theirs takes its place. Several are counted as ``consensus``
says. A verdict on a row that has changed since is not applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from weave_async.consensus import Consensus, consensus_of
from weave_async.export.quality import AS_DUPLICATE, PEOPLE, is_undecided
from weave_async.review_log import ReviewLog
from weave_async.run_rows import ROW_ERRORS, ExportRow, RunRows, not_ours

Reviews = Literal["follow", "ignore", "only"]
Stem = Literal["samples", "rejected"]
Fate = Literal["confirmed", "removed", "restored"]
DUPLICATE = "duplicate"
"""A reason to reject that says nothing of quality."""


@dataclass(slots=True)
class Applied:
    """What became of the verdicts; complete once all rows were read, however often.

    ``num_given`` are decisions of people on rows, skips left out.
    """

    num_given: int = 0
    reviewers: set[str] = field(default_factory=set)
    _fates: dict[str, Fate] = field(default_factory=dict)
    _edited: set[str] = field(default_factory=set)
    _used: dict[str, int] = field(default_factory=dict)

    def note(self, row: ExportRow, consensus: Consensus) -> None:
        self.reviewers.update(consensus.reviewers)
        self._used[row.sample_id] = len(consensus.reviewers)
        self._fates[row.sample_id] = _fate(row, consensus)
        if consensus.edited is not None:
            self._edited.add(row.sample_id)

    def as_dict(self) -> dict[str, int]:
        """``outdated`` counts verdicts, the others rows."""
        fates = list(self._fates.values())
        return {
            "rows": len(fates),
            "reviewers": len(self.reviewers),
            "removed": fates.count("removed"),
            "restored": fates.count("restored"),
            "edited": len(self._edited),
            "outdated": self.num_given - sum(self._used.values()),
        }

    def __str__(self) -> str:
        """Empty where nobody has said anything."""
        if not self.num_given:
            return ""
        counts = self.as_dict()
        people = "1 person" if counts["reviewers"] == 1 else f"{counts['reviewers']} people"
        rows = "1 row" if counts["rows"] == 1 else f"{counts['rows']} rows"
        told = (
            f"{rows} reviewed by {people}: {counts['removed']} removed, {counts['restored']} "
            f"restored that rules had rejected, {counts['edited']} edited"
        )
        if outdated := counts["outdated"]:
            verdicts = (
                "1 verdict is on a row" if outdated == 1 else f"{outdated} verdicts are on rows"
            )
            told += f"; {verdicts} that changed since, and not applied"
        return told


class ReviewedRows(RunRows):
    """``follow`` applies the verdicts; ``only`` leaves out rows that nobody has decided, too;
    ``ignore`` does not even read them.
    """

    def __init__(self, run: Path, reviews: Reviews = "follow") -> None:
        super().__init__(run)
        self._is_only = reviews == "only"
        self._log = ReviewLog() if reviews == "ignore" else ReviewLog.read(self.folder.review)
        given = [each for each in self._log.standing.values() if each.decision != "skip"]
        self.applied = Applied(len(given))

    def written(self) -> Iterator[ExportRow]:
        """The dataset: rows without a rejection."""
        stems: tuple[Stem, ...] = ("samples", "rejected") if self._log.standing else ("samples",)
        return (row for stem in stems for row in self.rows_of(stem) if row.rejection is None)

    def rejected(self) -> Iterator[ExportRow]:
        stems: tuple[Stem, ...] = ("rejected", "samples") if self._log.standing else ("rejected",)
        return (row for stem in stems for row in self.rows_of(stem) if row.rejection is not None)

    def rows_of(self, stem: Stem) -> Iterator[ExportRow]:
        """All of one file, whatever became of them."""
        rows = super().written() if stem == "samples" else super().rejected()
        for row in rows:
            consensus = self._consensus(row)
            if consensus is not None:
                yield decided(row, consensus)
            elif not self._is_only:
                yield row

    def read_again(self, line: bytes, place: int) -> ExportRow:
        """A row of ``rows_of`` from its line."""
        row = ExportRow.of(line, place)
        consensus = self._consensus(row)
        return row if consensus is None else decided(row, consensus)

    def _consensus(self, row: ExportRow) -> Consensus | None:
        if not (given := self._log.of(row.sample_id)):
            return None
        text_sha256 = row.text_sha256
        consensus = consensus_of(each for each in given if each.text_sha256 == text_sha256)
        if consensus is not None:
            self.applied.note(row, consensus)
        return consensus


def decided(row: ExportRow, consensus: Consensus) -> ExportRow:
    """The row as people have decided on it."""
    if not consensus.is_accepted:
        if row.rejection is not None and not is_undecided(row.rejection):
            return row
        is_twin = set(consensus.reasons) == {DUPLICATE}
        rejection = {"rule": PEOPLE, "reason": "rejected", "evidence": {}}
        return replace(row, rejection={"stage": AS_DUPLICATE if is_twin else PEOPLE, **rejection})
    if row.rejection is not None:
        verdicts = (*row.verdicts, _as_verdict(row.rejection))
        row = replace(row, rejection=None, verdicts=verdicts)
    return row if consensus.edited is None else _edited(row, consensus.edited)


def _as_verdict(rejection: Mapping[str, Any]) -> dict[str, Any]:
    """What the rule had to say stays with the row: its score, above all."""
    evidence = orjson.dumps(rejection["evidence"]).decode()
    return {"rule": rejection["rule"], "passed": False, "evidence": evidence}


def _edited(row: ExportRow, text: str) -> ExportRow:
    """Of what was said of the model's completion, and done to it, nothing holds for a person's."""
    last = len(row.turns) - 1
    try:
        noise = [edit for edit in row.noise if edit["message_index"] != last]
    except ROW_ERRORS as error:
        raise not_ours(f"sample {row.sample_id}", error) from error
    turns = [*row.prompt, {"role": row.turns[-1]["role"], "content": text}]
    return replace(row, turns=turns, noise=noise, verdicts=(), edited_from=row.completion)


def _fate(row: ExportRow, consensus: Consensus) -> Fate:
    if not consensus.is_accepted:
        return "removed" if row.rejection is None else "confirmed"
    return "confirmed" if row.rejection is None else "restored"
