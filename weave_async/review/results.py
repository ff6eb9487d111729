"""What a review has found so far: how many rows are bad, how far reviewers agree, who did what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from weave_async.review.agreement import Agreement, agreement
from weave_async.review.decided import Decided
from weave_async.review.defects import Defects, defects
from weave_async.review.strata import stratum_named
from weave_async.review_log import ReviewLog
from weave_async.run_rows import RunRows


@dataclass(frozen=True, slots=True)
class StratumResult:
    """``num_defects``: of those decided, the ones on which people do not agree with the rules."""

    name: str
    why: str
    num_rows: int
    num_decided: int
    num_defects: int


@dataclass(frozen=True, slots=True)
class Results:
    """``num_by`` counts each reviewer's decisions by kind, ``reasons`` those to reject."""

    defects: Defects
    agreement: Agreement
    strata: list[StratumResult]
    num_by: dict[str, Counter[str]]
    reasons: Counter[str]
    num_outdated: int

    @classmethod
    def of(cls, rows: RunRows, log: ReviewLog, *, seed: int) -> Results:
        """Reads all rows, twice: a row's stratum depends on the others."""
        decided = Decided.read(rows, log)
        num_decided, num_defects = Counter[str](), Counter[str]()
        for each in decided.rows:
            num_decided[each.stratum] += 1
            is_written = each.row.rejection is None
            num_defects[each.stratum] += each.consensus.is_defect == is_written
        num_by: dict[str, Counter[str]] = {}
        reasons = Counter[str]()
        for verdict in decided.verdicts:
            kind = "edit" if verdict.edited is not None else verdict.decision
            num_by.setdefault(verdict.reviewer, Counter())[kind] += 1
            if verdict.decision == "reject" and verdict.reason:
                reasons[verdict.reason] += 1
        return cls(
            defects=defects(decided.rows, decided.num_rows_in),
            agreement=agreement(decided.verdicts, seed=seed),
            strata=[
                StratumResult(
                    name, stratum_named(name).why, num_rows, num_decided[name], num_defects[name]
                )
                for name, num_rows in sorted(decided.num_rows_in.items(), reverse=True)
            ],
            num_by=num_by,
            reasons=reasons,
            num_outdated=decided.num_outdated,
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "defects": self.defects.as_dict(),
            "agreement": self.agreement.as_dict(),
            "strata": [
                {"name": each.name, "rows": each.num_rows, "decided": each.num_decided}
                for each in self.strata
            ],
            "reviewers": {name: dict(counts) for name, counts in self.num_by.items()},
            "reasons": dict(self.reasons.most_common()),
            "outdated": self.num_outdated,
        }

    def __str__(self) -> str:
        """For a terminal."""
        lines = [str(self.defects), str(self.agreement)]
        for name, counts in self.num_by.items():
            told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
            lines.append(f"{name}: {told}")
        if self.num_outdated:
            lines.append(f"{self.num_outdated} verdicts are on rows that have changed since")
        return "\n".join(lines)
