"""What becomes of the requests of one batch that has ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from weave_async.batch.lane import Lane
from weave_async.batch.ledger import BatchRecord
from weave_async.blame import failure_of
from weave_async.errors import BadResponseError, ProviderError, RateLimitError
from weave_async.flow.budget import NO_COST, Cost
from weave_async.interfaces import BatchState
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.records import Request, Response, Sample

logger = logging.getLogger(__name__)

MOST_FAULTS_SHOWN = 10


class Collection:
    """Ends samples with the answers of their batch. ``spent`` is what those have cost.

    ``stops_because`` is set by what further requests would only meet again: a key that is refused,
    a quota that is used up.
    """

    def __init__(
        self,
        record: BatchRecord,
        lane: Lane,
        state: BatchState,
        journal: Journal,
        metrics: RunMetrics,
        *,
        is_last: bool,
    ) -> None:
        """``is_last``: what has no answer now will not be asked again, and fails."""
        self.record = record
        self.lane = lane
        self.state = state
        self.spent = NO_COST
        self.stops_because: ProviderError | None = None
        self._journal = journal
        self._metrics = metrics
        self._is_last = is_last
        self._faults: dict[str, ProviderError] = {}
        self._was_refused = state.status == "failed"
        self._num_answered = self._num_failed = self._num_again = self._num_faults_shown = 0

    def __str__(self) -> str:
        counts = (
            (self._num_answered, "answered"),
            (self._num_failed, "failed"),
            (self._num_again, "without an answer"),
        )
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing new"

    def heed_faults(self, custom_ids: Sequence[str]) -> None:
        """Why the file was refused: a fault of one line costs that line, any other the run."""
        for line, error in self.state.faults:
            if line is not None and 1 <= line <= len(custom_ids):
                self._faults.setdefault(custom_ids[line - 1], error)
            elif self._is_last or not error.retryable:
                self.stops_because = self.stops_because or error
            else:
                logger.warning("batch %s was refused: %s", self.record, error)

    def end_of(self, sample: Sample, custom_id: str, line: bytes | None) -> Sample | None:
        """The sample with its answer or its failure; ``None`` where it stays to be asked.

        The call is journalled here, with what came of it: while it was out, the ledger stood for
        it.
        """
        request = self._named(sample.request)
        most_tokens, worst = self.lane.dispatcher.worst_case(request)
        try:
            response = self._response(request, custom_id, line, most_tokens)
        except ProviderError as error:
            failure = failure_of(error, attempts=1)
            if not self._was_refused:
                self._journal.sent(request, tokens=most_tokens)
                self._journal.missed(request, failure)
                self._spend(worst if error.may_be_billed else NO_COST)
            if not self._ends_with(error):
                self._num_again += 1
                return None
            self._tell_of_fault(sample, custom_id)
            self._num_failed += 1
            ended = sample.answered(failure)
        else:
            self._journal.sent(request, tokens=most_tokens)
            self._spend(self.lane.dispatcher.cost_of(response) or worst)
            self._num_answered += 1
            self.lane.dispatcher.count_answer()
            ended = sample.answered(response)
        self._metrics.count_answer(ended)
        return ended

    def _response(
        self, request: Request, custom_id: str, line: bytes | None, most_tokens: int
    ) -> Response:
        """The answer in the line; raises why there is none."""
        if (fault := self._faults.get(custom_id)) is not None:
            raise fault
        if line is None:
            raise BadResponseError(
                f"batch {self.record} at {self.lane.name} has ended ({self.state.status}) without "
                "an answer to this request",
                may_be_billed=self.state.status == "completed",
            )
        try:
            response = self.lane.api.response_in(line, request)
            return self.lane.dispatcher.checked(request, response, most_tokens=most_tokens)
        except ProviderError:
            raise
        except Exception as error:  # of one line: all the others have been paid for, too
            raise BadResponseError(
                f"batch {self.record} at {self.lane.name} came back with a line that cannot be "
                f"read ({type(error).__name__})"
            ) from error

    def _ends_with(self, error: ProviderError) -> bool:
        """Whether the sample has failed for good, as far as this run goes."""
        if self._was_refused and self.stops_because is not None:
            return False
        if error.stops_endpoint or (self._is_last and isinstance(error, RateLimitError)):
            self.stops_because = self.stops_because or error
            return False
        return self._is_last or not error.retryable

    def _named(self, request: Request) -> Request:
        """The request under the name of this call: the batch's number tells it from others."""
        name = f"{request.request_id}-{self._journal.epoch}.{self.record.number}"
        return replace(request, attempt_id=name)

    def _spend(self, cost: Cost) -> None:
        self.spent = Cost(self.spent.tokens + cost.tokens, self.spent.usd + cost.usd)

    def _tell_of_fault(self, sample: Sample, custom_id: str) -> None:
        """The row for which the provider has refused a whole file."""
        if custom_id not in self._faults:
            return
        self._num_faults_shown += 1
        if self._num_faults_shown <= MOST_FAULTS_SHOWN:
            logger.warning(
                "batch %s was refused for %s: %s",
                self.record,
                sample.prompt.origin,
                self._faults[custom_id],
            )
