"""Samples whose text was accepted before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.selection.compared import Compared, name_of, turns_of
from weave_async.selection.earlier import Place, files_of, rows_of


@dataclass(slots=True)
class ExactSelector:
    """Keeps the first of equal texts, where case and spacing do not count.

    ``on`` says what is compared: the ``completion`` alone, the ``prompt`` (all turns before it), or
    the whole conversation (``messages``). Copies of one answer, which noise makes, share their
    completion on purpose: by it, they are no duplicates of each other. By the prompt, all draws of
    one prompt are.

    ``against`` are folders of other runs, or files of rows (.jsonl, .csv, .txt), which are read
    before the first request: what equals one of theirs is rejected too.

    Holds a digest and a name, about 250 bytes together, for each accepted sample.
    """

    is_light: ClassVar[bool] = True
    paths: ClassVar[tuple[str, ...]] = ("against",)

    on: Compared = "completion"
    against: str | list[str] = field(default_factory=list)
    _first: dict[bytes, str] = field(default_factory=dict, init=False, repr=False)
    _earlier: dict[bytes, Place] = field(default_factory=dict, init=False, repr=False)
    _files: list[Path] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._files = files_of(self.against)

    def prepare(self) -> None:
        """Read what ``against`` names."""
        for file in self._files:
            for turns, place in rows_of(file, self.on):
                self._earlier.setdefault(_digest_of(turns), place)

    def features_of(self, samples: Sequence[Sample]) -> list[bytes]:
        return [_digest_of(turns_of(sample.messages, self.on)) for sample in samples]

    def verdict(self, sample: Sample, digest: bytes) -> Verdict:
        if (place := self._earlier.get(digest)) is not None:
            return Verdict(False, "duplicate", place.evidence)
        first = self._first.get(digest)
        if first is None or first == name_of(sample, self.on):
            return ACCEPTED
        return Verdict(False, "duplicate", {"of": first})

    def keep(self, sample: Sample, digest: bytes) -> None:
        self._first.setdefault(digest, name_of(sample, self.on))


def _digest_of(turns: Sequence[str]) -> bytes:
    """Not of the text that they are together: text would move from one turn to the next."""
    text = "\0".join(" ".join(turn.casefold().split()) for turn in turns)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
