"""The best and most diverse of all that came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np

from weave_async.features.embeddings import Embedder
from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.selection.candidates import Candidates, Numbers
from weave_async.selection.choosing import Chooser, Strategy, first_of_equals
from weave_async.selection.codes import Codes, Floats
from weave_async.selection.compared import Compared
from weave_async.selection.embedded import EmbedderName, codes_of_samples, embedder_named
from weave_async.selection.quality import (
    Quality,
    check,
    columns_read_for,
    quality_of,
    rules_read_for,
)


@dataclass(slots=True)
class ChooseSelector:
    """Once all samples have come, writes ``k`` of them: good ones, unlike each other.

    ``strategy`` is ``dpp`` (a determinantal point process, greedily: Chen et al., 2018), ``ssd``
    (sliding spectrum decomposition: Huang et al., 2021), or ``mmr`` (maximal marginal relevance:
    Carbonell and Goldstein, 1998). ``quality`` says what is good: ``{rule: judge}``, the score that
    this rule has told, or ``{column: stars}``, a number in the row; unless given, all are equally
    good. ``diversity`` weighs it against quality, from 0 (quality alone) to 1 (diversity alone).
    ``on`` and ``embedder`` say how samples are compared, as with ``novelty``; those that are equal
    by it come last. It must be the last selector, and holds about 450 bytes per sample. Needs the
    extra ``diversity``.
    """

    k: int
    strategy: Strategy = "dpp"
    diversity: float = 0.5
    quality: Quality | None = None
    on: Compared = "completion"
    embedder: EmbedderName | None = None
    _embedder: Embedder = field(init=False, repr=False)
    _candidates: Candidates = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k {self.k} must be 1 or more: the number of samples to write")
        if not 0 <= self.diversity <= 1:
            raise ValueError(f"diversity {self.diversity:g} must be from 0 to 1")
        check(self.quality)
        if find_spec("pyversity") is None:
            raise ValueError("pyversity is not installed: pip install 'weave-async[diversity]'")
        self._embedder = embedder_named(self.embedder)
        self._candidates = Candidates(self._embedder.num_dimensions)

    @property
    def columns_read(self) -> list[str]:
        return columns_read_for(self.quality)

    @property
    def rules_read(self) -> list[str]:
        return rules_read_for(self.quality)

    @property
    def most_written(self) -> int:
        return self.k

    def features_of(self, samples: Sequence[Sample]) -> list[tuple[Codes, float]]:
        qualities = [quality_of(sample, self.quality) for sample in samples]
        codes = codes_of_samples(samples, self.on, self._embedder)
        return list(zip(codes, qualities, strict=True))

    def offer(self, sample: Sample, features: tuple[Codes, float]) -> None:
        self._candidates.add(sample.sample_id, *features)

    def verdicts(self) -> Iterator[Verdict]:
        candidates = self._candidates
        if len(candidates) == 0:
            return
        first = first_of_equals(candidates)  # (N,)
        chooser = Chooser(self.strategy, self.diversity)
        is_chosen = np.zeros(len(candidates), bool)
        nearest = np.arange(len(candidates))
        similarities = np.ones(len(candidates), np.float32)
        for numbers, chosen in chooser.chosen(candidates, first, self.k):
            is_chosen[chosen] = True
            nearest[numbers], similarities[numbers] = _nearest(candidates, numbers, chosen)
        others = np.flatnonzero(~is_chosen & (first != np.arange(len(first))))
        is_chosen[others[: max(0, self.k - int(is_chosen.sum()))]] = True  # equals, if all must do
        qualities = candidates.qualities
        for number in range(len(candidates)):
            if is_chosen[number]:
                yield ACCEPTED
                continue
            same = int(first[number])
            evidence = {
                "of": candidates.name(int(nearest[same])),
                "similarity": round(float(similarities[same]), 4),
                "embedder": self._embedder.name,
                "k": self.k,
                "candidates": len(candidates),
                "strategy": self.strategy,
            }
            if self.quality is not None:
                evidence["quality"] = round(float(qualities[number]), 4)
            yield Verdict(False, "not_chosen", evidence)


def _nearest(candidates: Candidates, numbers: Numbers, chosen: Numbers) -> tuple[Numbers, Floats]:
    """For each of the numbers the chosen one that is nearest to it, and the similarity."""
    rows = candidates.unit_rows(chosen)  # (m, D)
    found, similarities = [], []
    for block in candidates.blocks(numbers):
        cosines = block @ rows.T  # (b, m)
        best = cosines.argmax(axis=1)  # (b,)
        found.append(chosen[best])
        similarities.append(cosines[np.arange(len(block)), best])
    return np.concatenate(found), np.concatenate(similarities)
