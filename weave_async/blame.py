"""Whose fault a failed attempt is: the row's, the endpoint's, or nobody's.

Only what is the row's own costs it an attempt. What is the endpoint's is told to its admission; a
refusal for going too fast (429) is nobody's.
"""

from __future__ import annotations

import asyncio
import logging

from weave_async.errors import (
    DeadlineError,
    FieldRefusedError,
    OutageError,
    ProviderError,
    RateLimitError,
    RequestRefusedError,
)
from weave_async.flow.admission import LONGEST_OUTAGE_S, Admission, Slot
from weave_async.guard import GuardedProvider
from weave_async.interfaces import AttemptLog
from weave_async.records import Failure, Request

logger = logging.getLogger(__name__)

GIVE_UP_AFTER_FAILURES = 20
"""Requests that fail one after the other, with no success between, before the endpoint is left."""
LONGEST_OUTAGE_AT_FIRST_S = 120.0
"""How long an endpoint that has never answered may fail: is it there at all?"""
MOST_FAILED_PROBES = 20
"""A request that failed so often where others were to show an outage's end may be its cause."""
MOST_FAILED_PROBES_UNTOLD, LONGEST_UNTOLD_S = 3, 600.0
"""The same, after so long an outage, of an endpoint that cannot be asked whether it is alive."""
MOST_THROTTLED_IN_FRONT = 3
"""A request refused so often (429) goes to the back: it may be one that never gets through."""
MOST_FIELDS_REFUSED = 8
"""Fields of one request that its endpoint does not take, before that is the request's own fault."""
LONGEST_RETRY_WAIT_S = 60.0
PAUSE_WORTH_SAYING_S = 10.0
LONGEST_MESSAGE_CHARS = 2000
OVERLOADED = frozenset({503, 529})


class Tries:
    """What has become of one request so far, wherever it was sent.

    ``attempts`` are those that were its own; ``answered`` is the sending that brought the answer.
    ``log`` is told of each sending, in place of the dispatcher's own. A request that ``stays`` is
    meant for this endpoint alone: it waits there while others would go elsewhere.
    """

    __slots__ = (
        "answered",
        "attempts",
        "failed_probes",
        "fields_refused",
        "is_retry",
        "log",
        "sends",
        "stays",
        "successes_before",
        "throttled",
        "throttled_since_s",
    )

    def __init__(self, log: AttemptLog | None = None, *, stays: bool = False) -> None:
        self.log = log
        self.stays = stays
        self.answered: Request | None = None
        self.attempts = self.sends = 0
        self.begin_elsewhere()

    def begin_elsewhere(self) -> None:
        """Forget what says something of the endpoint rather than of the request."""
        self.successes_before: int | None = None
        """How many others had been answered when it first failed."""
        self.failed_probes = self.throttled = self.fields_refused = 0
        self.throttled_since_s = 0.0
        self.is_retry = False


