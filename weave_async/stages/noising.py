"""Stages that vary: one side of each conversation, by default the input, so that the model learns
clean answers to messy questions.

Each of a stage's copies is a sample of its own, seeded on its own. A text that could not be varied
stays as it is; why, the sample's verdicts say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from math import prod
from random import Random
from typing import Any, Literal, get_args

from weave_async.errors import ConsultationError, Unsent, WeaveError
from weave_async.interfaces import ConsultingNoise
from weave_async.noise.lock import MeaningLock
from weave_async.records import Consulted, Message, NoiseEdit, RuleVerdict, Sample
from weave_async.seeding import rng_for, seed_for
from weave_async.stages.guard import Guard, has_ended
from weave_async.stages.interface import ConsultFor

NoiseField = Literal["prompt", "completion", "both"]
FIELDS: tuple[str, ...] = get_args(NoiseField)
MAX_COPIES = 100
UNCHANGED, SAME_COPY, NO_REWRITING = "unchanged", "same_copy", "no_rewriting"
"""Why a sample that was to be varied is not: the noise found nothing to do, or broke the meaning
each time; it would be the same as another copy; no model had an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOptions:
    """Options of every noise, whatever its own are.

    ``field`` is what is varied: the user's turns, the completion, or both. ``probability`` is the
    share of samples that are varied at all. Of each of those ``copies`` are made, and with
    ``keep_clean`` the clean sample is kept before them. ``protect`` lists terms,
    ``protect_patterns`` patterns, and ``protect_fields`` columns or attributes, whose text is not
    touched. ``min_similarity`` is how alike a text must stay, where the noise could drift from its
    meaning; what is usual for the gate in use, if absent.
    """

    field: NoiseField = "prompt"
    probability: float = 1.0
    copies: int = 1
    keep_clean: bool = False
    protect: list[str] = dataclass_field(default_factory=list)
    protect_patterns: list[str] = dataclass_field(default_factory=list)
    protect_fields: list[str] = dataclass_field(default_factory=list)
    min_similarity: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability is 0 to 1, not {self.probability!r}")
        if not 1 <= self.copies <= MAX_COPIES:
            raise ValueError(f"copies are 1 to {MAX_COPIES}, not {self.copies!r}")
        if self.min_similarity is not None and not 0 <= self.min_similarity <= 1:
            raise ValueError(f"min_similarity is 0 to 1, not {self.min_similarity!r}")

    @property
    def num_variants(self) -> int:
        """Samples that become of one, at most."""
        return self.copies + self.keep_clean


@dataclass(slots=True)
class _Noising:
    """What all stages that vary share: whether, which texts, how often, and how that is told.

    ``stride`` is how many samples the stages before make of one answer: copies are numbered so
    that no two have the same name.
    """

    name: str
    noise: Any
    lock: MeaningLock
    run_seed: int
    options: NoiseOptions = dataclass_field(default_factory=NoiseOptions)
    stride: int = 1
    kind: Literal["noise"] = "noise"
    guard: Guard = dataclass_field(init=False)

    def __post_init__(self) -> None:
        self.guard = Guard(self.kind, self.name)

    def _stage(self, number: int) -> str:
        base = f"noise:{self.name}:{self.options.field}"
        return f"{base}:{number}" if number else base

    def _rng(self, sample: Sample, number: int) -> Random:
        """Of one copy: seeded by the answer that it is a copy of, and by all the noise before."""
        prompt, stage = sample.prompt, self._stage(number)
        if sample.copy:
            stage = f"{stage}~{sample.copy}"
        return rng_for(self.run_seed, prompt.prompt_id, prompt.sample_index, stage)

    def _sample_seed(self, sample: Sample, number: int) -> int:
        """The same for all texts of one copy, and for all stages of this noise."""
        prompt, stage = sample.prompt, f"noise:{self.name}~{sample.copy}:{number}"
        return seed_for(self.run_seed, prompt.prompt_id, prompt.sample_index, stage)

    def _is_spared(self, rng: Random) -> bool:
        return rng.random() >= self.options.probability

    def _indices(self, sample: Sample) -> list[int]:
        """The messages to vary."""
        wanted = self.options.field
        last = len(sample.messages) - 1
        return [
            index
            for index, message in enumerate(sample.messages)
            if (message.role == "user" and wanted != "completion")
            or (message.role == "assistant" and index == last and wanted != "prompt")
        ]

    def _terms(self, sample: Sample) -> list[str]:
        """What of the sample's own is protected besides."""
        terms = []
        for name in self.options.protect_fields:
            try:
                terms.append(str(sample.prompt.value_of(name)))
            except KeyError:
                continue  # rows may have different columns; that none has it was refused before
        return terms

    def _variants(self, sample: Sample, noisy: Sequence[Sample]) -> list[Sample]:
        """The clean sample where it is kept, and the copies; those that are no other are not made.
        A first copy that is none takes the place of the clean sample.
        """
        kept = [sample] if self.options.keep_clean else []
        for variant in noisy:
            if all(variant.messages != each.messages for each in kept):
                kept.append(variant)
            elif variant.edits != sample.edits:
                kept[0] = self._told(kept[0], SAME_COPY, {})
            else:  # why it is missing, the first one says
                kept[0] = replace(kept[0], verdicts=(*kept[0].verdicts, variant.verdicts[-1]))
        return [
            replace(variant, copy=sample.copy + number * self.stride) if number else variant
            for number, variant in enumerate(kept)
        ]

    def _told(self, sample: Sample, reason: str, evidence: dict[str, Any]) -> Sample:
        verdict = RuleVerdict(f"noise:{self.name}", True, reason, evidence)
        return replace(sample, verdicts=(*sample.verdicts, verdict))


