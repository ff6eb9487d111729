"""What reviewers say in tests, written to a run's ``review.jsonl`` as the review page does it."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from weave_async.review_log import DECISIONS, HumanVerdict, ReviewWriter, now


def say(run: Path, who: str, said: dict[str, str], *, reason: str = "wrong", sha: str = "") -> None:
    """``said``: of each sample accept, reject, skip, or else the completion as it is edited.
    ``sha`` is of the row that was seen; of the one that is there, if absent.
    """
    lines = b"".join((run / f"{stem}.jsonl").read_bytes() for stem in ("samples", "rejected"))
    found = {json.loads(line)["sample_id"]: line for line in lines.splitlines(keepends=True)}
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
                    row_sha256=sha or sha256(found[sample_id]).hexdigest(),
                    stratum="written: others",
                )
            )
