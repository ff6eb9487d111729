"""What stages ask models about a sample: judges, paraphrases, a second look.

Consultations go through the dispatchers of their endpoints, within the same limits and budget as
samples, and into a journal of their own: a question that was answered once is not bought again, be
it by a later run, as long as neither the question nor the sample's answer has changed.

::

    stage ──▶ consult ──▶ journal has it? ──▶ answer
                              │ no
                              └─▶ dispatcher ──▶ journal (durable) ──▶ answer
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from weave_async.blame import Tries
from weave_async.dispatch import Dispatcher, TurnedAway
from weave_async.errors import ConsultationError, ConsultationNeeded, Unsent
from weave_async.interfaces import Consult
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.naming import namer_of, request_id_of
from weave_async.records import (
    Api,
    Consulted,
    Endpoint,
    Failure,
    Message,
    Prompt,
    Request,
    Response,
    Sample,
    SamplingParams,
)
from weave_async.seeding import sent_seed_for


@dataclass(frozen=True, slots=True)
class Advisor:
    """An endpoint that stages may ask, and the API that it speaks."""

    endpoint: Endpoint
    api: Api = "chat"


class Consultations:
    """Answers the questions of stages. Enter it after the dispatchers, leave it before them.

    ``dispatchers`` go by the name of their endpoint. A question that nobody waits for any more is
    still seen through: its answer is paid for. As a replay, nothing is asked nor written, and what
    the journal does not know raises ``ConsultationNeeded``.
    """

    def __init__(
        self,
        journal: Journal,
        advisors: Mapping[Consulted, Advisor],
        dispatchers: Mapping[str, Dispatcher],
        metrics: RunMetrics,
        *,
        run_seed: int,
        send_seed: bool = True,
        is_replay: bool = False,
    ) -> None:
        self._journal = journal
        self._advisors = advisors
        self._dispatchers = dispatchers
        self._metrics = metrics
        self._run_seed = run_seed
        self._send_seed = send_seed
        self._is_replay = is_replay
        self._under_way: dict[tuple[str, str], asyncio.Task[Sample]] = {}
        self._unanswered: dict[asyncio.Task[Sample], Dispatcher] = {}
        self._durable: dict[int, asyncio.Future[None]] = {}  # by ordinal
        self._num_questions = 0
        self._committing: asyncio.Task[None] | None = None
        self._broken_by: Exception | None = None
        self._has_told = False
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Consultations {len(self._under_way)} under way, {self._metrics.consultations}>"

    async def __aenter__(self) -> Self:
        if not self._is_replay:
            self._journal.begin()
            self._committing = asyncio.create_task(self._commit(), name="consultations")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let in what is out, or drop it where something has gone wrong, and have it durable. The
        dispatchers are stopped: nothing that fails now is sent again.

        Raises what kept the journal from keeping answers, unless somebody has been told.
        """
        for dispatcher in self._dispatchers.values():
            dispatcher.stop()
        self.abandon() if exc_type is not None else self.stop()
        if self._under_way:
            await asyncio.wait(self._under_way.values())
        if self._committing is not None:
            self._journal.finish()
            await self._committing
        if self._broken_by is not None and exc_type is None and not self._has_told:
            raise self._broken_by

    def consult_for(self, sample: Sample, stage: str) -> Consult:
        """How the stage of that name may ask about this sample."""

        async def consult(
            whom: Consulted,
            messages: Sequence[Message],
            *,
            params: SamplingParams,
            draw: int = 0,
            schema: Mapping[str, Any] | None = None,
        ) -> Response:
            if whom not in self._advisors:
                raise LookupError(f"{whom} is none of those that '{stage}' says it consults")
            advisor = self._advisors[whom]
            if self._send_seed and params.seed is None:
                prompt, purpose = sample.prompt, f"consult:{stage}:{draw}"
                seed = sent_seed_for(self._run_seed, prompt.prompt_id, prompt.sample_index, purpose)
                params = replace(params, seed=seed)
            question = _question(advisor, sample, tuple(messages), params, draw, schema)
            return _response_of(await self._answered(question, stage))

        return consult

    def stop(self) -> None:
        """Ask nothing more: whoever waits to ask gets ``Unsent``. What is out still comes in.

        The dispatchers have to be stopped as well: they decide what is sent again.
        """
        self._stopping = True
        for task, dispatcher in self._unanswered.items():
            if not dispatcher.admission.is_sending(task):
                task.cancel()

    def abandon(self) -> None:
        """Drop what is out, too: it may be billed, and will be asked again."""
        self._stopping = True
        for task in self._unanswered:
            task.cancel()

    async def _answered(self, question: Sample, stage: str) -> Sample:
        """The question with its end, from the journal or an endpoint."""
        key = question.sample_id, question.request.request_id
        task = self._under_way.get(key)
        if task is None:
            if (known := self._journal.recall(question)) is not None:
                self._metrics.consultations.recalled += 1
                return known
            if self._is_replay:
                self._metrics.consultations.needed += 1
                raise ConsultationNeeded(f"'{stage}' would have to ask {question.endpoint}")
            if self._stopping:
                raise Unsent
            task = asyncio.create_task(self._ask(question, stage))
            self._under_way[key] = task
            self._unanswered[task] = self._dispatchers[question.endpoint]
            task.add_done_callback(lambda task: self._end(key, task))
        await asyncio.wait((task,))  # who waits may be cancelled, and the question goes on
        if task.cancelled():
            raise Unsent
        return task.result()

    async def _ask(self, question: Sample, stage: str) -> Sample:
        """Ask, and return once the answer is durable. Between the two nothing is awaited that
        could lose it.
        """
        self._require_unbroken()
        task = asyncio.current_task()
        assert task is not None
        tries = Tries(self._journal, stays=True)
        outcome = await _dispatched(self._dispatchers[question.endpoint], question.request, tries)
        del self._unanswered[task]
        ordinal, self._num_questions = self._num_questions, self._num_questions + 1
        ended = replace(question.answered(outcome, sent=tries.answered), ordinal=ordinal)
        self._metrics.count_consultation(ended)
        self._durable[ordinal] = durable = asyncio.get_running_loop().create_future()
        self._journal.record(ended, stage=stage)
        self._require_unbroken()
        await durable
        return ended

    def _require_unbroken(self) -> None:
        if self._broken_by is not None:
            self._has_told = True
            raise self._broken_by

    def _end(self, key: tuple[str, str], task: asyncio.Task[Sample]) -> None:
        del self._under_way[key]
        self._unanswered.pop(task, None)
        if not task.cancelled():
            task.exception()  # looked at: nobody may have waited to the end

    async def _commit(self) -> None:
        """Let go on whose answers are on the disk; from then on the journal recalls them."""
        try:
            async for samples in self._journal.commits():
                self._journal.shelve(samples)
                for sample in samples:
                    durable = self._durable.pop(sample.ordinal)
                    if not durable.done():
                        durable.set_result(None)
        except Exception as error:  # whoever asks is told, or else whoever leaves us
            self._broken_by = error
            for durable in self._durable.values():
                if not durable.done():
                    self._has_told = True
                    durable.set_exception(error)
            self._durable.clear()


