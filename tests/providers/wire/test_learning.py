"""What an endpoint takes: said beforehand, or learned."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from one_request import REQUEST, endpoint_at, use
from providers.openai_compatible import OpenAICompatibleProvider
from providers.wire.capabilities import PLAIN, Capabilities
from providers.wire.learning import Lessons, capabilities_of
from providers.wire.refusals import REQUIRED, refused_fields
from weave_async.dispatch import Dispatcher
from weave_async.errors import RecipeError, RequestRefusedError
from weave_async.flow.retry import Backoff
from weave_async.records import Failure, Request, Response, SamplingParams
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    echo,
    error_reply,
)
from wire_shapes import ANY_JSON

SENT = ("model", "messages", "max_tokens", "temperature", "seed", "n", "response_format", "stop")


def test_endpoint_says_what_it_takes_in_its_options() -> None:
    said = {"max_tokens_field": "max_completion_tokens", "lacks": ["seed"]}
    expected = Capabilities("max_completion_tokens", "json_schema", frozenset({"seed"}))
    assert capabilities_of(endpoint_at(None), said) == expected
    assert capabilities_of(endpoint_at(None), {}) is PLAIN
    request = replace(REQUEST, params=SamplingParams(max_tokens=7, seed=1))
    with ScriptedEndpoint() as server:
        use(server.base_url, lambda p: p.complete(request), options={"capabilities": said})
    assert set(server.requests[0].body) == {"model", "messages", "max_completion_tokens"}


def test_preset_says_what_its_service_takes_and_an_option_wins() -> None:
    endpoint = replace(endpoint_at("https://host/v1"), preset="openai")
    known = capabilities_of(endpoint, {})
    assert known.max_tokens_field == "max_completion_tokens"
    said = capabilities_of(endpoint, {"lacks": ["seed"]})
    assert said == replace(known, lacks=frozenset({"seed"}))
    assert capabilities_of(replace(endpoint, preset="somebody else's"), {}) is PLAIN


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"lack": ["n"]}, r"'test': option capabilities\.lack: .*got \['n'\]"),
        ({"response_format": "xml"}, r"option capabilities\.response_format: .*got 'xml'"),
        ({"lacks": 7}, r"option capabilities\.lacks: .*got 7"),
        ([1], "endpoint 'test': option capabilities: Input should be a valid dictionary"),
    ],
)
def test_capabilities_that_there_are_none_of_are_refused(said: Any, complaint: str) -> None:
    endpoint = endpoint_at("https://host/v1", options={"capabilities": said})
    with pytest.raises(RecipeError, match=complaint):
        OpenAICompatibleProvider(endpoint)


def test_old_completions_api_keeps_max_tokens() -> None:
    said = {"capabilities": {"max_tokens_field": "max_completion_tokens"}}
    request = replace(REQUEST, api="completions", params=SamplingParams(max_tokens=7))
    with ScriptedEndpoint() as server:
        use(server.base_url, lambda p: p.complete(request), options=said)
    assert server.requests[0].body["max_tokens"] == 7


def test_request_that_is_refused_for_a_field_loses_no_attempt() -> None:
    """Through dispatch: one row, one attempt allowed, three fields that are not taken."""
    refused = ("temperature", "seed", "max_tokens")

    def script(request: RecordedRequest) -> Reply:
        for field in refused:
            if request.method == "POST" and field in request.body:
                return error_reply(400, f"Unsupported parameter: '{field}'")
        return echo(request)

    async def scenario(base_url: str) -> list[Response | Failure]:
        endpoint = endpoint_at(base_url)
        async with Dispatcher(
            endpoint,
            OpenAICompatibleProvider(endpoint),
            backoff=Backoff(attempts=1),
            on_retry=lambda code: None,
            log=Deaf(),
            epoch=1,
        ) as dispatcher:
            params = SamplingParams(max_tokens=7, temperature=0.5, seed=1)
            request = replace(REQUEST, params=params)
            return [await dispatcher.dispatch(request) for _ in range(2)]

    with ScriptedEndpoint(script) as server:
        outcomes = asyncio.run(scenario(server.base_url))
    assert [type(outcome) for outcome in outcomes] == [Response, Response]
    posted = [request.body for request in server.requests if request.method == "POST"]
    assert len(posted) == 3 + 1 + 1
    assert set(posted[-1]) == {"model", "messages", "max_completion_tokens"}


class Deaf:
    def sent(self, request: Request, *, tokens: int) -> None: ...
    def missed(self, request: Request, failure: Failure) -> None: ...


@given(ANY_JSON | st.text())
def test_no_refusal_breaks_the_reader_or_costs_what_every_request_needs(document: Any) -> None:
    refused = refused_fields(json.dumps(document).encode(), SENT)
    assert set(refused) <= set(SENT) - REQUIRED


@given(st.binary())
@example(b"N=")
def test_no_bytes_break_the_reader_of_refusals(body: bytes) -> None:
    assert set(refused_fields(body, SENT)) <= set(SENT) - REQUIRED


PROMPT = "Why am I told \"Unsupported parameter: 'temperature'\", and that seed is not supported?"
ASKED = {
    "model": "m",
    "messages": [{"role": "user", "content": PROMPT}],
    "max_tokens": 7,
    "temperature": 9,
    "seed": 1,
    "n": 2,
    "response_format": {"type": "json_schema"},
}


@pytest.mark.parametrize(
    "refusal",
    [
        f"temperature must be at most 2. You asked: {PROMPT}",
        f"temperature must be at most 2. You asked: {PROMPT[:60]}...",
        f"[{{'type': 'value_error', 'msg': 'temperature is too high', 'input': {ASKED}}}]",
        f"temperature: too high [type=less_than_equal, input_value={ASKED}, input_type=dict]",
        f"temperature is too high in {json.dumps(ASKED)}",
        f"temperature is too high in {json.dumps(json.dumps(ASKED))}",
        f"temperature is too high in {ASKED}",
        "N=",
    ],
)
def test_what_a_refusal_repeats_of_the_request_costs_no_field(refusal: str) -> None:
    """Else one row's words, or one bad value, would cost all rows a parameter."""
    assert refused_fields(json.dumps({"error": {"message": refusal}}).encode(), ASKED) == []


