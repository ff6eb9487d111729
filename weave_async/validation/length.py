"""Completions that are too short or too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict


@dataclass(frozen=True, slots=True)
class LengthValidator:
    """Bounds on the completion, inclusive. ``complete`` also refuses what ran into max_tokens."""

    is_light: ClassVar[bool] = True

    min_words: int = 1
    max_words: int | None = None
    max_chars: int | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        if self.max_words is not None and self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        words, chars = len(text.split()), len(text)
        if words < self.min_words:
            return Verdict(False, "too_short", {"words": words, "min_words": self.min_words})
        if self.max_words is not None and words > self.max_words:
            return Verdict(False, "too_long", {"words": words, "max_words": self.max_words})
        if self.max_chars is not None and chars > self.max_chars:
            return Verdict(False, "too_long", {"chars": chars, "max_chars": self.max_chars})
        if self.complete and sample.response and sample.response.finish_reason == "length":
            return Verdict(False, "cut_off", {"max_tokens": sample.request.params.max_tokens})
        return ACCEPTED
