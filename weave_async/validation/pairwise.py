"""Is the answer as good as another one? Asked twice, with positions swapped: judges favour one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from weave_async.flow.together import together
from weave_async.interfaces import Consult
from weave_async.records import Consulted, Message, Sample, SamplingParams, Verdict
from weave_async.validation.judging import (
    RULES,
    NoVerdictError,
    conversation_in,
    fence_of,
    read_rubric,
    reason_in,
    verdict_of,
)

SYSTEM = "You compare two answers of assistants, strictly and evenly. " + RULES
RUBRIC = (
    "The better answer does what the user asks, is correct, leaves out nothing that matters, and "
    "says nothing that does not."
)
QUESTION = """\
What makes an answer the better one:
{rubric}

{conversation}

{first}

{second}

Which answer is better by this alone? Neither their order nor their length is a reason. First give \
your reason, in one or two sentences, then the better one, or tie if they are equally good. Reply \
with one JSON object and nothing else:
{{"reason": "...", "better": "A", "B" or "tie"}}"""
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "better": {"type": "string", "enum": ["A", "B", "tie"]},
    },
    "required": ["reason", "better"],
    "additionalProperties": False,
}
REPEATS_TEMPERATURE = 0.7
MAX_REPEATS = 20

Winner = Literal["answer", "reference", "tie"]


@dataclass(frozen=True, slots=True)
class PairwiseValidator:
    """A model compares the answer with another one, and must not find it worse.

    ``against`` is the column or attribute that holds the other one. Each comparison is asked twice,
    with positions swapped, and counts only if both verdicts agree; of ``repeats`` comparisons, the
    majority of those that count decides. ``tie`` is whether being equally good is enough.
    ``rubric`` is a text file that says what makes an answer the better one, in place of a general
    sentence. ``endpoint``, ``model``, ``temperature`` and ``max_chars`` are as in ``judge``.
    """

    against: str
    rubric: str | None = None
    endpoint: str | None = None
    model: str | None = None
    tie: bool = True
    repeats: int = 1
    temperature: float | None = None
    max_tokens: int = 400
    max_chars: int = 12_000
    consults: Sequence[Consulted] = field(init=False, repr=False)
    columns_read: Sequence[str] = field(init=False, repr=False)
    _rubric: str = field(init=False, repr=False)

    paths: ClassVar[tuple[str, ...]] = ("rubric",)

    def __post_init__(self) -> None:
        if not self.against:
            raise ValueError("against names the column or attribute of the other answer")
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise ValueError(f"repeats must be 1 to {MAX_REPEATS}, not {self.repeats}")
        if self.max_tokens < 1 or self.max_chars < 1:
            raise ValueError("max_tokens and max_chars must be at least 1")
        rubric = RUBRIC if self.rubric is None else read_rubric(self.rubric)
        object.__setattr__(self, "consults", (Consulted(self.endpoint, self.model),))
        object.__setattr__(self, "columns_read", (self.against,))
        object.__setattr__(self, "_rubric", rubric)

    async def verdict(self, sample: Sample, consult: Consult) -> Verdict:
        value = sample.prompt.value_of(self.against)
        other = "" if value is None else str(value).strip()
        if not other:
            return Verdict(False, "no_reference", {"against": self.against})
        try:
            compared = await together(
                self._winner(sample, other, consult, draw=draw, is_swapped=is_swapped)
                for draw in range(self.repeats)
                for is_swapped in (False, True)
            )
        except NoVerdictError as error:
            return Verdict(False, "no_verdict", {"error": str(error)})
        return self._judged(compared)

    def _judged(self, compared: Sequence[tuple[Winner, str]]) -> Verdict:
        """``compared``: who won and why, as asked and swapped, comparison by comparison."""
        pairs = list(zip(compared[::2], compared[1::2], strict=True))
        counted = Counter(ours for (ours, _), (swapped, _) in pairs if ours == swapped)
        evidence = {
            "won": counted["answer"],
            "lost": counted["reference"],
            "tied": counted["tie"],
            "inconsistent": len(pairs) - counted.total(),
            "reasons": [reason for _, reason in compared],
        }
        if not counted:
            return Verdict(False, "positions_disagree", evidence)
        if counted["reference"] > counted["answer"]:
            return Verdict(False, "worse_than_reference", evidence)
        if counted["answer"] == counted["reference"] and not self.tie:
            return Verdict(False, "tie", evidence)
        return Verdict(True, evidence=evidence)

    async def _winner(
        self, sample: Sample, other: str, consult: Consult, *, draw: int, is_swapped: bool
    ) -> tuple[Winner, str]:
        names: dict[str, Winner] = {"A": "answer", "B": "reference", "tie": "tie"}
        if is_swapped:
            names.update(A="reference", B="answer")
        texts = [sample.completion, other]
        first, second = reversed(texts) if is_swapped else texts
        temperature = self.temperature
        if temperature is None:
            temperature = 0.0 if self.repeats == 1 else REPEATS_TEMPERATURE
        return await verdict_of(
            consult,
            self.consults[0],
            self._messages(sample, first, second),
            params=SamplingParams(max_tokens=self.max_tokens, temperature=temperature),
            draw=draw,
            schema=SCHEMA,
            read=lambda found: (names[found["better"]], reason_in(found)),
        )

    def _messages(self, sample: Sample, first: str, second: str) -> list[Message]:
        fence = fence_of(sample)
        question = QUESTION.format(
            rubric=self._rubric,
            conversation=conversation_in(sample, fence, most_chars=self.max_chars),
            first=fence.around("answer A", first, most_chars=self.max_chars),
            second=fence.around("answer B", second, most_chars=self.max_chars),
        )
        return [
            Message("system", SYSTEM.format(mark=fence.mark)),
            Message("user", question),
        ]