def test_what_a_refusal_says_before_it_repeats_the_request_counts() -> None:
    refusal = f"Unsupported parameter: 'seed'. You asked: {PROMPT}"
    assert refused_fields(json.dumps({"error": refusal}).encode(), ASKED) == ["seed"]


@pytest.mark.parametrize(
    "text",
    [
        "a," * 20_000,
        "'" * 20_000,
        "a" * 20_000,
        "unknown parameter " + "a, " * 9_000,
        "a and " * 9_000,
    ],
)
def test_long_refusals_are_read_in_no_time(text: str) -> None:
    started = time.process_time()
    refused_fields(text.encode(), SENT)
    assert time.process_time() - started < 1


def test_lessons_end() -> None:
    """However an endpoint contradicts itself, each refusal takes something away, or is told."""
    lessons = Lessons(PLAIN, endpoint="e", logger=logging.getLogger("test"))
    refusal = b'{"error": "Unsupported parameters: max_tokens, max_completion_tokens, seed, n"}'
    error = RequestRefusedError("no", status_code=400)
    sent: dict[str, Any] = {"model": "m", "seed": 1, "n": 2, "max_tokens": 9}
    outcomes = []
    for _ in range(4):
        outcomes.append(type(lessons.heard(error, refusal, sent)).__name__)
        capabilities = lessons.capabilities
        sent = {k: v for k, v in sent.items() if k not in capabilities.lacks}
        sent.pop("max_tokens", sent.pop("max_completion_tokens", None))
        sent[capabilities.max_tokens_field] = 9
    assert outcomes == ["FieldRefusedError"] * 2 + ["RequestRefusedError"] * 2
