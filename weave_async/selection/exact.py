"""Samples whose text was accepted before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import ClassVar, Literal

from weave_async.records import ACCEPTED, Sample, Verdict


@dataclass(slots=True)
class ExactSelector:
    """Keeps the first of equal texts, where case and spacing do not count.

    ``on`` says what is compared: the ``completion`` alone, or the whole conversation
    (``messages``). Copies of one answer, which noise makes, share their completion on purpose: by
    it, they are no duplicates of each other. Holds 16 bytes of digest per accepted sample.
    """

    is_light: ClassVar[bool] = True

    on: Literal["completion", "messages"] = "completion"
    _first: dict[bytes, str] = field(default_factory=dict, init=False, repr=False)

    def features_of(self, samples: Sequence[Sample]) -> list[bytes]:
        return [self._digest_of(sample) for sample in samples]

    def verdict(self, sample: Sample, digest: bytes) -> Verdict:
        first = self._first.get(digest)
        if first is None or first == self._name_of(sample):
            return ACCEPTED
        return Verdict(False, "duplicate", {"of": first})

    def keep(self, sample: Sample, digest: bytes) -> None:
        self._first.setdefault(digest, self._name_of(sample))

    def _name_of(self, sample: Sample) -> str:
        return sample.answer_id if self.on == "completion" else sample.sample_id

    def _digest_of(self, sample: Sample) -> bytes:
        texts = [sample.completion]
        if self.on == "messages":
            texts = [message.content for message in sample.messages]
        text = "\0".join(" ".join(text.casefold().split()) for text in texts)
        return blake2b(text.encode(), digest_size=16).digest()
