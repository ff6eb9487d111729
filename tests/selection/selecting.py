"""A selector used as the stage around it does: asked, and told what stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weave_async.interfaces import FinalSelector, Selector
from weave_async.records import Sample, Verdict


def selected(selector: Selector, sample: Sample) -> Verdict:
    """The verdict on one sample, which is kept if it has passed."""
    return selected_all(selector, [sample])[0]


def selected_all(
    selector: Selector, samples: Sequence[Sample], batch_rows: int = 128
) -> list[Verdict]:
    """The verdicts on samples that come in batches of that size."""
    verdicts = []
    for batch in batches(samples, batch_rows):
        for sample, features in zip(batch, selector.features_of(batch), strict=True):
            verdict = selector.verdict(sample, features)
            if verdict.passed:
                selector.keep(sample, features)
            verdicts.append(verdict)
    return verdicts


def decided(
    selector: FinalSelector, samples: Sequence[Sample], batch_rows: int = 128
) -> list[Verdict]:
    """What a final selector makes of samples that come in batches of that size."""
    for batch in batches(samples, batch_rows):
        for sample, features in zip(batch, selector.features_of(batch), strict=True):
            selector.offer(sample, features)
    return list(selector.verdicts())


def batches(samples: Sequence[Sample], batch_rows: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), batch_rows):
        yield samples[start : start + batch_rows]
