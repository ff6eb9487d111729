"""Models as judges: a score by a rubric, of one judge or of several.

What a judge is shown was written by a model, or by whoever wrote the prompts: it may try to steer
the verdict. It stands between fences, the verdict is a number that is read by a schema, and several
judges have to agree. That mitigates; it is no proof, and a sample that must be right needs a rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, ClassVar

from pydantic import ConfigDict

from weave_async.flow.together import together
from weave_async.interfaces import Consult
from weave_async.records import Consulted, Message, Sample, SamplingParams, Verdict
from weave_async.validation.judging import (
    RULES,
    NoVerdictError,
    conversation_in,
    fence_of,
    label_of,
    read_rubric,
    reason_in,
    verdict_of,
)

SYSTEM = "You grade answers of an assistant by a rubric, strictly and evenly. " + RULES
QUESTION = """\
Rubric:
{rubric}

{conversation}

{answer}

Grade the answer above by the rubric alone, from {low} (worst) to {high} (best). A long answer is \
not a better one. First give your reason, in one or two sentences, then the score. Reply with one \
JSON object and nothing else:
{{"reason": "...", "score": {low} to {high}}}"""
REPEATS_TEMPERATURE = 0.7
MAX_REPEATS, MAX_JUDGES, MAX_SPAN = 20, 9, 100


@dataclass(frozen=True, slots=True)
class OneJudge:
    """One of several judges: an ``endpoint`` as in ``generate.mix``, and a ``model`` there."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    endpoint: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """What to make of a judge's scores: ``score * scale + shift``, kept on the scale."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class JudgeValidator:
    """A model grades the answer by a rubric; the mean score must be at least ``min``.

    ``rubric`` is a text file beside the recipe: what makes an answer good, and what a score means.
    ``endpoint`` and ``model`` say who judges, as in ``generate.mix``; the first of the mix if
    absent, and a model judges its own answers kindly. ``judges`` are several of them in place of
    one. ``min`` is the lowest mean that passes, on ``scale``; the middle of it if absent. Each
    judge is asked ``repeats`` times, with other seeds, at ``temperature`` (0 for one time, 0.7 for
    more). ``agreement``, from 0 to 1, is how much the judges must agree: 1 less the distance of the
    highest mean from the lowest, as a share of the scale. ``calibrate`` maps a judge's endpoint or
    model to ``{scale, shift}``, for one that is known to be too kind or too strict. ``max_chars``
    is how much a judge is shown of the conversation, and of the answer.
    """

    rubric: str
    endpoint: str | None = None
    model: str | None = None
    min: float | None = None
    scale: tuple[int, int] = (1, 5)
    repeats: int = 1
    judges: list[OneJudge] = field(default_factory=list)
    agreement: float | None = None
    calibrate: dict[str, Calibration] = field(default_factory=dict)
    temperature: float | None = None
    max_tokens: int = 400
    max_chars: int = 12_000
    consults: Sequence[Consulted] = field(init=False, repr=False)
    _rubric: str = field(init=False, repr=False)
    _schema: Mapping[str, Any] = field(init=False, repr=False)

    paths: ClassVar[tuple[str, ...]] = ("rubric",)

    def __post_init__(self) -> None:
        low, high = self.scale
        if not low < high <= low + MAX_SPAN:
            raise ValueError(f"scale is [lowest, highest], not {[low, high]}")
        if self.min is not None and not low <= self.min <= high:
            raise ValueError(f"min {self.min:g} is not on the scale from {low} to {high}")
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise ValueError(f"repeats must be 1 to {MAX_REPEATS}, not {self.repeats}")
        if self.agreement is not None and not 0 <= self.agreement <= 1:
            raise ValueError(f"agreement must be between 0 and 1, not {self.agreement:g}")
        if self.max_tokens < 1 or self.max_chars < 1:
            raise ValueError("max_tokens and max_chars must be at least 1")
        object.__setattr__(self, "consults", self._named_judges())
        object.__setattr__(self, "_rubric", read_rubric(self.rubric))
        object.__setattr__(self, "_schema", _schema_of(low, high))

    def _named_judges(self) -> tuple[Consulted, ...]:
        if self.judges and (self.endpoint, self.model) != (None, None):
            raise ValueError("name the judge as endpoint and model, or several as judges: not both")
        if len(self.judges) > MAX_JUDGES:
            raise ValueError(f"{len(self.judges)} judges are more than {MAX_JUDGES}")
        named = self.judges or [OneJudge(self.endpoint, self.model)]
        consults = tuple(Consulted(each.endpoint, each.model) for each in named)
        if len(set(consults)) < len(consults):
            raise ValueError("judges names one of them twice: to ask it more often, use repeats")
        known = {name for each in named for name in (each.endpoint, each.model) if name}
        for name in self.calibrate:
            if name not in known:
                raise ValueError(
                    f"calibrate names '{name}', which is no judge's endpoint or model: "
                    f"{', '.join(sorted(known)) or 'name the judge first'}"
                )
        return consults

    async def verdict(self, sample: Sample, consult: Consult) -> Verdict:
        messages = self._messages(sample)
        try:
            given = await together(
                self._score(whom, draw, messages, consult)
                for whom in self.consults
                for draw in range(self.repeats)
            )
        except NoVerdictError as error:
            return Verdict(False, "no_verdict", {"error": str(error)})
        return self._judged(given)

    def _judged(self, given: Sequence[tuple[float, str]]) -> Verdict:
        """``given``: score and reason, judge by judge, draw by draw."""
        low, high = self.scale
        floor = (low + high) / 2 if self.min is None else self.min
        by_judge = {
            label_of(whom): given[number * self.repeats : (number + 1) * self.repeats]
            for number, whom in enumerate(self.consults)
        }
        means = [fmean(score for score, _ in scores) for scores in by_judge.values()]
        score = fmean(means)
        evidence: dict[str, Any] = {
            "score": round(score, 3),
            "min": floor,
            "scores": {name: [score for score, _ in given] for name, given in by_judge.items()},
            "reasons": {name: [reason for _, reason in given] for name, given in by_judge.items()},
        }
        if len(means) > 1:
            agreement = 1 - (max(means) - min(means)) / (high - low)
            evidence["agreement"] = round(agreement, 3)
            if self.agreement is not None and agreement < self.agreement:
                return Verdict(False, "judges_disagree", evidence)
        if score < floor:
            return Verdict(False, "low_score", evidence)
        return Verdict(True, evidence=evidence)

    def _messages(self, sample: Sample) -> list[Message]:
        fence, (low, high) = fence_of(sample), self.scale
        question = QUESTION.format(
            rubric=self._rubric,
            conversation=conversation_in(sample, fence, most_chars=self.max_chars),
            answer=fence.around("answer", sample.completion, most_chars=self.max_chars),
            low=low,
            high=high,
        )
        return [
            Message("system", SYSTEM.format(mark=fence.mark)),
            Message("user", question),
        ]

    async def _score(
        self, whom: Consulted, draw: int, messages: Sequence[Message], consult: Consult
    ) -> tuple[float, str]:
        temperature = self.temperature
        if temperature is None:
            temperature = 0.0 if self.repeats == 1 else REPEATS_TEMPERATURE
        score, reason = await verdict_of(
            consult,
            whom,
            messages,
            params=SamplingParams(max_tokens=self.max_tokens, temperature=temperature),
            draw=draw,
            schema=self._schema,
            read=self._read,
        )
        calibration = self.calibrate.get(whom.model or "") or self.calibrate.get(
            whom.endpoint or ""
        )
        if calibration is not None:
            low, high = self.scale
            score = min(high, max(low, score * calibration.scale + calibration.shift))
        return score, reason

    def _read(self, found: Mapping[str, Any]) -> tuple[float, str]:
        low, high = self.scale
        given = found["score"]
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            raise TypeError(f"the score is {given!r}")
        score = float(given)
        if not low <= score <= high:
            raise ValueError(f"the score {score:g} is not on the scale from {low} to {high}")
        return score, reason_in(found)


def _schema_of(low: int, high: int) -> dict[str, Any]:
    """A list of scores is enforced by servers that know no bounds of numbers."""
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string"},
            "score": {"type": "integer", "enum": list(range(low, high + 1))},
        },
        "required": ["reason", "score"],
        "additionalProperties": False,
    }
