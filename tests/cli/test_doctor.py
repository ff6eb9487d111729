"""``doctor``: what it finds at an endpoint, what a person sees of it, and what it ends with."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    Script,
    ScriptedEndpoint,
    chat_chunks,
    chat_reply,
    echo,
    error_reply,
    json_reply,
    sse_reply,
)

from .conftest import Outcome, Program

KEY = "sk-canary-123"
LIMITS = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "10000",
    "x-ratelimit-remaining-tokens": "9980",
    "x-ratelimit-reset-tokens": "6s",
}


def models_reply(*models: dict[str, Any], **options: Any) -> Reply:
    return json_reply({"object": "list", "data": list(models)}, **options)


def http_date(offset_s: float = 0.0) -> dict[str, str]:
    moment = datetime.fromtimestamp(time.time() + offset_s, UTC)
    return {"date": format_datetime(moment, usegmt=True)}


def healthy(request: RecordedRequest) -> Reply:
    if request.path.endswith("/models"):
        return models_reply({"id": "m", "max_model_len": 32768}, headers=http_date())
    if request.body.get("stream"):
        return sse_reply(chat_chunks("OK then."))
    return chat_reply('{"ok": true}', headers=LIMITS)


def but(change: Callable[[RecordedRequest], Reply | None], base: Script = healthy) -> Script:
    """The same endpoint, except where ``change`` has a reply of its own."""
    assert callable(base)
    return lambda request: change(request) or base(request)


@pytest.fixture
def examine(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[dict[str, Any], Outcome, list[RecordedRequest]]]:
    """Both forms of ``doctor`` on an endpoint with that script: the finding, and what is printed.

    Wherever the key has been printed, the test fails.
    """

    def run(
        script: Script, *arguments: str, tls: ssl.SSLContext | None = None, provider: str = ""
    ) -> tuple[dict[str, Any], Outcome, list[RecordedRequest]]:
        with ScriptedEndpoint(script, ssl_context=tls) as endpoint:
            monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", provider or "openai_compatible")
            monkeypatch.setenv("WEAVE_ASYNC_MODEL", "m")
            monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
            monkeypatch.setenv("WEAVE_ASYNC_API_KEY", KEY)
            people = weave_async("doctor", *arguments)
            sent = list(endpoint.requests)
            machine = weave_async("doctor", "--json", *arguments)
        [finding] = json.loads(machine.out)
        assert people.exit_code == machine.exit_code == finding["exit_code"]
        assert KEY not in people.out + people.err + machine.out + machine.err
        return finding, people, sent

    return run


def check(finding: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [check for check in finding["checks"] if check["name"] == name]
    assert isinstance(found, dict)
    return found


def states(finding: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in finding["checks"]}


Examine = Callable[..., tuple[dict[str, Any], Outcome, list[RecordedRequest]]]


def test_a_healthy_endpoint_is_ready_in_every_respect(examine: Examine) -> None:
    finding, people, sent = examine(healthy)
    assert people.exit_code == 0
    found = states(finding)
    assert found.pop("price") == "skipped"
    assert set(found.values()) == {"ok"}
    assert list(found) == [
        "reachable", "model", "clock", "key", "request", "usage", "limits", "streaming", "json",
        "fields",
    ]  # fmt: skip
    assert finding["models"] == {"m": 32768}
    assert finding["has_key"]
    assert finding["latency_s"] >= 0
    assert finding["ttft_s"] >= 0
    assert finding["rate_limits"]["limit_requests"] == 500
    assert finding["num_requests"] == 3
    for line in (
        "openai_compatible: ready",
        "m is listed, 32,768 tokens of context",
        "requests: 499 left of 500 until all are back in 0.12 s",
        "with usage",
        "the answer is JSON, as asked",
    ):
        assert line in people.out
    assert [request.method for request in sent] == ["GET", "POST", "POST", "POST"]


def test_the_requests_are_tiny(examine: Examine) -> None:
    _, _, sent = examine(healthy)
    for request in sent[1:]:
        assert request.body["max_tokens"] <= 32
        assert len(request.body["messages"][-1]["content"]) < 100


def test_only_what_is_free_is_asked_for_on_demand(examine: Examine) -> None:
    finding, people, sent = examine(healthy, "--free")
    assert people.exit_code == 0
    assert {request.method for request in sent} == {"GET"}
    assert check(finding, "request")["state"] == "skipped"


def test_a_refused_key_is_77_and_names_the_variable(examine: Examine) -> None:
    finding, people, sent = examine(lambda _: error_reply(401, f"Incorrect API key: {KEY}"))
    assert people.exit_code == 77
    assert states(finding) == {"reachable": "ok", "key": "failed"}
    assert "NOT READY" in people.out
    assert "set WEAVE_ASYNC_API_KEY or OPENAI_API_KEY" in people.out
    assert len(sent) == 1


def test_a_key_that_only_the_list_of_models_takes_is_refused_all_the_same(
    examine: Examine,
) -> None:
    finding, people, _ = examine(
        but(lambda r: error_reply(401, "no") if r.method == "POST" else None)
    )
    assert people.exit_code == 77
    assert check(finding, "key")["state"] == "failed"


@pytest.mark.parametrize(
    ("reply", "exit_code", "advice"),
    [
        (error_reply(429, "slow down"), 75, "--rpm"),
        (error_reply(429, "no money", "insufficient_quota"), 78, "top up"),
        (error_reply(402, "no money"), 78, "top up"),
        (error_reply(404, "no model m", "model_not_found"), 78, "--model"),
        (error_reply(500, "oops"), 69, None),
        (error_reply(400, "no"), 65, "is this a model that chats?"),
    ],
    ids=["429", "quota", "402", "no model", "500", "400"],
)
def test_a_request_that_fails_ends_as_a_run_would(
    examine: Examine, reply: Reply, exit_code: int, advice: str | None
) -> None:
    finding, people, sent = examine(but(lambda r: reply if r.method == "POST" else None))
    assert people.exit_code == exit_code
    assert check(finding, "request")["state"] == "failed"
    assert advice is None or advice in people.out
    assert len(sent) == 2


def test_a_certificate_that_is_not_trusted_is_78_and_names_the_setting(examine: Examine) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    finding, people, sent = examine(healthy, tls=context)
    assert people.exit_code == 78
    assert states(finding) == {"reachable": "ok", "tls": "failed"}
    assert "SSL_CERT_FILE" in people.out
    assert sent == []


def test_a_certificate_that_is_trusted_is_said_to_be(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    finding, people, _ = examine(healthy, tls=context)
    assert people.exit_code == 0
    assert check(finding, "tls")["state"] == "ok"


@pytest.mark.parametrize("reply", [error_reply(404, "no such path"), error_reply(500, "oops")])
def test_an_endpoint_without_a_list_of_models_can_be_used(examine: Examine, reply: Reply) -> None:
    finding, people, _ = examine(but(lambda r: reply if r.method == "GET" else None))
    assert people.exit_code == 0
    assert check(finding, "models")["state"] == "warning"
    assert check(finding, "request")["state"] == "ok"


def test_a_model_that_is_not_listed_is_warned_of(examine: Examine) -> None:
    others = models_reply({"id": "other"})
    finding, people, _ = examine(but(lambda r: others if r.method == "GET" else None))
    assert people.exit_code == 0
    assert check(finding, "model")["state"] == "warning"
    assert "m is not listed" in people.out


@pytest.mark.parametrize(
    ("entry", "tokens"),
    [
        ({"id": "m", "max_model_len": 4096}, 4096),
        ({"id": "m", "context_length": 131072}, 131072),
        ({"id": "m", "context_window": 8192}, 8192),
        ({"id": "m", "max_context_length": 32000}, 32000),
        ({"id": "m", "meta": {"n_ctx_train": 2048, "n_ctx": 1024}}, 1024),
        ({"id": "m", "top_provider": {"context_length": 1000}}, 1000),
        ({"id": "m", "context_length": "many"}, None),
        ({"id": "m", "context_length": -1}, None),
        ({"id": ["m"], "name": "m", "context_window": 5}, 5),
    ],
)
def test_the_context_is_read_wherever_a_server_states_it(
    examine: Examine, entry: dict[str, Any], tokens: int | None
) -> None:
    listed = models_reply(entry)
    finding, _, _ = examine(but(lambda r: listed if r.method == "GET" else None), "--free")
    assert finding["models"] == {"m": tokens}


def test_a_stream_without_usage_is_told(examine: Examine) -> None:
    bare = sse_reply([c for c in chat_chunks("OK.") if not c["usage"]])
    finding, people, _ = examine(
        but(lambda r: bare if r.method == "POST" and r.body.get("stream") else None)
    )
    assert people.exit_code == 0
    assert check(finding, "streaming")["state"] == "warning"
    assert "no usage" in people.out


def test_an_endpoint_that_cannot_stream_can_be_used(examine: Examine) -> None:
    broken = sse_reply([], done=False)
    finding, people, _ = examine(
        but(lambda r: broken if r.method == "POST" and r.body.get("stream") else None)
    )
    assert people.exit_code == 0
    assert check(finding, "streaming")["state"] == "warning"


def test_answers_without_usage_are_told(examine: Examine) -> None:
    bare = json_reply({"choices": [{"message": {"content": "OK"}, "finish_reason": "stop"}]})
    finding, people, _ = examine(
        but(lambda r: bare if r.method == "POST" and not r.body.get("stream") else None)
    )
    assert people.exit_code == 0
    assert check(finding, "usage")["state"] == "warning"
    assert "none are stated" in check(finding, "limits")["says"]


def test_json_mode_that_is_refused_is_learned_and_told(examine: Examine) -> None:
    def without(request: RecordedRequest) -> Reply | None:
        if request.method == "POST" and "response_format" in request.body:
            return json_reply(
                {"error": {"message": "Unknown field", "param": "response_format"}}, 400
            )
        return None

    finding, people, sent = examine(but(without))
    assert people.exit_code == 0
    assert check(finding, "json")["state"] == "warning"
    assert "not taken:" in check(finding, "json")["says"]
    assert len(finding["learned"]) == 2  # json_schema, and then json_object
    asked = [request.body for request in sent if request.method == "POST"]
    assert "response_format" not in asked[-1]


def test_a_field_that_the_endpoint_names_otherwise_is_learned_and_told(examine: Examine) -> None:
    def newer(request: RecordedRequest) -> Reply | None:
        if request.method == "POST" and "max_tokens" in request.body:
            error = {"message": "Use max_completion_tokens.", "param": "max_tokens"}
            return json_reply({"error": {**error, "code": "unsupported_parameter"}}, 400)
        return None

    finding, people, sent = examine(but(newer))
    assert people.exit_code == 0
    assert check(finding, "fields")["says"] == "answers are bounded by max_completion_tokens"
    [lesson] = finding["learned"]
    assert "Use max_completion_tokens." in lesson
    assert "learned" in people.out
    asked = [request.body for request in sent if request.method == "POST"]
    assert [body.get("max_completion_tokens") for body in asked] == [None, 32, 32, 32]


def test_the_sdk_is_looked_at_in_the_same_way(examine: Examine) -> None:
    finding, people, _ = examine(healthy, provider="openai_sdk")
    assert people.exit_code == 0
    assert states(finding) == {
        "reachable": "ok", "model": "ok", "clock": "skipped", "price": "skipped", "key": "ok",
        "request": "ok", "usage": "ok", "limits": "ok", "streaming": "ok", "json": "ok",
    }  # fmt: skip


def test_the_local_server_is_started_looked_at_and_ended(
    weave_async: Program, tiny_folder: Path
) -> None:
    outcome = weave_async("doctor", "-p", "local", "-m", str(tiny_folder), "--json")
    [finding] = json.loads(outcome.out)
    assert outcome.exit_code == 0
    assert check(finding, "request")["state"] == "ok"
    assert check(finding, "usage")["state"] == "ok"
    assert "threads" in check(finding, "runs on")["says"]


@pytest.mark.parametrize(("offset_s", "way"), [(3600.0, "ahead of ours"), (-3600.0, "behind ours")])
def test_a_clock_that_is_an_hour_off_is_told(examine: Examine, offset_s: float, way: str) -> None:
    def late(request: RecordedRequest) -> Reply | None:
        if request.method == "GET":
            return models_reply({"id": "m"}, headers=http_date(offset_s))
        return None

    finding, people, _ = examine(but(late))
    assert people.exit_code == 0
    assert finding["clock_ahead_s"] == pytest.approx(offset_s, abs=20)
    assert check(finding, "clock")["state"] == "warning"
    assert way in people.out
    assert "NTP" in people.out


def test_a_key_that_the_server_repeats_is_never_shown(examine: Examine) -> None:
    def gossip(request: RecordedRequest) -> Reply:
        if request.method == "GET":
            return models_reply({"id": f"m-{KEY}"}, {"id": "m"})
        if request.body.get("stream"):
            return error_reply(400, f"your key {KEY} is nice")
        return json_reply(
            {
                "model": f"m {KEY}",
                "choices": [{"message": {"content": KEY}, "finish_reason": "stop"}],
            }
        )

    finding, people, _ = examine(gossip)  # which looks for the key
    assert finding["models"] == {"m-***": None, "m": None}
    assert "m-***" in people.out


def test_what_a_server_says_cannot_drive_the_terminal(examine: Examine) -> None:
    listed = models_reply({"id": "m\x1b]0;owned\x07"})
    _, people, _ = examine(but(lambda r: listed if r.method == "GET" else None), "--free")
    assert "\x1b" not in people.out
    assert "\x07" not in people.out


def test_nobody_there_is_69_and_names_the_flag(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "vllm")
    monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", "http://127.0.0.1:9/v1")
    outcome = weave_async("doctor")
    assert outcome.exit_code == 69
    assert "vllm: NOT READY" in outcome.out
    assert "Connection refused" in outcome.out
    assert "--base-url or WEAVE_ASYNC_BASE_URL" in outcome.out


def test_a_silent_endpoint_is_given_up(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave_async.probing.ANSWER_WITHIN_S", 0.3)
    finding, people, _ = examine(lambda _: Reply(head_delay_s=60))
    assert people.exit_code == 69
    assert states(finding) == {"reachable": "failed"}
    assert "no answer within 0.3 s" in people.out


def test_a_preset_is_named_with_its_ways(examine: Examine) -> None:
    finding, people, _ = examine(healthy, "--free", provider="mistral")
    assert (finding["provider"], finding["preset"]) == ("openai_compatible", "mistral")
    assert "openai_compatible (preset mistral)" in people.out
    assert "without seed, stream_options" in check(finding, "fields")["says"]


def test_a_service_whose_key_is_missing_is_78_and_others_are_still_looked_at(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedEndpoint(healthy) as endpoint:
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "groq")
        monkeypatch.setenv("WEAVE_ASYNC_ENDPOINTS__HERE__BASE_URL", endpoint.base_url)
        outcome = weave_async("doctor", "--json", "-m", "m")
    findings = {finding["endpoint"]: finding for finding in json.loads(outcome.out)}
    assert "set GROQ_API_KEY" in check(findings["groq"], "settings")["says"]
    assert findings["here"]["exit_code"] == 0
    assert outcome.exit_code == findings["groq"]["exit_code"] == 78


def test_every_endpoint_is_looked_at_and_one_that_is_away_fails_it(
    weave_async: Program, recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_ASYNC_ENDPOINTS__AWAY__BASE_URL", "http://127.0.0.1:9/v1")
    outcome = weave_async("doctor", str(recipe_file), "--json")
    findings = {finding["endpoint"]: finding for finding in json.loads(outcome.out)}
    assert findings["simulated"]["exit_code"] == 0
    assert findings["simulated"]["latency_s"] is not None
    assert "refused" in check(findings["away"], "reachable")["says"]
    assert outcome.exit_code == 69


def test_endpoints_are_looked_at_at_the_same_time(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[str] = []

    def script(request: RecordedRequest) -> Reply:
        """The first of the two is not answered before the other one has asked."""
        arrived.append(request.path)
        deadline_s = time.monotonic() + 20
        while len(set(arrived)) < 2 and time.monotonic() < deadline_s:
            return Reply(body=_once(lambda: len(set(arrived)) == 2, deadline_s))
        return models_reply({"id": "m"})

    with ScriptedEndpoint(script) as endpoint:
        root = endpoint.base_url.removesuffix("/v1")
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "simulated")
        for name in ("one", "two"):
            variable = f"WEAVE_ASYNC_ENDPOINTS__{name.upper()}__BASE_URL"
            monkeypatch.setenv(variable, f"{root}/{name}/v1")
        outcome = weave_async("doctor", "--free", "--json", "-m", "m")
    assert outcome.exit_code == 0
    assert {"/one/v1/models", "/two/v1/models"} == set(arrived)


def _once(happened: Callable[[], bool], deadline_s: float) -> Iterator[bytes | float]:
    """A list of models, as soon as it has happened."""
    while not happened():
        assert time.monotonic() < deadline_s
        yield 0.01
    yield b'{"data": [{"id": "m"}]}'


BROKEN = """
class Broken:
    default_max_concurrency = 1
    default_model = "m"
    environment_fallback = None
    def __init__(self, endpoint): pass
    async def __aenter__(self): return self
    async def __aexit__(self, *exc): raise OSError("cannot close")
    async def models(self): return ["m"]
    async def complete(self, request): raise KeyError("oh")
    async def stream(self, request): yield None
