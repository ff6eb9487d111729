"""Answers that do not fit their schema are asked for again, with what is wrong with them.

Each time is a call of its own: within the limits and the budget, and in the journal, where the
answer that is not kept stands as ``missed`` with what it has used. What comes last is the sample's
answer, good or bad; whether it fits, the stage ``schema`` says once more, and for good.

Between two tries, a sample is left to be asked for again: answers that came together with a bad one
go to the journal at once, and several bad ones are mended at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from weave_async.asking.asker import Answered, Asker
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.records import Failure, Message, Request, Sample, SamplingParams

if TYPE_CHECKING:
    from weave_async.validation.json_schema import AnswerSchema, Finding  # loads jsonschema

SCHEMA_MISMATCH = "schema_mismatch"
MAX_SHOWN_CHARS = 20_000
"""Of a bad answer, that the model is shown: it is paid for once more."""
SEED_RANGE = 2**31


class _Bad(NamedTuple):
    """An answer that is not kept, what is wrong with it, and the number of the try that follows."""

    sample: Sample
    finding: Finding
    number: int


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
        self._bad: dict[int, _Bad] = {}  # by ordinal

    def __repr__(self) -> str:
        return f"<Regenerating at most {self._max_regenerations} times, {self._asker!r}>"

    async def ask(self, samples: Sequence[Sample]) -> Answered:
        """A sample whose last answer was bad comes back alone, as it was left."""
        first = samples[0]
        if (bad := self._bad.pop(first.ordinal, None)) is not None:
            return await self._ask_again(first, bad)
        answered, left = await self._asker.ask(samples)
        planned = {sample.ordinal: sample for sample in samples}
        ended = [each for each in answered if self._is_kept(planned[each.ordinal], each, 0)]
        again = [[planned[each.ordinal]] for each in answered if each.ordinal in self._bad]
        return Answered(ended, [*again, *left])

    async def _ask_again(self, planned: Sample, bad: _Bad) -> Answered:
        request = _asked_again(planned, bad)
        [answered], _ = await self._asker.ask([replace(planned, request=request)])
        sample = _as_planned(planned, answered, bad.number)
        if self._is_kept(planned, sample, bad.number):
            return Answered([sample])
        return Answered([], [[planned]])

    def _is_kept(self, planned: Sample, sample: Sample, number: int) -> bool:
        """Whether it ends with this answer, after so many other tries; else it is to come again."""
        finding = self._finding(sample)
        if finding is None or number >= self._max_regenerations:
            return True
        self._discard(sample, finding)
        self._bad[planned.ordinal] = _Bad(sample, finding, number + 1)
        return False

    def _finding(self, sample: Sample) -> Finding | None:
        """What is wrong with an answer that another try could mend."""
        response = sample.response
        if response is None or response.finish_reason not in ("stop", "unknown"):
            return None
        if response.tool_calls:
            return None
        return self._schema.finding(response.text)

    def _discard(self, sample: Sample, finding: Finding) -> None:
        assert sample.response is not None
        said = "; ".join(map(str, finding.problems))
        if finding.reason != SCHEMA_MISMATCH:
            said = f"{finding.reason}: {said}"
        failure = Failure(SCHEMA_MISMATCH, said, attempts=1)
        self._journal.discarded(sample, failure)
        self._metrics.count_tokens(sample.endpoint, sample.response.usage)
        self._metrics.retries[SCHEMA_MISMATCH] += 1


def _asked_again(planned: Sample, bad: _Bad) -> Request:
    """The conversation with the bad answer and what is wrong with it; only the last bad one, or
    each time would cost more than the one before.
    """
    sample, finding, number = bad
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