def _question(
    advisor: Advisor,
    sample: Sample,
    messages: tuple[Message, ...],
    params: SamplingParams,
    draw: int,
    schema: Mapping[str, Any] | None,
) -> Sample:
    """A question about a sample, as a sample of its own: so dispatchers and journal know it."""
    endpoint, api = advisor.endpoint, advisor.api
    namer = namer_of(endpoint, api, schema)
    request = Request(
        request_id=request_id_of(namer, messages, params, sample.sample_id, draw),
        model=endpoint.model,
        messages=messages,
        params=params,
        api=api,
        schema=schema,
    )
    prompt = Prompt(sample.sample_id, draw, messages, {}, sample.prompt.origin)
    return Sample(0, prompt, request, endpoint.name, params.seed or 0)


async def _dispatched(dispatcher: Dispatcher, request: Request, tries: Tries) -> Response | Failure:
    """The outcome at this very endpoint: another model's word would be another judge's.

    While it is down, the question waits in its line; once the run has left it, nobody can answer.
    """
    while True:
        try:
            return await dispatcher.dispatch(request, tries)
        except TurnedAway:
            if dispatcher.left_because is not None:
                raise dispatcher.left_because from None


def _response_of(ended: Sample) -> Response:
    if ended.response is None:
        assert ended.failure is not None
        raise ConsultationError(f"{ended.failure.error}: {ended.failure.message}")
    return ended.response
