"""Samples that say nearly the same as one in the dataset, letter by letter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ClassVar

import orjson

from weave_async.features.ngrams import normalized
from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.selection.compared import Compared, turns_of
from weave_async.selection.earlier import files_of, rows_of
from weave_async.selection.lsh import LEAST_THRESHOLD
from weave_async.selection.ngram_index import NgramFeatures, NgramIndex

_READ_AT_ONCE = 128
_MOST_NGRAM_CHARS = 50


@dataclass(slots=True)
class NearDuplicatesSelector:
    """Keeps the first of texts that share a ``threshold`` of their runs of characters.

    What is compared is the Jaccard similarity of the sets of all runs of ``ngram_chars``
    characters, where case and spacing do not count: 1 for the same text, about 0.8 for a sentence
    with one word of twelve changed. ``threshold`` lies between 0.5 and 1. Rejections are exact;
    about one pair in a hundred right at the threshold is not found.

    ``on`` says what is compared: the ``completion``, the ``prompt`` (all turns before it), or the
    whole conversation (``messages``). Copies of one answer, which noise makes, share their
    completion on purpose: by it, they are no duplicates of each other. By the prompt, all draws of
    one prompt are.

    ``against`` are folders of other runs, or files of rows (.jsonl, .csv, .txt), which are read
    before the first request: what is like one of theirs is rejected too.

    A text is compared in full with 16 others at most. Where thousands of texts are made from a few
    templates, a threshold below 0.7 makes all of them nearly alike: then it takes several times as
    long, and finds less.

    Holds less than 300 bytes for each accepted sample, and keeps their texts in a temporary file.
    """

    paths: ClassVar[tuple[str, ...]] = ("against",)

    threshold: float = 0.8
    on: Compared = "completion"
    ngram_chars: int = 5
    against: str | list[str] = field(default_factory=list)
    _index: NgramIndex = field(init=False, repr=False)
    _files: list[Path] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not LEAST_THRESHOLD <= self.threshold <= 1:
            raise ValueError(
                f"threshold {self.threshold} must lie between {LEAST_THRESHOLD} and 1: texts that "
                "share less are told apart by their meaning, not by their letters"
            )
        if not 1 <= self.ngram_chars <= _MOST_NGRAM_CHARS:
            raise ValueError(
                f"ngram_chars {self.ngram_chars} must be from 1 to {_MOST_NGRAM_CHARS}"
            )
        self._files = files_of(self.against)
        self._index = NgramIndex(self.threshold, self.ngram_chars)

    def prepare(self) -> None:
        """Read what ``against`` names."""
        for file in self._files:
            rows = rows_of(file, self.on)
            while some := list(islice(rows, _READ_AT_ONCE)):
                texts = [normalized("\n".join(turns)) for turns, _ in some]
                for (_, place), features in zip(some, self._index.features_of(texts), strict=True):
                    if not self._index.holds(features):
                        self._index.add(features, _label(place.evidence))

    def features_of(self, samples: Sequence[Sample]) -> list[NgramFeatures]:
        turns = (turns_of(sample.messages, self.on) for sample in samples)
        return self._index.features_of([normalized("\n".join(each)) for each in turns])

    def verdict(self, sample: Sample, features: NgramFeatures) -> Verdict:
        nearest = max(self._similar(sample, features), key=lambda found: found[0], default=None)
        if nearest is None:
            return ACCEPTED
        similarity, evidence = nearest
        return Verdict(False, "near_duplicate", {**evidence, "similarity": similarity})

    def keep(self, sample: Sample, features: NgramFeatures) -> None:
        if self.on == "completion" and sample.copy and self._index.holds(features):
            return  # as the copy before it
        self._index.add(features, _label({"of": sample.sample_id}))

    def _similar(
        self, sample: Sample, features: NgramFeatures
    ) -> Iterator[tuple[float, dict[str, str]]]:
        """What is alike, and is not the sample itself; the earliest of equally near ones first."""
        for similarity, label in self._index.similar(features):
            evidence: dict[str, str] = orjson.loads(label)
            if "in" in evidence or not self._is_of(evidence["of"], sample):
                yield similarity, evidence

    def _is_of(self, sample_id: str, sample: Sample) -> bool:
        if self.on == "completion":  # which its copies share
            return sample_id.partition("~")[0] == sample.answer_id
        return sample_id == sample.sample_id


def _label(evidence: dict[str, str]) -> str:
    return orjson.dumps(evidence).decode()
