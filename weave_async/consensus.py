"""What several people say of one row together.

The majority of those who decided counts, whoever skipped left out. A tie counts against the row:
somebody found fault with it, and nobody outvoted them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from weave_async.review_log import HumanVerdict


@dataclass(frozen=True, slots=True)
class Consensus:
    """``num_edited`` of those who accepted did so with another completion, the latest of which is
    ``latest_edit``. ``reasons`` are those of the people who rejected.
    """

    reviewers: tuple[str, ...]
    num_accepted: int
    num_rejected: int
    num_edited: int = 0
    latest_edit: str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """As it is, or with another completion."""
        return self.num_accepted > self.num_rejected

    @property
    def is_defect(self) -> bool:
        """Not accepted as it is: rejected, or edited."""
        num_as_it_is = self.num_accepted - self.num_edited
        return self.num_rejected + self.num_edited >= num_as_it_is

    @property
    def edited(self) -> str | None:
        """The completion that takes the place of the row's; ``None`` where it stays, or leaves."""
        return self.latest_edit if self.is_accepted and self.is_defect else None


def consensus_of(verdicts: Iterable[HumanVerdict]) -> Consensus | None:
    """``verdicts``: one person's each, on the row as it is. ``None`` where nobody decided."""
    decided = [each for each in verdicts if each.decision != "skip"]
    if not decided:
        return None
    rejected = [each for each in decided if each.decision == "reject"]
    edits = [each for each in decided if each.decision == "accept" and each.edited is not None]
    latest = max(edits, key=lambda each: (each.at, each.reviewer), default=None)
    return Consensus(
        reviewers=tuple(sorted(each.reviewer for each in decided)),
        num_accepted=len(decided) - len(rejected),
        num_rejected=len(rejected),
        num_edited=len(edits),
        latest_edit=latest.edited if latest is not None else None,
        reasons=tuple(each.reason or "" for each in rejected),
    )
