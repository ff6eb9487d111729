"""Samples whose text was accepted before."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from weave_async.records import ACCEPTED, Sample, Verdict


@dataclass(slots=True)
class ExactSelector:
    """Keeps the first of equal texts, where case and spacing do not count.

    ``on`` says what is compared: the ``completion`` alone, or the whole conversation
    (``messages``). Copies of one answer, which noise makes, share their completion on purpose: by
    it, they are no duplicates of each other. Holds 16 bytes of digest per accepted sample.
    """

    on: Literal["completion", "messages"] = "completion"
    _first: dict[bytes, str] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, sample: Sample) -> Verdict:
        texts = [sample.completion]
        if self.on == "messages":
            texts = [message.content for message in sample.messages]
        text = "\0".join(" ".join(text.casefold().split()) for text in texts)
        digest = blake2b(text.encode(), digest_size=16).digest()
        name = sample.answer_id if self.on == "completion" else sample.sample_id
        first = self._first.setdefault(digest, name)
        if first == name:
            return ACCEPTED
        return Verdict(False, "duplicate", {"of": first})
