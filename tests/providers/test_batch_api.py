"""The Batch API's wire: lines, replies and errors, as the provider reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from pydantic import SecretStr

from providers import batch_api
from providers.batch_api import OpenAIBatchApi
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import (
    AuthenticationError,
    BadResponseError,
    ConnectError,
    DeadlineError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ResponseTooLargeError,
    ServerError,
)
from weave_async.interfaces import BatchState
from weave_async.records import Endpoint, Message, Request, SamplingParams
from weave_async.testing.scripted_endpoint import (
    Reply,
    ScriptedEndpoint,
    chat_completion,
    error_reply,
    json_reply,
)

T = TypeVar("T")
KEY = "sk-canary-0123456789"
REQUEST = Request("r1", "m", (Message("user", "Why?"),), SamplingParams(max_tokens=9))


def api_of(base_url: str, **fields: Any) -> OpenAIBatchApi:
    endpoint = Endpoint("e", "p", "m", base_url=base_url, api_key=SecretStr(KEY), **fields)
    return OpenAICompatibleProvider(endpoint).batch_api()


def asked(reply: Reply, call: Callable[[OpenAIBatchApi], Awaitable[T]], **fields: Any) -> T:
    """What one call comes to that is answered so."""

    async def scenario() -> T:
        with ScriptedEndpoint([reply]) as endpoint:
            async with api_of(endpoint.base_url, **fields) as api:
                return await call(api)

    return asyncio.run(scenario())


def state_of(**fields: Any) -> BatchState:
    return asked(json_reply({"id": "b", "status": "completed", **fields}), lambda a: a.state("b"))


def line(**fields: Any) -> bytes:
    return orjson.dumps({"custom_id": "c", **fields})


def answered(status: int, body: Any) -> bytes:
    return line(response={"status_code": status, "body": body}, error=None)


offline = api_of("http://127.0.0.1:9/v1")


def test_a_request_line_holds_the_body_of_the_live_request() -> None:
    written = orjson.loads(offline.request_line(REQUEST, "c"))
    assert written == {
        "custom_id": "c",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "m",
            "messages": [{"role": "user", "content": "Why?"}],
            "max_tokens": 9,
        },
    }
    assert offline.custom_id_in(orjson.dumps(written)) == "c"


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b"null", b'{"custom_id": 7}', b"\xff"])
def test_a_line_of_nobody_has_no_name(bad: bytes) -> None:
    assert offline.custom_id_in(bad) is None


def test_an_answer_is_read_as_a_live_one() -> None:
    response = offline.response_in(answered(200, chat_completion("Because.")), REQUEST)
    assert (response.text, response.finish_reason) == ("Because.", "stop")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (19, 1)
    assert response.model == "scripted-model"


@pytest.mark.parametrize("status", ['"status_code": "200", ', '"status_code": 200.0, ', ""])
@pytest.mark.parametrize("beside", ["1e999", "NaN", "9" * 30, "[" * 300 + "]" * 300])
def test_an_answer_is_lifted_out_of_whatever_stands_around_it(status: str, beside: str) -> None:
    """It has been paid for."""
    completion = json.dumps(chat_completion("Because\ud83e."))[1:]
    body = f'{{"x": {beside}, {completion}'
    whole = f'{{"custom_id": "c", "response": {{{status}"body": {body}}}}}'
    assert offline.custom_id_in(whole.encode()) == "c"
    assert offline.response_in(whole.encode(), REQUEST).text == "Because\ufffd."


@pytest.mark.parametrize("bad_id", ["..", "."])
def test_an_id_that_would_lead_elsewhere_is_not_followed(bad_id: str, tmp_path: Path) -> None:
    for act in (lambda a: a.state(bad_id), lambda a: a.download(bad_id, tmp_path / "x")):
        with pytest.raises(RequestRefusedError, match="cannot be asked so"):
            asked(json_reply({}), act)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (answered(400, {"error": {"message": "no"}}), RequestRefusedError),
        (answered(429, {"error": {"message": "slow"}}), RateLimitError),
        (answered(429, {"error": {"code": "insufficient_quota"}}), QuotaError),
        (answered(500, None), ServerError),
        (answered(200, None), BadResponseError),
        (answered(200, {"choices": []}), BadResponseError),
        (answered(200, {"error": {"message": "inside", "code": 500}}), ServerError),
        (line(response=None, error={"code": "batch_expired", "message": "late"}), ServerError),
        (line(response=None, error=None), ServerError),
        (line(response=None, error="it died"), ServerError),
        (line(response=None, error={"code": ["x"], "message": {}}), ServerError),
        (line(response={"status_code": True}), ServerError),
        (line(response={"status_code": "200"}), BadResponseError),
        (line(response={"status_code": "429", "body": None}), RateLimitError),
        (line(), ServerError),
    ],
)
def test_what_is_no_answer_is_raised_as_what_it_is(bad: bytes, error: type[ProviderError]) -> None:
    with pytest.raises(ProviderError) as raised:
        offline.response_in(bad, REQUEST)
    assert type(raised.value) is error


def test_a_request_that_nobody_came_to_is_not_billed() -> None:
    with pytest.raises(ServerError) as raised:
        offline.response_in(line(error={"code": "batch_expired", "message": "late"}), REQUEST)
    assert not raised.value.may_be_billed
    assert raised.value.retryable


def test_a_state_has_its_counts_and_its_files() -> None:
    state = state_of(
        request_counts={"total": 5, "completed": 3, "failed": 2},
        output_file_id="o",
        error_file_id="e",
    )
    assert state == BatchState("completed", True, 5, 3, 2, ("o", "e"))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"request_counts": None, "output_file_id": None, "errors": None},
        {"request_counts": {"total": "5"}, "output_file_id": 7, "errors": {"data": None}},
        {"request_counts": [], "errors": []},
    ],
)
def test_a_state_of_odd_shape_is_read_as_far_as_it_goes(fields: dict[str, Any]) -> None:
    assert state_of(**fields) == BatchState("completed", True)


@pytest.mark.parametrize(
    ("status", "has_ended"),
    [("validating", False), ("in_progress", False), ("cancelling", False), ("expired", True)],
)
def test_only_an_end_is_an_end(status: str, has_ended: bool) -> None:
    assert state_of(status=status).has_ended is has_ended


def test_faults_name_their_line_and_what_they_amount_to() -> None:
    data = [
        {"code": "invalid", "line": 3, "message": "bad"},
        {"code": "token_limit_exceeded", "line": None, "message": "queue is full"},
        {"code": "insufficient_quota", "message": "no credit"},
        {"code": ["x"], "message": {"deep": [1]}},
    ]
    faults = state_of(status="failed", errors={"data": data}).faults
    assert [(number, type(error)) for number, error in faults] == [
        (3, RequestRefusedError),
        (None, RateLimitError),
        (None, QuotaError),
        (None, RequestRefusedError),
    ]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (error_reply(401, f"bad key {KEY}"), AuthenticationError),
        (error_reply(429, "slow"), RateLimitError),
        (error_reply(503, "later"), ServerError),
        (Reply(body=b"<html>hello</html>"), BadResponseError),
        (json_reply({"object": "batch"}), BadResponseError),
        (json_reply({"error": {"message": "inside", "code": 500}}), ServerError),
        (Reply(body=b"{", content_length=50, close_after=True, cut_after=1), ConnectError),
    ],
)
def test_errors_of_the_api_are_ours_and_hold_nothing_of_the_request(
    reply: Reply, error: type[ProviderError]
) -> None:
    with pytest.raises(ProviderError) as raised:
        asked(reply, lambda api: api.create("f", "chat", {}))
    assert type(raised.value) is error
    assert KEY not in str(raised.value)
    kept = raised.value.__cause__ or raised.value.__context__
    assert kept is None or isinstance(kept, ValueError)  # of the body; the SDK's hold the request


@pytest.mark.parametrize("status", [404, 405, 501])
def test_an_endpoint_that_takes_no_files_is_told_to_have_no_batch_api(
    status: int, tmp_path: Path
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"{}\n")
    with pytest.raises(ModelNotFoundError, match=r"has no batch API.*`mode: live`") as raised:
        asked(error_reply(status, "Not Found"), lambda api: api.upload(path))
    assert "/v1?" not in str(raised.value)
    assert not raised.value.retryable


def test_silence_and_drips_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeadlineError):
        asked(Reply(head_delay_s=30.0), lambda api: api.state("b"), timeout_s=0.1)
    monkeypatch.setattr(batch_api.OpenAIBatchApi._answered, "__defaults__", (0.2,))
    drip = Reply(body=[b" ", 0.1] * 100, framing="chunked")
    with pytest.raises(DeadlineError):
        asked(drip, lambda api: api.state("b"))


def test_a_download_is_whole_or_raises_and_is_capped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(Reply(body=b"one\ntwo\n"), lambda api: api.download("f", tmp_path / "whole"))
    assert (tmp_path / "whole").read_bytes() == b"one\ntwo\n"
    with pytest.raises(ConnectError):
        cut = Reply(body=b"one\ntwo\n", cut_after=5)
        asked(cut, lambda api: api.download("f", tmp_path / "cut"))
    monkeypatch.setattr(batch_api, "MAX_OUTPUT_BYTES", 5)
    with pytest.raises(ResponseTooLargeError):
        asked(Reply(body=b"one\ntwo\n"), lambda api: api.download("f", tmp_path / "large"))
    with pytest.raises(FileExistsError):
        asked(Reply(body=b"x"), lambda api: api.download("f", tmp_path / "whole"))


def test_a_batch_is_looked_for_no_further_back_than_it_can_be() -> None:
    old = {"id": "b", "created_at": 1000, "metadata": {"run": "1"}}
    newer = {"id": "n", "created_at": 9000, "metadata": None}
    page = json_reply({"data": [newer, old], "has_more": True})
    assert asked(page, lambda api: api.find({"run": "1"}, since=2000.0)) == "b"
    last = json_reply({"data": [old], "has_more": True})

    async def scenario() -> tuple[str | None, int]:
        with ScriptedEndpoint([page, last]) as endpoint:
            async with api_of(endpoint.base_url) as api:
                return await api.find({"run": "2"}, since=9000.0), len(endpoint.requests)

    assert asyncio.run(scenario()) == (None, 2)


def test_a_batch_is_found_in_a_list_that_begins_with_the_oldest() -> None:
    """Not every server lists as OpenAI does; a batch that is overlooked is bought again."""
    batches = [
        {"id": f"b{number}", "created_at": 1000 * number, "metadata": {"run": str(number)}}
        for number in range(30)
    ]
    listed = json_reply({"data": batches, "has_more": False})
    assert asked(listed, lambda api: api.find({"run": "29"}, since=29_000.0)) == "b29"
