"""Answers that do not fit their schema are asked for again, with what is wrong with them.

Each time is a call of its own: within the limits and the budget, and in the journal, where the
answer that is not kept stands as ``missed`` with what it has used. What comes last is the sample's
answer, good or bad; whether it fits, the stage ``schema`` says once more, and for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from weave_async.asking.asker import Asker
from weave_async.dispatch import Unsent
from weave_async.errors import WeaveError
from weave_async.journal.journal import Journal
from weave_async.metrics import RunMetrics
from weave_async.records import Failure, Message, Request, Sample, SamplingParams

if TYPE_CHECKING:
    from weave_async.validation.json_schema import AnswerSchema, Finding  # loads jsonschema

SCHEMA_MISMATCH = "schema_mismatch"
MAX_SHOWN_CHARS = 20_000
"""Of a bad answer, that the model is shown: it is paid for once more."""
SEED_RANGE = 2**31


class Regenerating:
    """Asks ``asker``, and once more for each answer that does not fit, up to so many times.

    Only what another try could mend is asked for again. An answer that was cut off at max_tokens
    would be again, at the same price; one that was filtered, or that wants a tool called, is no
    attempt at the schema.
    """

    def __init__(
        self,
        asker: Asker,
        schema: AnswerSchema,
        *,
        max_regenerations: int,
        journal: Journal,
        metrics: RunMetrics,
    ) -> None:
        self._asker = asker
        self._schema = schema
        self._max_regenerations = max_regenerations
        self._journal = journal
        self._metrics = metrics

    def __repr__(self) -> str:
        return f"<Regenerating at most {self._max_regenerations} times, {self._asker!r}>"

    async def ask(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """When the asking comes to an end before all of several samples have an answer that fits,
        those before the first without one are returned: they are paid for.
        """
        answered = await self._asker.ask(samples)
        done: list[Sample] = []
        for planned, sample in zip(samples, answered, strict=False):  # perhaps not all of them
            finding = self._finding(sample)
            try:
                done.append(await self._mended(planned, sample, finding) if finding else sample)
            except (Unsent, WeaveError):
                if not done:
                    raise
                break  # whoever asks next will meet the same
        return done

    def _finding(self, sample: Sample) -> Finding | None:
        """What is wrong with an answer that another try could mend."""
        response = sample.response
        if response is None or response.finish_reason not in ("stop", "unknown"):
            return None
        if response.tool_calls:
            return None
        return self._schema.finding(response.text)

    async def _mended(self, planned: Sample, sample: Sample, finding: Finding) -> Sample:
        """The sample with the first answer that fits, or else the last one."""
        for number in range(1, self._max_regenerations + 1):
            self._discard(sample, finding)
            asked_again = replace(planned, request=_asked_again(planned, sample, finding, number))
            [sample] = await self._asker.ask([asked_again])
            sample = _as_planned(planned, sample, number)
            next_finding = self._finding(sample)
            if next_finding is None:
                break
            finding = next_finding
        return sample

    def _discard(self, sample: Sample, finding: Finding) -> None:
        assert sample.response is not None
        said = "; ".join(map(str, finding.problems))
        if finding.reason != SCHEMA_MISMATCH:
            said = f"{finding.reason}: {said}"
        failure = Failure(SCHEMA_MISMATCH, said, attempts=1)
        self._journal.discarded(sample, failure)
        self._metrics.count_tokens(sample.endpoint, sample.response.usage)
        self._metrics.retries[SCHEMA_MISMATCH] += 1


def _asked_again(planned: Sample, sample: Sample, finding: Finding, number: int) -> Request:
    """The conversation with the bad answer and what is wrong with it; only the last bad one, or
    each time would cost more than the one before.
    """
    assert sample.response is not None
    shown = sample.response.text[:MAX_SHOWN_CHARS]
    told = "\n".join(f"- {problem}" for problem in finding.problems)
    correction = (
        f"That answer does not fit the required JSON schema:\n{told}\n"
        "Answer again with the corrected JSON alone."
    )
    return replace(
        planned.request,
        messages=(
            *planned.request.messages,
            Message("assistant", shown),
            Message("user", correction),
        ),
        params=_reseeded(planned.request.params, number),
        attempt_id=_before(planned, sample),
        num_choices=1,
    )


def _before(planned: Sample, sample: Sample) -> str:
    """The name of the call that brought the bad answer. One that was shared is another request's:
    its number is taken over, and no sending of this request has the number 0.
    """
    request_id, _, number = sample.request.attempt_id.rpartition("-")
    own_id = planned.request.request_id
    return f"{own_id}-{number}" if request_id == own_id else f"{own_id}-{number}.0"


def _reseeded(params: SamplingParams, number: int) -> SamplingParams:
    """With the same seed, a server that keeps its word might only repeat itself."""
    if params.seed is None:
        return params
    return replace(params, seed=(params.seed + number) % SEED_RANGE)


def _as_planned(planned: Sample, sample: Sample, number: int) -> Sample:
    """The answer under the question that was planned: that is what a trainer sees, and what a
    replay makes of the journal.
    """
    request = replace(
        planned.request, model=sample.request.model, attempt_id=sample.request.attempt_id
    )
    if sample.response is None:
        assert sample.failure is not None
        return planned.answered(sample.failure, endpoint=sample.endpoint, sent=request)
    response = replace(sample.response, regenerations=number)
    return planned.answered(response, endpoint=sample.endpoint, sent=request)