class Blame:
    """Judges the failures of one endpoint, and tells its admission."""

    def __init__(self, name: str, admission: Admission, provider: GuardedProvider) -> None:
        self._name = name
        self._admission = admission
        self._provider = provider
        self._num_answered = 0
        self._failures_in_a_row = 0
        self._ever_succeeded = False
        admission.breaker.longest_outage_s = LONGEST_OUTAGE_AT_FIRST_S

    def __repr__(self) -> str:
        return f"<Blame {self._name}, {self._failures_in_a_row} failures in a row>"

    def count_success(self) -> None:
        self._failures_in_a_row = 0
        self._num_answered += 1
        if not self._ever_succeeded:
            self._ever_succeeded = True
            self._admission.breaker.longest_outage_s = LONGEST_OUTAGE_S

    def is_one_too_many(self, error: ProviderError, tries: Tries) -> bool:
        """Whether a row's failing, at last, is one too many in a row.

        An endpoint that has answered before may well refuse many rows, one after the other, for
        what is in them; if it refuses the first ones all alike, the fault is not in the rows. Nor
        is it the endpoint's where others were answered while this one failed again and again.
        """
        num = tries.successes_before
        is_alone = num is not None and self._num_answered > num
        is_rows = is_alone or isinstance(error, RequestRefusedError)
        if not (is_rows and self._ever_succeeded):
            self._failures_in_a_row += 1
        return self._failures_in_a_row > GIVE_UP_AFTER_FAILURES

    async def is_alive(self, error: ProviderError, tries: Tries) -> bool:
        """Whether a probe failed for what is in it, rather than for the outage it was to end.

        The list of models tells, since it is no row at all. An overload is never a row's own, and
        its list may well be answered by another machine.
        """
        if not error.retryable:
            return False
        if error.status_code not in OVERLOADED:
            is_alive = await self._provider.is_alive()
            if is_alive is not None:
                return is_alive
            outage_s = self._admission.breaker.outage_s(_now_s())
            is_long = outage_s > LONGEST_UNTOLD_S and self._ever_succeeded
            if is_long and tries.failed_probes >= MOST_FAILED_PROBES_UNTOLD:
                return True
        return tries.failed_probes + 1 >= MOST_FAILED_PROBES

    def heed(
        self, error: ProviderError, request: Request, slot: Slot, tries: Tries, *, is_alive: bool
    ) -> None:
        """Tell admission of a failure. Raises it, unless it costs the request no attempt."""
        is_billed = error.may_be_billed
        if isinstance(error, RateLimitError):
            self._throttled(error, slot, tries)
            return
        if isinstance(error, FieldRefusedError) and tries.fields_refused < MOST_FIELDS_REFUSED:
            slot.refused(is_billed=is_billed)
            tries.fields_refused += 1
            tries.is_retry = True
            return
        if not error.retryable:
            slot.refused(is_billed=is_billed)
            tries.attempts += 1
            raise error
        if tries.successes_before is None:
            tries.successes_before = self._num_answered
        is_own = slot.missed(
            request.request_id,
            str(error),
            is_overload=isinstance(error, DeadlineError) or error.status_code in OVERLOADED,
            is_billed=is_billed,
            is_alive=is_alive,
            retry_after_s=retry_after_s(error),
        )
        tries.is_retry = True
        if slot.is_probe:
            tries.failed_probes += 1
            if not is_alive:
                self._raise_if_outage_is_too_long(error)
        if is_own:
            tries.attempts += 1
            raise error

    def _throttled(self, error: RateLimitError, slot: Slot, tries: Tries) -> None:
        now_s = _now_s()
        tries.throttled += 1
        tries.is_retry = tries.throttled <= MOST_THROTTLED_IN_FRONT
        tries.throttled_since_s = tries.throttled_since_s or now_s
        was_paused = self._admission.paused_for_s > 0
        slot.throttled(error.retry_after_s)
        if now_s - tries.throttled_since_s + (error.retry_after_s or 0.0) > LONGEST_OUTAGE_S:
            raise error
        pause_s = self._admission.paused_for_s
        if pause_s > PAUSE_WORTH_SAYING_S and not was_paused:
            logger.warning("%s asks to wait %.0f s: %s", self._name, pause_s, error)

    def _raise_if_outage_is_too_long(self, error: ProviderError) -> None:
        breaker = self._admission.breaker
        outage_s = breaker.outage_s(_now_s())
        if outage_s > breaker.longest_outage_s:
            raise OutageError(
                f"{self._name} has failed for {outage_s:.0f} s, the last time with: "
                f"{error}. Nothing is lost: run the same command again when it is back"
            ) from error


def code_of(error: BaseException) -> str:
    """``RateLimitError`` → ``rate_limit``: the name of an error in counts and files."""
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def failure_of(error: ProviderError, attempts: int) -> Failure:
    """The error as it is kept, without the frames that hang on it."""
    message = str(error)[:LONGEST_MESSAGE_CHARS]
    return Failure(
        code_of(error), message, attempts, error.status_code, error.retryable, error.may_be_billed
    )


def retry_after_s(error: BaseException) -> float | None:
    """How long the endpoint asked to be left alone, up to what we are ready to wait."""
    told_s = error.retry_after_s if isinstance(error, ProviderError) else None
    return None if told_s is None else min(told_s, LONGEST_RETRY_WAIT_S)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
