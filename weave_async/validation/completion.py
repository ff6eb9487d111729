"""The one rule that always holds: there is an answer to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict


@dataclass(frozen=True, slots=True)
class CompletionValidator:
    """Refuses empty completions, and those that the endpoint says it has filtered or broken off."""

    is_light: ClassVar[bool] = True

    def __call__(self, sample: Sample) -> Verdict:
        reason = sample.response.finish_reason if sample.response else "error"
        if reason in ("content_filter", "error"):
            raw = sample.response.raw_finish_reason if sample.response else None
            return Verdict(False, reason, {"finish_reason": raw})
        if not sample.completion.strip():
            return Verdict(False, "empty", {"finish_reason": reason})
        return ACCEPTED
