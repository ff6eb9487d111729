"""Hostile and obscene text, as a small trained model sees it.

The model (``alt-profanity-check``, MIT) is a linear classifier over words, trained on English
comments that people had rated. It is no judge: it knows words, not what they do to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.turns import Field, turns

MAX_CHARS = 20_000
"""Looked at of each turn: the model averages over words, and more of them change nothing."""


@dataclass(frozen=True, slots=True)
class ToxicityValidator:
    """Refuses what a small model of English words rates as offensive; needs the extra ``toxicity``.

    ``max_score`` is the highest score to pass, between 0 and 1. Lower ones find more, and refuse
    ordinary rows: the model goes by single words, and rates "Moby Dick" at 1.0 and a film that
    "is dumb fun" above 0.9.
    """

    max_score: float = 0.98
    field: Field = "both"

    def __post_init__(self) -> None:
        if not 0 <= self.max_score <= 1:
            raise ValueError(f"max_score {self.max_score} must be between 0 and 1")
        if find_spec("profanity_check") is None:
            raise ValueError("the model is not installed: pip install 'weave-async[toxicity]'")

    def __call__(self, sample: Sample) -> Verdict:
        looked_at = [
            (index, message.content[:MAX_CHARS])
            for index, message in turns(sample, self.field)
            if message.content.strip()
        ]
        if not looked_at:
            return ACCEPTED
        scores = _scorer()([text for _, text in looked_at])
        score, index = max((float(s), i) for s, (i, _) in zip(scores, looked_at, strict=True))
        if score > self.max_score:
            evidence = {"score": round(score, 3), "max_score": self.max_score, "message": index}
            return Verdict(False, "toxic", evidence)
        return ACCEPTED


@cache
def _scorer() -> Callable[[Sequence[str]], Sequence[float]]:
    """Loads scikit-learn and the model: half a second, once in each process."""
    score: Callable[[Sequence[str]], Sequence[float]]
    score = import_module("profanity_check").predict_prob
    return score