def most_variants(stages: Iterable[object]) -> int:
    """Samples that become of one answer, at most, where all of these stages vary it."""
    return prod(stage.options.num_variants for stage in stages if isinstance(stage, _Noising))


class NoiseStage(_Noising):
    """Varies samples with a noise, which may be several in turn."""

    __slots__ = ()

    @property
    def is_light(self) -> bool:
        return getattr(self.noise, "is_light", False) is True

    def apply(self, sample: Sample) -> Sequence[Sample]:
        if has_ended(sample):
            return (sample,)
        rng = self._rng(sample, 0)
        if self._is_spared(rng):
            return (sample,)
        try:
            rngs = [rng, *(self._rng(sample, n) for n in range(1, self.options.copies))]
            noisy = [self._noisy(sample, each, number) for number, each in enumerate(rngs)]
            return self._variants(sample, noisy)
        except MemoryError:
            raise  # a worker knows what to do about it
        except Exception as error:
            return (self.guard.rejected(sample, error),)

    def _noisy(self, sample: Sample, rng: Random, number: int) -> Sample:
        messages, edits, broken = list(sample.messages), list(sample.edits), list[str]()
        terms, seed = self._terms(sample), self._sample_seed(sample, number)
        chosen = getattr(self.noise, "chosen", None)
        passes = [(self.name, self.noise)] if chosen is None else chosen(rng)
        for name, noise in passes:
            for index in self._indices(sample):
                text = messages[index].content
                varied = self.lock.vary(noise, text, rng, seed, terms)
                broken += varied.broken
                if varied.changes:
                    varied.text.encode()  # a lone surrogate would break the file
                    messages[index] = Message(messages[index].role, varied.text)
                    edits.append(NoiseEdit(name, index, varied.changes))
        if len(edits) == len(sample.edits):
            return self._told(sample, UNCHANGED, {"broken": broken} if broken else {})
        return replace(sample, messages=tuple(messages), edits=tuple(edits))


class AskingNoiseStage(_Noising):
    """Has samples rewritten by a model. What the model makes of them goes through the same lock."""

    __slots__ = ()

    @property
    def consults(self) -> Sequence[Consulted]:
        noise: ConsultingNoise = self.noise
        return noise.consults

    async def apply(self, sample: Sample, consult_for: ConsultFor) -> Sequence[Sample]:
        if has_ended(sample):
            return (sample,)
        rng = self._rng(sample, 0)
        if self._is_spared(rng):
            return (sample,)
        try:
            rngs = [rng, *(self._rng(sample, n) for n in range(1, self.options.copies))]
            noisy = [
                await self._noisy(sample, each, consult_for, number)
                for number, each in enumerate(rngs)
            ]
            return self._variants(sample, noisy)
        except (WeaveError, Unsent):
            raise
        except Exception as error:
            return (self.guard.rejected(sample, error),)

    async def _noisy(
        self, sample: Sample, rng: Random, consult_for: ConsultFor, number: int
    ) -> Sample:
        noise: ConsultingNoise = self.noise
        messages, edits, broken = list(sample.messages), list(sample.edits), list[str]()
        consult = consult_for(sample, f"{self.name}:{number}" if number else self.name)
        for index in self._indices(sample):
            text = messages[index].content
            try:
                rewritten = await noise.rewritten(text, rng, consult)
            except ConsultationError as error:
                return self._told(sample, NO_REWRITING, {"error": str(error)})
            except ValueError as error:  # what it said is no rewriting
                return self._told(sample, NO_REWRITING, {"error": str(error)})
            varied = await asyncio.to_thread(  # an embedding takes milliseconds
                self.lock.compared, text, rewritten, noise, self._terms(sample)
            )
            broken += varied.broken
            if varied.changes:
                varied.text.encode()
                messages[index] = Message(messages[index].role, varied.text)
                edits.append(NoiseEdit(self.name, index, varied.changes))
        if len(edits) == len(sample.edits):
            return self._told(sample, UNCHANGED, {"broken": broken} if broken else {})
        return replace(sample, messages=tuple(messages), edits=tuple(edits))
