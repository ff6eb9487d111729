"""What reviewers say in tests, written to a run's ``review.jsonl`` as the review page does it."""

from __future__ import annotations

from pathlib import Path

from weave_async.review_log import DECISIONS, HumanVerdict, ReviewWriter, now
from weave_async.run_rows import ExportRow


def say(run: Path, who: str, said: dict[str, str], *, reason: str = "wrong", sha: str = "") -> None:
    """``said``: of each sample accept, reject, skip, or else the completion as it is edited.
    ``sha`` is of the row that was seen; of the one that is there, if absent.
    """
    lines = b"".join((run / f"{stem}.jsonl").read_bytes() for stem in ("samples", "rejected"))
    found = {
        each.sample_id: each for each in (ExportRow.of(line, 0) for line in lines.splitlines())
    }
    with ReviewWriter(run / "review.jsonl") as writer:
        for sample_id, what in said.items():
            known = [each for each in DECISIONS if each == what]
            writer.record(
                HumanVerdict(
                    at=now(),
                    reviewer=who,
                    sample_id=sample_id,
                    decision=known[0] if known else "accept",
                    reason=reason if what == "reject" else None,
                    edited=None if known else what,
                    text_sha256=sha or found[sample_id].text_sha256,
                    stratum="written: others",
                )
            )
