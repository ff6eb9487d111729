"""Spans on their way to a collector, by OTLP over HTTP, in a thread of their own.

The variables ``OTEL_*`` say where it is and what is sampled; OpenTelemetry's SDK reads them, once
somebody has asked for spans. Whatever becomes of the collector, the run goes on: spans that it does
not take wait in a bounded queue, then the oldest are dropped, and at the end nobody waits for long.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from weave_async.errors import UsageError
from weave_async.observability.gen_ai import SCHEMA_URL
from weave_async.observability.labels import label_of
from weave_async.observability.spans import Tracing

logger = logging.getLogger(__name__)

LONGEST_FLUSH_S = 5.0
LONGEST_COMPLAINT_CHARS = 200
ADVICE = "OTEL_EXPORTER_OTLP_ENDPOINT is to be a collector that takes http/protobuf"
HEADERS_ARE_READ_BY = "opentelemetry.util.re"
SOURCES = ("opentelemetry", "opentelemetry.exporter")


@contextmanager
def exported_spans(run_name: str, *, flush_s: float = LONGEST_FLUSH_S) -> Iterator[Tracing]:
    """Spans go out while this lasts; at its end, what is left does within ``flush_s``.

    Raises ``UsageError`` where the environment says what cannot be heeded.
    """
    with _Complaints() as complaints:
        try:
            provider = TracerProvider(resource=_resource(run_name), shutdown_on_exit=False)
            exporter = _CountingExporter(OTLPSpanExporter())
            processor = _CountingProcessor(exporter)
        except (ValueError, OSError) as error:
            raise _wrong_setting(str(error)) from error
        provider.add_span_processor(processor)
        if complaints.last:
            provider.shutdown()
            raise _wrong_setting(complaints.last)
        complaints.heed_errors_only()
        try:
            yield Tracing(provider.get_tracer("weave_async", version("weave-async"), SCHEMA_URL))
        finally:
            flushing = Thread(target=provider.shutdown, name="flush-spans", daemon=True)
            flushing.start()
            flushing.join(flush_s)
            exporter.shutdown()
            if flushing.is_alive():
                complaints.never_again()
            if lost := processor.num_ended - exporter.num_exported:
                why = complaints.last or "it was too slow"
                told = "%d of %d spans did not reach the collector: %s"
                logger.warning(told, lost, processor.num_ended, why)


def _wrong_setting(why: str) -> UsageError:
    return UsageError(f"--otel: one of the variables OTEL_* cannot be heeded: {label_of(why)}")


def _resource(run_name: str) -> Resource:
    """What the environment says (``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``) wins."""
    ours = Resource(
        {
            "service.name": "weave-async",
            "service.version": version("weave-async"),
            "weave_async.run.name": label_of(run_name),
        }
    )
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


class _CountingProcessor(BatchSpanProcessor):
    """Counts the spans that are to go out: the queue drops some without a word."""

    num_ended = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.num_ended += 1
        super().on_end(span)


class _CountingExporter(SpanExporter):
    """Counts the spans that a collector has taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.num_exported = 0
        self._exporter = exporter
        self._is_shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.num_exported += len(spans)
        return result

    def shutdown(self) -> None:
        if not self._is_shut_down:
            self._is_shut_down = True
            self._exporter.shutdown()


class _Complaints(logging.Handler):
    """Takes what OpenTelemetry logs: the first error is passed on, and the last complaint kept.

    Its loggers would write to the terminal by themselves, each time, and what a server says as is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        self._has_passed_on = self._is_quiet = False
        self._sdk, self._exporter = map(logging.getLogger, SOURCES)

    def __enter__(self) -> _Complaints:
        self._before = self._sdk.propagate, self._sdk.level, self._exporter.level
        self._sdk.propagate = False
        self._sdk.setLevel(logging.WARNING)
        self._exporter.setLevel(logging.WARNING)
        self._sdk.addHandler(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_quiet:  # and stays there
            return
        self._sdk.removeHandler(self)
        self._sdk.propagate, level, exporter_level = self._before
        self._sdk.setLevel(level)
        self._exporter.setLevel(exporter_level)

    def heed_errors_only(self) -> None:
        """From now on, of the SDK: it warns of each span that it drops, which takes its time."""
        self._sdk.setLevel(logging.ERROR)

    def never_again(self) -> None:
        """A thread that was left behind has more to say: nobody hears it."""
        self._is_quiet = True

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_quiet:
            return
        if record.name == HEADERS_ARE_READ_BY:
            said = "a header is malformed"  # which may be a password
        else:
            said = label_of(record.getMessage(), longest_chars=LONGEST_COMPLAINT_CHARS)
        if record.levelno < logging.ERROR:
            self.last = said
        elif not self._has_passed_on:
            self._has_passed_on = True
            self.last = self.last or said
            logger.warning("no spans get through, and the run goes on (%s): %s", ADVICE, self.last)
