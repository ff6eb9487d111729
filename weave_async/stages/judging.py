"""Stages that judge: a rule, a selector, an answer's schema, a model that is asked.

A sample keeps the verdicts that say something: a judge's score, what was blacked out. Where all is
to be explained it keeps each rule's, and is judged by the later rules too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from weave_async.errors import ConsultationError, Unsent, WeaveError
from weave_async.interfaces import ConsultingValidator, Validator
from weave_async.records import ACCEPTED, Consulted, Message, RuleVerdict, Sample, Verdict
from weave_async.stages.guard import PART_RAISED, Guard, has_ended, rejected, storable
from weave_async.stages.interface import ConsultFor
from weave_async.validation.json_answer import unfenced

if TYPE_CHECKING:
    from weave_async.validation.json_schema import AnswerSchema  # loads jsonschema

UNFENCED = "unfenced"
NO_VERDICT = "no_verdict"
"""The reason of a rejection by a judge who could not be asked, or said nothing of use."""


@dataclass(slots=True)
class JudgingStage:
    """Applies one rule to each sample."""

    kind: Literal["validation"]
    name: str
    rule: Validator
    explains_all: bool = False
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.guard = Guard(self.kind, self.name)

    @property
    def is_light(self) -> bool:
        return getattr(self.rule, "is_light", False) is True

    def apply(self, sample: Sample) -> Sequence[Sample]:
        if _is_passed_over(sample, self.explains_all):
            return (sample,)
        try:
            return (judged(sample, self.kind, self.name, self.rule(sample), self.explains_all),)
        except MemoryError:
            raise  # a worker knows what to do about it
        except Exception as error:
            return (self.guard.rejected(sample, error),)


@dataclass(slots=True)
class SchemaStage:
    """Rejects answers that do not fit their schema. Of the others, the JSON alone goes on: a
    trainer never sees the code fence that a model has put around it.
    """

    schema: AnswerSchema
    explains_all: bool = False
    kind: Literal["validation"] = "validation"
    name: str = "schema"
    is_light: bool = True
    guard: Guard = field(default_factory=lambda: Guard("validation", "schema"))

    def apply(self, sample: Sample) -> Sequence[Sample]:
        if _is_passed_over(sample, self.explains_all):
            return (sample,)
        try:
            verdict = self._verdict(sample)
            return (judged(sample, self.kind, self.name, verdict, self.explains_all),)
        except MemoryError:
            raise  # a worker knows what to do about it
        except Exception as error:
            return (self.guard.rejected(sample, error),)

    def _verdict(self, sample: Sample) -> Verdict:
        verdict = self.schema(sample.completion)
        text = unfenced(sample.completion)
        if not verdict.passed or text == sample.completion:
            return verdict
        messages = (*sample.messages[:-1], Message("assistant", text))
        return Verdict(True, UNFENCED, messages=messages)


@dataclass(slots=True)
class AskingJudgingStage:
    """Applies a rule that asks a model. One that has no answer to give rejects the sample."""

    name: str
    rule: ConsultingValidator
    explains_all: bool = False
    kind: Literal["validation"] = "validation"
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.guard = Guard(self.kind, self.name)

    @property
    def consults(self) -> Sequence[Consulted]:
        return self.rule.consults

    async def apply(self, sample: Sample, consult_for: ConsultFor) -> Sequence[Sample]:
        if has_ended(sample):  # whatever is to be explained: nobody pays for it
            return (sample,)
        try:
            verdict = await self.rule.verdict(sample, consult_for(sample, self.name))
        except ConsultationError as error:
            verdict = Verdict(False, NO_VERDICT, {"error": str(error)})
        except (WeaveError, Unsent):
            raise
        except MemoryError:
            raise  # a worker knows what to do about it
        except Exception as error:
            return (self.guard.rejected(sample, error),)
        return (judged(sample, self.kind, self.name, verdict, self.explains_all),)


def judged(
    sample: Sample, kind: str, name: str, verdict: Verdict, explains_all: bool = False
) -> Sample:
    """The sample with a verdict on it. Of several rejections the first one counts."""
    if verdict is ACCEPTED and not explains_all:
        return sample
    verdict = storable(verdict)
    mended = verdict.passed and verdict.messages is not None
    if mended and verdict.messages is not None:
        sample = _with_messages(sample, tuple(verdict.messages))
    if explains_all or mended or (verdict.passed and verdict.evidence):
        earlier = [each for each in sample.verdicts if each.rule == name]  # before noise
        mended = mended or any(each.mended for each in earlier)
        told = RuleVerdict(name, verdict.passed, verdict.reason, verdict.evidence, mended)
        others = [each for each in sample.verdicts if each.rule != name]
        sample = replace(sample, verdicts=(*others, told))
    if verdict.passed or sample.rejection is not None:
        return sample
    return rejected(sample, kind, name, verdict)


def _with_messages(sample: Sample, messages: tuple[Message, ...]) -> Sample:
    """The sample with messages in the place of its own.

    Of the noise in those that are other now, only its name is kept: what it replaced may be just
    what a rule has taken out, and stands nowhere in the text any more.
    """
    if not sample.edits:
        return replace(sample, messages=messages)
    is_as_before = len(messages) == len(sample.messages)
    same = {
        index
        for index, (old, new) in enumerate(zip(sample.messages, messages, strict=False))
        if is_as_before and old == new
    }
    edits = tuple(
        edit if edit.message_index in same else replace(edit, changes=()) for edit in sample.edits
    )
    return replace(sample, messages=messages, edits=edits)


def _is_passed_over(sample: Sample, explains_all: bool) -> bool:
    """A rule has nothing to say of a sample that has ended, unless it is to be explained; and even
    then nothing where there is no answer, or a part has broken down.
    """
    if not has_ended(sample):
        return False
    rejection = sample.rejection
    return not explains_all or rejection is None or rejection.reason == PART_RAISED
