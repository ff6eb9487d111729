"""Spans on their way to a collector: a real one on loopback, well or not."""

from __future__ import annotations

import gzip
import logging
import socket
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from weave_async.errors import UsageError
from weave_async.observability.otlp import exported_spans
from weave_async.testing.replies import RecordedRequest, Reply
from weave_async.testing.scripted_endpoint import ScriptedEndpoint

NUM_SPANS = 700
"""More than a batch has by default."""


def accepted(request: RecordedRequest) -> Reply:
    return Reply(headers={"content-type": "application/x-protobuf"})


def exported_by(requests: list[RecordedRequest]) -> list[ExportTraceServiceRequest]:
    bodies = [
        gzip.decompress(each.raw_body) if "content-encoding" in each.headers else each.raw_body
        for each in requests
    ]
    return [ExportTraceServiceRequest.FromString(body) for body in bodies]


def names_in(requests: list[RecordedRequest]) -> list[str]:
    return [
        span.name
        for export in exported_by(requests)
        for resource in export.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def address(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")


def make_spans(number: int = NUM_SPANS, *, flush_s: float = 5.0) -> float:
    """How long the end took."""
    with exported_spans("demo", flush_s=flush_s) as tracing:
        for index in range(number):
            tracing._tracer.start_span(f"span {index}").end()
        ended_s = time.monotonic()
    return time.monotonic() - ended_s


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """A thread that was left behind stays quiet for good, in a process that is about to end."""
    theirs = logging.getLogger("opentelemetry")
    before = (theirs.level, theirs.propagate, list(theirs.handlers))
    yield
    theirs.level, theirs.propagate, theirs.handlers = before


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedEndpoint]:
    with ScriptedEndpoint(accepted) as endpoint:
        address(monkeypatch, endpoint.base_url.removesuffix("/v1"))
        yield endpoint


def test_a_collector_gets_every_span_once(
    collector: ScriptedEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    make_spans()
    assert {each.path for each in collector.requests} == {"/v1/traces"}
    assert sorted(names_in(collector.requests)) == sorted(f"span {i}" for i in range(NUM_SPANS))
    assert caplog.text == ""


def test_the_resource_names_the_run_and_the_environment_has_the_last_word(
    collector: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs,team=red")
    make_spans(1)
    [export] = exported_by(collector.requests)
    attributes = {a.key: a.value.string_value for a in export.resource_spans[0].resource.attributes}
    assert attributes["service.name"] == "theirs"
    assert attributes["team"] == "red"
    assert attributes["weave_async.run.name"] == "demo"
    [scope] = export.resource_spans[0].scope_spans
    assert scope.schema_url == "https://opentelemetry.io/schemas/1.41.0"


def test_headers_and_compression_of_the_environment_hold(
    collector: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    make_spans(3)
    assert collector.requests[0].headers["x-token"] == "abc"
    assert len(names_in(collector.requests)) == 3


@pytest.mark.parametrize(("ratio", "least", "most"), [("0", 0, 0), ("0.5", 200, 500)])
def test_the_sampler_of_the_environment_decides(
    collector: ScriptedEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    ratio: str,
    least: int,
    most: int,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    make_spans()
    assert least <= len(names_in(collector.requests)) <= most


def test_spans_can_be_switched_off_by_the_environment(
    collector: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    make_spans(3)
    assert collector.requests == []


ILL: dict[str, Callable[[RecordedRequest], Reply]] = {
    "rejecting": lambda request: Reply(status=400, body=b"\x1b[31mno"),
    "down for now": lambda request: Reply(status=503),
    "hanging": lambda request: Reply(head_delay_s=3600.0),
    "cut off": lambda request: Reply(raw=b"HTTP/1.1 2"),
    "lying": lambda request: Reply(raw=b"\x1b]0;pwned\x07 hello\r\n\r\n"),
}


@pytest.mark.parametrize("kind", ILL)
def test_an_ill_collector_costs_spans_and_a_warning_and_a_bounded_time(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedEndpoint(ILL[kind]) as endpoint:
        address(monkeypatch, endpoint.base_url.removesuffix("/v1"))
        started_s = time.monotonic()
        end_took_s = make_spans(5_000, flush_s=0.3)
        assert end_took_s < 3
        assert time.monotonic() - started_s < 10
    assert "5000 of 5000 spans did not reach the collector" in caplog.text
    said = [each.getMessage() for each in caplog.records if each.name.startswith("weave_async")]
    assert 1 <= len(said) <= 2, "once while it goes on, and at the end"
    assert all(message.isprintable() for message in said)


def test_of_nobody_at_the_address_it_says_what_sets_the_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address(monkeypatch, f"http://127.0.0.1:{port}")
    assert make_spans(3) < 5
    assert "3 of 3 spans did not reach the collector" in caplog.text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in caplog.text


def test_a_queue_that_is_full_never_holds_up_whoever_asks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "512")
    with ScriptedEndpoint(ILL["hanging"]) as endpoint:
        address(monkeypatch, endpoint.base_url.removesuffix("/v1"))
        with exported_spans("demo", flush_s=0.1) as tracing:
            slowest_s = 0.0
            for _ in range(3_000):
                began_s = time.monotonic()
                tracing._tracer.start_span("span").end()
                slowest_s = max(slowest_s, time.monotonic() - began_s)
    assert slowest_s < 0.5, "as long as an export may take"
    assert "3000 of 3000" in caplog.text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "often"),
        ("OTEL_TRACES_SAMPLER", "some"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "PASSWORD-CANARY"),
    ],
)
def test_a_setting_that_cannot_be_is_a_usage_error(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=r"OTEL_\*") as raised:
        make_spans(1)
    assert "CANARY" not in str(raised.value)


def test_the_loggers_of_opentelemetry_are_as_they_were_afterwards(
    collector: ScriptedEndpoint,
) -> None:
    theirs = logging.getLogger("opentelemetry")
    before = (theirs.level, theirs.propagate, list(theirs.handlers))
    make_spans(1)
    assert (theirs.level, theirs.propagate, list(theirs.handlers)) == before
