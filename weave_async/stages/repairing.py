"""Rejected answers go back to the model, with the reason.

The model sees the conversation as it was asked, its answer, and what is wrong with it. Whatever it
says then is judged by all rules anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from weave_async.errors import ConsultationError
from weave_async.records import Consulted, Message, RuleVerdict, Sample
from weave_async.stages.interface import ConsultFor

STAGE = "repair"
MAX_SHOWN_CHARS = 20_000
"""Of a rejected answer, that the model is shown: it is paid for once more."""
MAX_EVIDENCE_CHARS = 2_000
NOT_THE_ANSWERS_FAULT = frozenset(
    {"raised", "timed_out", "crashed", "out_of_memory", "too_large_result", "no_verdict"}
    | {"content_filter", "error", "no_such_field"}
)
"""Reasons that another answer would not mend."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Asks for another answer, at most ``max_repairs`` times.

    ``whom`` is whom to ask by the name of the endpoint that gave the first answer.
    """

    max_repairs: int
    whom: Mapping[str, Consulted]

    @property
    def consults(self) -> Sequence[Consulted]:
        """Whom it may ask."""
        return list(self.whom.values())

    def is_worthwhile(self, sample: Sample) -> bool:
        rejection = sample.rejection
        return (
            rejection is not None
            and rejection.stage == "validation"
            and rejection.reason not in NOT_THE_ANSWERS_FAULT
            and sample.response is not None
            and sample.repairs < self.max_repairs
            and sample.endpoint in self.whom
        )

    async def repaired(self, sample: Sample, consult_for: ConsultFor) -> Sample:
        """The sample with another answer, to be judged anew; as it is if there is none."""
        rejection, response = sample.rejection, sample.response
        assert rejection is not None
        assert response is not None
        try:
            answer = await consult_for(sample, STAGE)(
                self.whom[sample.endpoint],
                [
                    *sample.request.messages,
                    Message("assistant", response.text[:MAX_SHOWN_CHARS]),
                    Message("user", _told(rejection.rule, rejection.reason, rejection.evidence)),
                ],
                params=sample.request.params,
                draw=sample.repairs + 1,
                schema=sample.request.schema,
            )
        except ConsultationError:
            return sample
        why = f"{STAGE}:{rejection.rule}"
        before = RuleVerdict(why, False, rejection.reason, rejection.evidence)
        return replace(
            sample,
            messages=(*sample.messages[:-1], Message("assistant", answer.text.strip())),
            response=answer,
            rejection=None,
            verdicts=(*filter(_outlives_the_answer, sample.verdicts), before),
            repairs=sample.repairs + 1,
        )


def _outlives_the_answer(verdict: RuleVerdict) -> bool:
    """What noise and repairs were told, and what was mended; all else is judged anew."""
    return verdict.mended or verdict.rule.startswith(("noise:", f"{STAGE}:"))


def _told(rule: str, reason: str, evidence: Any) -> str:
    shown = orjson.dumps(evidence, default=str).decode()[:MAX_EVIDENCE_CHARS]
    return (
        f"That answer was rejected by the rule {rule!r}: {reason.replace('_', ' ')}.\n"
        f"Details: {shown}\n"
        "Answer the request again so that this no longer applies. Write the answer alone, and do "
        "not mention this correction."
    )
