"""The three kinds of stage, each lifting the small function an author writes to samples in,
samples out. A sample that a stage has rejected passes the later ones untouched.

A part that raises costs the sample it raised on: that one is rejected with the reason ``error``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from weave_async.interfaces import Noise, Selector, Stage, Validator
from weave_async.noise.spans import ProtectedSpans
from weave_async.records import Message, NoiseEdit, Rejection, Sample, Verdict
from weave_async.seeding import rng_for

logger = logging.getLogger(__name__)

NoiseField = Literal["prompt", "completion"]


class Pipeline:
    """The stages of a run, one after the other."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        self._stages = list(stages)

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """All samples, in the same order; those that a stage refused carry their rejection."""
        for stage in self._stages:
            samples = await stage.process(samples)
        return samples


@dataclass(frozen=True, slots=True)
class NoiseStage:
    """Varies one side of each conversation, by default the input, so that targets stay clean.

    Protected spans never reach the noise. The clean text is kept beside the noisy one.
    """

    name: str
    noise: Noise
    spans: ProtectedSpans
    run_seed: int
    field: NoiseField = "prompt"

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        return [_guarded("noise", self.name, self._vary, sample) for sample in samples]

    def _vary(self, sample: Sample) -> Sample:
        role = "user" if self.field == "prompt" else "assistant"
        prompt = sample.prompt
        stage = f"noise:{self.name}:{self.field}"
        rng = rng_for(self.run_seed, prompt.prompt_id, prompt.sample_index, stage)
        messages, edits = list(sample.messages), list(sample.edits)
        for index, message in enumerate(messages):
            if message.role != role:
                continue
            noisy = self.spans.change_between(message.content, lambda free: self.noise(free, rng))
            if noisy != message.content:
                messages[index] = Message(message.role, noisy)
                edits.append(NoiseEdit(self.name, index, message.content))
        return replace(sample, messages=tuple(messages), edits=tuple(edits))


@dataclass(frozen=True, slots=True)
class JudgingStage:
    """Applies one rule, a validator or a selector, to each sample in output order."""

    kind: Literal["validation", "selection"]
    name: str
    rule: Validator | Selector

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        return [_guarded(self.kind, self.name, self._judge, sample) for sample in samples]

    def _judge(self, sample: Sample) -> Sample:
        verdict = self.rule(sample)
        return sample if verdict.passed else _rejected(sample, self.kind, self.name, verdict)


def _guarded(stage: str, name: str, process: Callable[[Sample], Sample], sample: Sample) -> Sample:
    if sample.rejection is not None or sample.failure is not None:
        return sample
    try:
        return process(sample)
    except Exception as error:
        logger.warning("%s '%s' raised on %s: %r", stage, name, sample.sample_id, error)
        verdict = Verdict(False, "error", {"error": f"{type(error).__name__}: {error}"})
        return _rejected(sample, stage, name, verdict)


def _rejected(sample: Sample, stage: str, rule: str, verdict: Verdict) -> Sample:
    return replace(sample, rejection=Rejection(stage, rule, verdict.reason, dict(verdict.evidence)))