"""


def test_a_provider_that_breaks_its_promises_is_a_finding_and_no_traceback(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_provider.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    outcome = weave_async("doctor", "-p", "broken_provider:Broken", "--json")
    [finding] = json.loads(outcome.out)
    assert outcome.exit_code == 69
    assert "the provider raised KeyError" in check(finding, "request")["says"]


LEARNING = """
from weave_async.errors import FieldRefusedError
from weave_async.records import Chunk, Response, Usage

class Learning:
    default_max_concurrency = 1
    default_model = "m"
    environment_fallback = None
    def __init__(self, endpoint): self.taught = set()
    async def __aenter__(self): return self
    async def __aexit__(self, *exc): pass
    async def models(self): return ["m"]
    async def complete(self, request):
        field = "response_format" if request.schema else "max_tokens"
        if field not in self.taught:
            self.taught.add(field)
            raise FieldRefusedError(f"{field} is not taken")
        return Response("OK", "stop", usage=Usage(1, 1))
    async def stream(self, request):
        yield Chunk(text="OK", finish_reason="stop", usage=Usage(1, 1))
"""


def test_fields_that_are_refused_are_learned_and_told(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "learning_provider.py").write_text(LEARNING)
    monkeypatch.syspath_prepend(tmp_path)
    outcome = weave_async("doctor", "-p", "learning_provider:Learning", "--json")
    [finding] = json.loads(outcome.out)
    assert outcome.exit_code == 0
    assert finding["learned"] == ["max_tokens is not taken", "response_format is not taken"]
    assert check(finding, "json")["state"] == "warning"
    assert "not taken: response_format is not taken" in check(finding, "json")["says"]
    assert finding["num_requests"] == 5


def test_without_a_model_no_run_can_start_and_the_first_that_are_listed_are_told(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = models_reply(*({"id": name} for name in "abcdefg"))
    with ScriptedEndpoint(lambda r: several if r.method == "GET" else echo(r)) as endpoint:
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "vllm")
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
        outcome = weave_async("doctor")
    assert outcome.exit_code == 78
    assert "vllm: NOT READY" in outcome.out
    assert "a run needs one; listed: a, b, c, d, e and 2 more" in outcome.out
    assert "name one with --model" in outcome.out
    assert {request.method for request in endpoint.requests} == {"GET"}


def test_the_one_model_that_is_listed_is_looked_at_and_has_to_be_named_for_a_run(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedEndpoint(healthy) as endpoint:
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "vllm")
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
        [finding] = json.loads(weave_async("doctor", "--json").out)
    assert finding["model"] == "m"
    assert finding["exit_code"] == 78
    assert check(finding, "model")["state"] == "failed"
    assert check(finding, "model")["says"].endswith("listed: m")
    assert check(finding, "request")["state"] == "ok"


@pytest.mark.parametrize("listing", [error_reply(404, "no such path"), models_reply()])
def test_a_model_is_needed_too_where_none_are_listed(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch, listing: Reply
) -> None:
    with ScriptedEndpoint(lambda _: listing) as endpoint:
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "vllm")
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
        outcome = weave_async("doctor", "--json")
    [finding] = json.loads(outcome.out)
    assert outcome.exit_code == 78
    assert check(finding, "model")["state"] == "failed"


def test_a_model_that_only_the_source_names_is_the_one_of_the_run(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    row = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    Path("batch.jsonl").write_text(json.dumps(row) + "\n")
    Path("recipe.yaml").write_text("name: t\nprompts: {source: batch.jsonl}\n")
    with ScriptedEndpoint(healthy) as endpoint:
        monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "vllm")
        monkeypatch.setenv("WEAVE_ASYNC_BASE_URL", endpoint.base_url)
        outcome = weave_async("doctor", "recipe.yaml")
    assert outcome.exit_code == 0
    assert "m is listed" in outcome.out


def test_a_local_address_is_not_said_to_come_from_openai_s_variable(weave_async: Program) -> None:
    outcome = weave_async("doctor", "-p", "local", "--base-url", "http://127.0.0.1:9/v1")
    assert outcome.exit_code == 69
    assert "--base-url or WEAVE_ASYNC_BASE_URL" in outcome.out


@pytest.mark.parametrize("base_url", ["https://[::1/v1", "api.groq.com", "https://x.example:port"])
def test_an_address_that_is_none_is_78(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch, base_url: str
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    outcome = weave_async("doctor", "-p", "groq", "--base-url", base_url)
    assert outcome.exit_code == 78
    assert "base_url must be http(s)://host[:port][/path]" in outcome.out
    assert KEY not in outcome.out + outcome.err


def test_a_password_in_an_address_is_not_shown(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    address = "https://me:hunter2@x.example/v1?key=hunter2"
    outcome = weave_async("doctor", "-p", "groq", "--base-url", address)
    assert outcome.exit_code == 78
    assert "https://***@x.example/v1" in outcome.out
    assert "GROQ_API_KEY is sent to https://api.groq.com/openai/v1 only" in outcome.err
    assert "hunter2" not in outcome.out + outcome.err


def test_a_word_in_the_place_of_a_key_stays_a_word(
    weave_async: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_ASYNC_PROVIDER", "vllm")
    monkeypatch.setenv("WEAVE_ASYNC_API_KEY", "none")
    with ScriptedEndpoint(echo) as endpoint:
        outcome = weave_async("doctor", "--base-url", endpoint.base_url, "-m", "scripted-model")
    assert "none are stated" in outcome.out
