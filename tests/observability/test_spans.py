"""Spans of requests: by the conventions, one for each, and with nothing in them that was said."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler, TraceIdRatioBased
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode

from providers.presets import PRESETS
from weave_async.blame import Tries
from weave_async.dispatch import Dispatcher
from weave_async.errors import ProviderError, RateLimitError, RequestRefusedError, ServerError
from weave_async.flow.retry import Backoff
from weave_async.hedging import Hedging
from weave_async.observability.gen_ai import provider_name_of
from weave_async.observability.spans import Tracing
from weave_async.records import (
    Endpoint,
    Failure,
    Message,
    Request,
    Response,
    SamplingParams,
    Usage,
)
from weave_async.testing.virtual_time import run_in_virtual_time

ASKED, SAID = "What is the PROMPT-CANARY?", "It is the ANSWER-CANARY."
PARAMS = SamplingParams(max_tokens=10, temperature=0.5, top_p=0.9, seed=7, stop=("STOP-CANARY",))
REQUEST = Request("id", "m-1", (Message("user", ASKED),), PARAMS)
ANSWER = Response(SAID, "stop", usage=Usage(50, 3), model="m-1-2026", e2e_s=0.1)
ENDPOINT = Endpoint("fast", "openai_compatible", "m-1", base_url="https://api.openai.com/v1")

Scenario = Callable[[Dispatcher], Awaitable[Any]]


class ScriptedProvider:
    """Answers from a list; an error in it is raised, and a number waits before it goes on."""

    default_max_concurrency: ClassVar[int] = 8

    def __init__(self, script: Iterable[ProviderError | Response | float]) -> None:
        self._script = iter(script)

    async def __aenter__(self) -> ScriptedProvider:
        return self

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def complete(self, request: Request) -> Response:
        outcome = next(self._script, ANSWER)
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
            return ANSWER
        await asyncio.sleep(0.01)
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    async def models(self) -> list[str]:
        return ["m-1"]


class RecordingLog:
    def __init__(self) -> None:
        self.told: list[str] = []

    def sent(self, request: Request, *, tokens: int) -> None:
        self.told.append(f"sent {request.attempt_id}")

    def missed(self, request: Request, failure: Failure) -> None:
        self.told.append(f"missed {request.attempt_id}: {failure.error}")


def spans_of(
    script: Iterable[ProviderError | Response | float],
    scenario: Scenario,
    *,
    endpoint: Endpoint = ENDPOINT,
    log: RecordingLog | None = None,
    sampler: Sampler | None = None,
    **options: Any,
) -> list[ReadableSpan]:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False, sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(kept))

    async def run() -> None:
        async with Tracing(provider.get_tracer("test")).dispatcher(
            endpoint,
            ScriptedProvider(script),
            backoff=Backoff(attempts=3),
            on_retry=lambda code: None,
            log=log or RecordingLog(),
            epoch=1,
            max_concurrency=8,
            **options,
        ) as dispatcher:
            await scenario(dispatcher)

    run_in_virtual_time(run())
    return list(kept.get_finished_spans())


async def one(dispatcher: Dispatcher) -> Response | Failure:
    return await dispatcher.dispatch(REQUEST)


def test_an_answer_leaves_a_span_by_the_conventions() -> None:
    [span] = spans_of([ANSWER], one)
    assert span.name == "chat m-1"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent is None
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m-1",
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 7,
        "gen_ai.response.model": "m-1-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "api.openai.com",
        "server.port": 443,
        "weave_async.endpoint": "fast",
        "weave_async.request.id": "id",
        "weave_async.attempt.id": "id-1.1",
        "weave_async.attempts": 1,
    }


def test_all_names_are_those_of_the_conventions_or_our_own() -> None:
    request = replace(REQUEST, num_choices=2, schema={"type": "object"}, api="completions")
    params = replace(PARAMS, top_k=4, presence_penalty=0.1, frequency_penalty=0.2)
    request = replace(request, params=params)
    failing = [RequestRefusedError("no", status_code=400)]
    spans = spans_of([ANSWER, *failing], lambda it: asyncio.gather(it.dispatch(request), one(it)))
    modules = (gen_ai_attributes, error_attributes, server_attributes)
    known = {
        value for module in modules for value in vars(module).values() if isinstance(value, str)
    }
    used = {name for span in spans for name in span.attributes or {}}
    assert {name for name in used if not name.startswith("weave_async.")} <= known
    [asked_for_two] = [span for span in spans if "choice" in str(span.attributes)]
    assert asked_for_two.name == "text_completion m-1"


def test_what_is_tried_again_is_one_span_with_its_failures_as_events() -> None:
    script = [ServerError("boom", status_code=503), RateLimitError("slow", status_code=429)]
    [span] = spans_of(script, one)
    assert span.status.status_code is StatusCode.UNSET
    told = [(event.name, dict(event.attributes or {})) for event in span.events]
    assert [name.removeprefix("weave_async.attempt.") for name, _ in told] == [
        *("failed", "sent", "failed", "sent")
    ]
    failures = [attributes for name, attributes in told if name.endswith("failed")]
    assert failures == [
        {
            "error.type": "server",
            "http.response.status_code": 503,
            "weave_async.attempt.id": "id-1.1",
        },
        {
            "error.type": "rate_limit",
            "http.response.status_code": 429,
            "weave_async.attempt.id": "id-1.2",
        },
    ]
    assert (span.attributes or {})["weave_async.attempts"] == 3
    assert (span.attributes or {})["weave_async.attempt.id"] == "id-1.3"


def test_whoever_has_a_span_open_has_requests_beneath_it() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("theirs")

    async def scenario(dispatcher: Dispatcher) -> None:
        with tracer.start_as_current_span("theirs"):
            await one(dispatcher)

    [span] = spans_of([ANSWER], scenario)
    assert span.parent is not None


def test_a_failure_is_told_by_its_type() -> None:
    refusal = RequestRefusedError(f"cannot take {ASKED}", status_code=400)
    [span] = spans_of([refusal], one)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert (span.attributes or {})["error.type"] == "request_refused"
    assert "gen_ai.usage.input_tokens" not in (span.attributes or {})


def test_nothing_that_was_asked_or_said_is_in_a_span() -> None:
    script = [
        ServerError(f"you asked {ASKED}, and I said {SAID}"),
        replace(ANSWER, reasoning=SAID),
        RequestRefusedError(f"cannot take {ASKED}"),
    ]
    spans = spans_of(script, lambda it: asyncio.gather(one(it), one(it)))
    assert len(spans) == 2
    assert "CANARY" not in "".join(span.to_json() for span in spans)


def test_a_request_that_is_cancelled_leaves_a_span_that_says_so() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        asking = asyncio.create_task(one(dispatcher))
        await asyncio.sleep(1)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()

    [span] = spans_of([60.0], scenario)
    assert (span.attributes or {})["error.type"] == "cancelled"


def test_a_request_that_was_never_sent_leaves_no_span() -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        dispatcher.stop()
        asking = asyncio.create_task(one(dispatcher))
        await asyncio.wait([asking])
        assert asking.exception() is not None

    assert spans_of([], scenario) == []


def test_the_log_is_told_all_that_it_is_told_without_spans() -> None:
    logs = {"own": RecordingLog(), "another": RecordingLog()}
    tries = Tries(logs["another"])

    async def scenario(dispatcher: Dispatcher) -> None:
        await dispatcher.dispatch(REQUEST, tries)
        await one(dispatcher)

    spans = spans_of([ServerError("boom"), ANSWER, ANSWER], scenario, log=logs["own"])
    assert len(spans) == 2
    assert logs["another"].told == ["sent id-1.1", "missed id-1.1: server", "sent id-1.2"]
    assert logs["own"].told == ["sent id-1.1"]
    assert tries.log is logs["another"]


def test_a_straggler_that_was_hedged_is_one_span() -> None:
    hedging = Hedging(1.0, most=1.0)
    [span] = spans_of([60.0, ANSWER], one, hedging=hedging)
    assert hedging.num_won == 1
    assert (span.attributes or {})["weave_async.attempts"] == 2
    assert (span.attributes or {})["weave_async.attempt.id"] == "id-1.2"
    types = [(event.attributes or {}).get("error.type") for event in span.events]
    assert types == [None, "hedged"]


@pytest.mark.parametrize(("sampler", "least", "most"), [(ALWAYS_OFF, 0, 0), (0.5, 50, 150)])
def test_each_request_is_sampled_by_itself(sampler: Any, least: int, most: int) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        outcomes = await asyncio.gather(*(one(dispatcher) for _ in range(200)))
        assert Counter(outcomes) == {ANSWER: 200}

    if isinstance(sampler, float):
        sampler = TraceIdRatioBased(sampler)
    assert least <= len(spans_of([], scenario, sampler=sampler)) <= most


def test_what_a_server_calls_its_model_drives_no_terminal() -> None:
    [span] = spans_of([replace(ANSWER, model="\x1b[31m" + "x" * 500)], one)
    shown = str((span.attributes or {})["gen_ai.response.model"])
    assert len(shown) <= 100
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("address", "preset", "name"),
    [
        ("https://api.openai.com/v1", None, "openai"),
        ("https://mine.openai.azure.com/openai/v1", "azure", "azure.ai.openai"),
        ("https://api.mistral.ai/v1", "mistral", "mistral_ai"),
        ("https://notopenai.com/v1", None, "openai_compatible"),
        ("http://127.0.0.1:8000/v1", "vllm", "vllm"),
        (None, None, "openai_compatible"),
    ],
)
def test_a_provider_is_known_by_its_address(
    address: str | None, preset: str | None, name: str
) -> None:
    endpoint = Endpoint("e", "openai_compatible", "m", preset=preset)
    assert provider_name_of(endpoint, address) == name


def test_presets_of_well_known_providers_bear_their_well_known_names() -> None:
    well_known = {each.value for each in gen_ai_attributes.GenAiProviderNameValues}
    named = {
        name: provider_name_of(Endpoint("e", "p", "m", preset=name), preset.base_url)
        for name, preset in PRESETS.items()
        if preset.base_url and "127.0.0.1" not in preset.base_url
    }
    assert {named[name] for name in ("openai", "anthropic", "groq", "mistral", "gemini")} <= (
        well_known
    )


def test_the_address_of_a_provider_without_one_is_left_out() -> None:
    [span] = spans_of([ANSWER], one, endpoint=replace(ENDPOINT, base_url=None))
    assert "server.address" not in (span.attributes or {})


def test_the_default_address_of_a_provider_counts() -> None:
    tracing = Tracing(TracerProvider(shutdown_on_exit=False).get_tracer("test"))
    provider = SimpleNamespace(default_base_url="http://127.0.0.1:8000/v1")
    dispatcher: Any = tracing.dispatcher(
        replace(ENDPOINT, base_url=None),
        provider,  # type: ignore[arg-type]
        backoff=Backoff(attempts=1),
        on_retry=lambda code: None,
        log=RecordingLog(),
        epoch=1,
    )
    assert dispatcher._spans._of_endpoint["server.port"] == 8000
