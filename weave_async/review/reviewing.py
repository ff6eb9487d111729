"""One review: the queue, what was decided, and who takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from weave_async.errors import UsageError
from weave_async.review.pages import Frame, Progress
from weave_async.review.queue import ReviewQueue, ShownRow
from weave_async.review.results import Results
from weave_async.review_log import DECISIONS, Decision, HumanVerdict, ReviewLog, ReviewWriter, now
from weave_async.run_rows import RunRows

REASONS = (
    "wrong",
    "off topic",
    "incomplete",
    "unclear",
    "bad style",
    "bad format",
    "duplicate",
    "harmful",
)
MAX_REASON_CHARS, MAX_EDITED_CHARS = 300, 400_000
NUM_LATEST = 30


class RefusedDecision(Exception):
    """The decision cannot be taken; the message says why, to the person who took it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a browser sends."""

    sample_id: str
    text_sha256: str
    decision: str
    reason: str | None = None
    edited: str | None = None


class Review:
    """What the pages do. ``planned`` is how many rows each person means to decide."""

    def __init__(
        self,
        name: str,
        rows: RunRows,
        queue: ReviewQueue,
        writer: ReviewWriter,
        *,
        planned: int,
        reasons: Sequence[str] = REASONS,
    ) -> None:
        if not reasons:
            raise UsageError("a review needs at least one reason to reject")
        self.name = name
        self.queue = queue
        self._rows = rows
        self.reasons = tuple(reasons)
        self._writer = writer
        self._planned = planned

    def __repr__(self) -> str:
        return f"<Review {self.name}, {len(self._writer.log.standing)} verdicts>"

    @property
    def log(self) -> ReviewLog:
        return self._writer.log

    def frame(self, reviewer: str) -> Frame:
        return Frame(
            run_name=self.name,
            reviewer=reviewer,
            progress=Progress(self._num_decided(reviewer), min(self._planned, len(self.queue))),
            can_undo=next(self.log.latest_of(reviewer), None) is not None,
        )

    def next_for(self, reviewer: str) -> ShownRow | None:
        return self.queue.next_for(reviewer, self.log)

    def find(self, sample_id: str) -> ShownRow | None:
        queued = self.queue.find(sample_id)
        return None if queued is None else self.queue.read(queued)

    def repeated_by(self, given: ShownRow) -> ShownRow | None:
        """The row of which a rule says that this one is a duplicate, where it can be shown."""
        evidence = given.row.rejection["evidence"] if given.row.rejection is not None else {}
        of = evidence.get("of") if isinstance(evidence, dict) else None
        return self.find(of) if isinstance(of, str) else None

    def standing(self, reviewer: str, given: ShownRow) -> HumanVerdict | None:
        """What that person has said of the row as it is now."""
        verdict = self.log.standing.get((reviewer, given.row.sample_id))
        return verdict if verdict and verdict.text_sha256 == given.text_sha256 else None

    def results(self) -> Results:
        """Takes seconds where there are very many rows."""
        return Results.of(self._rows, self.log, seed=self._rows.seed)

    def latest_of(self, reviewer: str) -> list[HumanVerdict]:
        """Some of what that person has decided, the last first."""
        return list(islice(self.log.latest_of(reviewer), NUM_LATEST))

    def decide(self, reviewer: str, decided: Decided) -> None:
        """Return once it is durable. Raises ``RefusedDecision``, or ``StorageError``."""
        given = self.find(decided.sample_id)
        if given is None or given.text_sha256 != decided.text_sha256:
            raise RefusedDecision("The row is not in the run any more: load the page anew.")
        self._writer.record(
            HumanVerdict(
                at=now(),
                reviewer=reviewer,
                sample_id=decided.sample_id,
                decision=_decision_in(decided),
                reason=_reason_in(decided),
                edited=_edited_in(decided, given.row.completion),
                text_sha256=given.text_sha256,
                stratum=given.queued.stratum.name,
            )
        )

    def undo(self, reviewer: str) -> str | None:
        """The sample that is open again; ``None`` where there was nothing to take back."""
        undone = self._writer.undo(reviewer)
        return undone.sample_id if undone is not None else None

    def _num_decided(self, reviewer: str) -> int:
        return sum(
            1
            for (who, _), verdict in self.log.standing.items()
            if who == reviewer and verdict.decision != "skip" and self.queue.is_current(verdict)
        )


def _decision_in(decided: Decided) -> Decision:
    for decision in DECISIONS:
        if decided.decision == decision:
            return decision
    raise RefusedDecision(f"{decided.decision!r} is none of {', '.join(DECISIONS)}.")


def _reason_in(decided: Decided) -> str | None:
    reason = (decided.reason or "").strip()
    if len(reason) > MAX_REASON_CHARS:
        raise RefusedDecision(f"A reason has at most {MAX_REASON_CHARS} characters.")
    if decided.decision == "reject" and not reason:
        raise RefusedDecision("Say why it is rejected.")
    return reason or None


def _edited_in(decided: Decided, completion: str) -> str | None:
    """``None`` where nothing was changed, but for how a browser ends its lines."""
    edited = decided.edited
    if edited is None or edited == completion.replace("\r\n", "\n"):
        return None
    if decided.decision != "accept":
        raise RefusedDecision("A text is edited to be accepted.")
    if not edited.strip():
        raise RefusedDecision("An empty completion teaches nothing: reject the row instead.")
    if len(edited) > MAX_EDITED_CHARS:
        raise RefusedDecision(f"A completion has at most {MAX_EDITED_CHARS:,} characters here.")
    return edited
