"""A selector used as the stage around it does: asked, and told what stays."""

from __future__ import annotations

from weave_async.interfaces import Selector
from weave_async.records import Sample, Verdict


def selected(selector: Selector, sample: Sample) -> Verdict:
    """The verdict on one sample, which is kept if it has passed."""
    [features] = selector.features_of([sample])
    verdict = selector.verdict(sample, features)
    if verdict.passed:
        selector.keep(sample, features)
    return verdict
