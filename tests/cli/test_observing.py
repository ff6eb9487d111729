"""``run --metrics`` and ``run --otel``: asked for, refused, and not asked for."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from weave_async.testing.replies import RecordedRequest, Reply, chat_reply, error_reply
from weave_async.testing.scripted_endpoint import ScriptedEndpoint

from .conftest import Program

PROMPT, ANSWER, KEY = "PROMPT-CANARY", "ANSWER-CANARY", "sk-KEY-CANARY-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_settings_of_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedEndpoint]:
    """Fails once, repeating what it was asked and the key; answers slowly from then on."""
    asked = 0

    def reply(request: RecordedRequest) -> Reply:
        nonlocal asked
        if request.method != "POST":
            return error_reply(404)
        asked += 1
        if asked == 1:
            return error_reply(500, f"{PROMPT} {ANSWER} {KEY}")
        return chat_reply(f"{ANSWER} {asked}", head_delay_s=0.02)

    Path("rows.jsonl").write_text(
        "".join(json.dumps({"prompt": f"{PROMPT} {index}?"}) + "\n" for index in range(30))
    )
    monkeypatch.setenv("WEAVE_ASYNC_API_KEY", KEY)
    with ScriptedEndpoint(reply) as endpoint:
        yield endpoint


def asking(model: ScriptedEndpoint, *flags: str) -> list[str]:
    command = ["run", "--prompts", "rows.jsonl", "-p", "openai_compatible", "-m", "m-1", "-c", "2"]
    return [*command, "--base-url", model.base_url, "-o", "out", *flags]


def test_metrics_are_there_while_a_run_goes_on_and_gone_after_it(
    weave_async: Program, model: ScriptedEndpoint
) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/metrics"
    pages: list[str] = []

    def scrape() -> None:
        """As soon as one sample is written, with a patience that no run needs."""
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s and not (pages and 'written"} 0.0' not in pages[-1]):
            try:
                with urllib.request.urlopen(url, timeout=5) as page:
                    pages.append(page.read().decode())
            except OSError:
                time.sleep(0.01)

    scraping = threading.Thread(target=scrape, daemon=True)
    scraping.start()
    outcome = weave_async(*asking(model, "--metrics", str(port)))
    scraping.join(30)
    assert outcome.exit_code == 0
    assert f"figures for Prometheus are at {url}" in outcome.err
    assert re.search(r'samples_total\{outcome="written"\} [1-9]', pages[-1])
    assert 'weave_async_retries_total{error="server"} 1.0' in pages[-1]
    assert "CANARY" not in "".join(pages)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_that_is_taken_ends_it_before_anything_is_asked(
    weave_async: Program, model: ScriptedEndpoint
) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra prometheus")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        outcome = weave_async(*asking(model, "--metrics", str(port)))
    assert outcome.exit_code == 2
    assert f"--metrics 127.0.0.1:{port}: Address already in use" in outcome.err
    assert model.requests == []
    assert not Path("out").exists()


def test_spans_go_to_the_collector_that_the_environment_names(
    weave_async: Program, model: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with ScriptedEndpoint(lambda request: Reply()) as collector:
        address = collector.base_url.removesuffix("/v1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        outcome = weave_async(*asking(model, "--otel"))
    assert outcome.exit_code == 0
    assert "spans" not in outcome.err
    bodies = [request.raw_body for request in collector.requests]
    spans = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == 30
    assert {span.name for span in spans} == {"chat m-1"}
    assert sum(len(span.events) for span in spans) == 2, "one failure, and one sending again"
    rows = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    ids = {a.value.string_value for s in spans for a in s.attributes if a.key.endswith("quest.id")}
    assert ids == {row["lineage"]["request_id"] for row in rows}
    assert b"CANARY" not in b"".join(bodies)


def test_a_collector_that_hangs_costs_spans_and_no_row(
    weave_async: Program, model: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with ScriptedEndpoint(lambda request: Reply(head_delay_s=3600.0)) as collector:
        address = collector.base_url.removesuffix("/v1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        outcome = weave_async(*asking(model, "--otel", "--json"))
    assert outcome.exit_code == 0
    assert outcome.json["written"] == 30
    assert "30 of 30 spans did not reach the collector" in outcome.err


@pytest.mark.parametrize(
    ("flags", "module", "extra"),
    [
        (["--metrics", "9464"], "prometheus_client", "prometheus"),
        (["--otel"], "opentelemetry.exporter.otlp.proto.http", "otel"),
    ],
)
def test_without_the_extra_its_name_is_told_before_anything_is_asked(
    flags: list[str],
    module: str,
    extra: str,
    weave_async: Program,
    model: ScriptedEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    outcome = weave_async(*asking(model, *flags))
    assert outcome.exit_code == 2
    assert f"{flags[0]} needs the extra {extra}: pip install 'weave-async[{extra}]'" in outcome.err
    assert model.requests == []


def test_an_address_that_is_none_is_a_usage_error(
    weave_async: Program, model: ScriptedEndpoint
) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra prometheus")
    outcome = weave_async(*asking(model, "--metrics", "everywhere"))
    assert outcome.exit_code == 2
    assert "HOST:PORT" in outcome.err


def test_unless_asked_for_nothing_of_it_is_loaded(recipe_file: Path) -> None:
    """Though the environment names a collector: others' programs may need that."""
    code = (
        "import os, sys\n"
        "os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://127.0.0.1:9'\n"
        "from weave_async.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "named = ('opentelemetry', 'prometheus_client', 'weave_async.observability')\n"
        "print([name for name in sys.modules if name.startswith(named)])\n"
    )
    command = [sys.executable, "-c", code, "run", str(recipe_file), "-o", "out", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
