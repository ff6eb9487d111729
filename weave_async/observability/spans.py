"""A span for each request, from its first sending to its outcome, with what went wrong as events.

The words are those of ``gen_ai``. A span is the root of a trace, unless whoever uses us has one of
his own open: one trace of a whole run would hold every request of it, and a sampler, which decides
by trace, could only take all of them or none. Time in our queues before the first sending is left
out; a request that is never sent has no span.
"""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from weave_async.blame import Tries, code_of
from weave_async.dispatch import Dispatcher
from weave_async.interfaces import AttemptLog, Provider
from weave_async.observability.gen_ai import (
    ATTEMPT_ID,
    ATTEMPTS,
    ERROR_TYPE,
    MODEL,
    endpoint_attributes,
    request_attributes,
    response_attributes,
)
from weave_async.observability.labels import label_of
from weave_async.records import Endpoint, Failure, Request, Response

MISSED, SENT_AGAIN = "weave_async.attempt.failed", "weave_async.attempt.sent"


class Tracing:
    """Makes dispatchers whose requests leave spans with ``tracer``."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def dispatcher(self, endpoint: Endpoint, provider: Provider, **options: Any) -> Dispatcher:
        """In place of ``Dispatcher``, with its options."""
        address = endpoint.base_url or getattr(provider, "default_base_url", None)
        spans = _Spans(self._tracer, endpoint_attributes(endpoint, address))
        return TracedDispatcher(endpoint, provider, spans=spans, **options)


class _Spans:
    """Begins spans of one endpoint."""

    def __init__(self, tracer: Tracer, of_endpoint: dict[str, Any]) -> None:
        self._tracer = tracer
        self._of_endpoint = of_endpoint

    def begin(self, request: Request) -> Span:
        attributes = request_attributes(self._of_endpoint, request)
        name = f"{attributes['gen_ai.operation.name']} {attributes[MODEL]}"
        return self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)


class TracedDispatcher(Dispatcher):
    """A dispatcher that leaves a span for each request."""

    def __init__(self, *args: Any, spans: _Spans, **options: Any) -> None:
        super().__init__(*args, **options)
        self._spans = spans

    async def dispatch(self, request: Request, tries: Tries | None = None) -> Response | Failure:
        tries = Tries() if tries is None else tries
        log = tries.log
        span = tries.log = _SpanLog(self._spans, log or self._log)
        try:
            outcome = await super().dispatch(request, tries)
        except BaseException as error:
            span.end_with(_type_of(error))
            raise
        finally:
            tries.log = log
        if isinstance(outcome, Failure):
            span.end_with(outcome.error)
        else:
            span.end(outcome, tries.answered)
        return outcome


class _SpanLog:
    """The log of one request's sendings, which are told to its span, too."""

    __slots__ = ("_log", "_num_sent", "_span", "_spans")

    def __init__(self, spans: _Spans, log: AttemptLog) -> None:
        self._spans = spans
        self._log = log
        self._span: Span | None = None
        self._num_sent = 0

    def sent(self, request: Request, *, tokens: int) -> None:
        self._log.sent(request, tokens=tokens)
        self._num_sent += 1
        if self._span is None:
            self._span = self._spans.begin(request)
        else:
            self._span.add_event(SENT_AGAIN, {ATTEMPT_ID: request.attempt_id})

    def missed(self, request: Request, failure: Failure) -> None:
        self._log.missed(request, failure)
        if self._span is None:
            return
        attributes: dict[str, Any] = {
            ERROR_TYPE: label_of(failure.error),
            ATTEMPT_ID: request.attempt_id,
        }
        if failure.status_code is not None:
            attributes["http.response.status_code"] = failure.status_code
        self._span.add_event(MISSED, attributes)

    def end(self, response: Response, answered: Request | None) -> None:
        if (span := self._span) is not None:
            if span.is_recording():
                attributes = response_attributes(response)
                attributes[ATTEMPTS] = self._num_sent
                if answered is not None:
                    attributes[ATTEMPT_ID] = answered.attempt_id
                span.set_attributes(attributes)
            span.end()

    def end_with(self, error: str) -> None:
        """Without what the error says: that may repeat what was asked."""
        if (span := self._span) is not None:
            span.set_attributes({ERROR_TYPE: label_of(error), ATTEMPTS: self._num_sent})
            span.set_status(Status(StatusCode.ERROR))
            span.end()


def _type_of(error: BaseException) -> str:
    return "cancelled" if isinstance(error, asyncio.CancelledError) else code_of(error)
