"""The kinds of stage, each lifting the small function an author writes to samples in,
samples out. A sample that a stage has rejected passes the later ones untouched.

A part that raises costs the sample it raised on: that one is rejected with the reason ``raised``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Literal

import orjson

from weave_async.interfaces import Noise, Selector, Stage, Validator
from weave_async.metrics import StageTimes
from weave_async.noise.lock import MeaningLock
from weave_async.records import Message, NoiseEdit, Rejection, Sample, Verdict
from weave_async.seeding import rng_for
from weave_async.validation.json_answer import unfenced

if TYPE_CHECKING:
    from weave_async.validation.json_schema import AnswerSchema  # loads jsonschema

logger = logging.getLogger(__name__)

PART_RAISED = "raised"
"""The reason of a rejection by a part that raised: not the sample's fault."""
NUM_RAISED_TOLD = 3
NoiseField = Literal["prompt", "completion"]


class Pipeline:
    """The stages of a run, one after the other."""

    def __init__(self, stages: Iterable[Stage], times: StageTimes) -> None:
        self._stages = list(stages)
        self._times = times

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """All samples, in the same order; those that a stage refused carry their rejection."""
        for stage in self._stages:
            with self._times.timed(f"{stage.kind}:{stage.name}", len(samples)):
                samples = await stage.process(samples)
        return samples


@dataclass(slots=True)
class NoiseStage:
    """Varies one side of each conversation, by default the input, so that targets stay clean.

    Protected spans never reach the noise. The clean text is kept beside the noisy one.
    ``probability`` is the share of samples that are varied at all.
    """

    name: str
    noise: Noise
    lock: MeaningLock
    run_seed: int
    field: NoiseField = "prompt"
    probability: float = 1.0
    guard: Guard = dataclass_field(default_factory=lambda: Guard("noise"))
    kind: Literal["noise"] = "noise"

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        return [self.guard.apply(self._vary, sample, self.name) for sample in samples]

    def _vary(self, sample: Sample) -> Sample:
        role = "user" if self.field == "prompt" else "assistant"
        prompt = sample.prompt
        stage = f"noise:{self.name}:{self.field}"
        rng = rng_for(self.run_seed, prompt.prompt_id, prompt.sample_index, stage)
        if rng.random() >= self.probability:
            return sample
        messages, edits = list(sample.messages), list(sample.edits)
        for index, message in enumerate(messages):
            if message.role != role:
                continue
            varied = self.lock.vary(self.noise, message.content, rng)
            varied.text.encode()  # a lone surrogate would break the file: it is this noise's fault
            if varied.changes:
                messages[index] = Message(message.role, varied.text)
                edits.append(NoiseEdit(self.name, index, varied.changes))
        return replace(sample, messages=tuple(messages), edits=tuple(edits))


@dataclass(slots=True)
class JudgingStage:
    """Applies one rule, a validator or a selector, to each sample in output order."""

    kind: Literal["validation", "selection"]
    name: str
    rule: Validator | Selector
    guard: Guard = dataclass_field(init=False)

    def __post_init__(self) -> None:
        self.guard = Guard(self.kind)

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        return [self.guard.apply(self._judge, sample, self.name) for sample in samples]

    def _judge(self, sample: Sample) -> Sample:
        verdict = self.rule(sample)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"it must return a Verdict, and returned {verdict!r}")
        if verdict.passed:
            return sample
        return _rejected(sample, self.kind, self.name, _storable(verdict))


@dataclass(slots=True)
class SchemaStage:
    """Rejects answers that do not fit their schema. Of the others, the JSON alone goes on: a
    trainer never sees the code fence that a model has put around it.
    """

    schema: AnswerSchema
    guard: Guard = dataclass_field(default_factory=lambda: Guard("validation"))
    kind: Literal["validation"] = "validation"
    name: str = "schema"

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        return [self.guard.apply(self._judge, sample, self.name) for sample in samples]

    def _judge(self, sample: Sample) -> Sample:
        verdict = self.schema(sample.completion)
        if not verdict.passed:
            return _rejected(sample, self.kind, self.name, verdict)
        text = unfenced(sample.completion)
        if text == sample.completion:
            return sample
        return replace(sample, messages=(*sample.messages[:-1], Message("assistant", text)))


class Guard:
    """Lets a part that raises cost the one sample it raised on. Says so a few times, not always."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._num_raised = 0

    def apply(self, process: Callable[[Sample], Sample], sample: Sample, name: str) -> Sample:
        """``process(sample)``; a sample that is rejected, by this or an earlier part, as it is."""
        if sample.rejection is not None or sample.failure is not None:
            return sample
        try:
            return process(sample)
        except Exception as error:
            said = f"{type(error).__name__}: {error}".encode(errors="replace").decode()
            self._num_raised += 1
            if self._num_raised <= NUM_RAISED_TOLD:
                logger.warning("%s '%s' raised on %s: %s", self._kind, name, sample.sample_id, said)
            return _rejected(sample, self._kind, name, Verdict(False, PART_RAISED, {"error": said}))


def _storable(verdict: Verdict) -> Verdict:
    """A verdict that any file can hold: evidence that is no JSON is told as text.

    Raises what orjson raises for what cannot be told at all: then it is the rule that failed.
    """
    verdict.reason.encode()
    dumped = orjson.dumps(dict(verdict.evidence), default=str, option=orjson.OPT_NON_STR_KEYS)
    return replace(verdict, evidence=orjson.loads(dumped))


def _rejected(sample: Sample, stage: str, rule: str, verdict: Verdict) -> Sample:
    return replace(sample, rejection=Rejection(stage, rule, verdict.reason, dict(verdict.evidence)))
