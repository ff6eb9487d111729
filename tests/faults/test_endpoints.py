"""N5 to N8, N10 to N13, N16, N20 and P14: an endpoint refuses, lies, hangs, or is gone."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from invariants import prompt_of, read_rows
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_completion,
    echo,
    error_reply,
    json_reply,
)

from .site import Answering, Site

CONCURRENCY = 8


def slowly(request: RecordedRequest) -> Reply:
    return replace(echo(request), head_delay_s=0.01)


def failing_after(num_answers: int, refusal: Reply) -> Answering:
    """Answers so many requests, and refuses all others."""
    num_asked = 0

    def answer(request: RecordedRequest) -> Reply:
        nonlocal num_asked
        num_asked += 1
        return slowly(request) if num_asked <= num_answers else refusal

    return answer


def prompt_number(request: RecordedRequest) -> int:
    return int(request.body["messages"][-1]["content"].split()[-1])


# --- N5 and N6: refusals that trying again does not mend -----------------------------------------


@pytest.mark.parametrize(
    ("refusal", "exit_code"),
    [
        (error_reply(401, "bad key"), 77),
        (error_reply(403, "not allowed"), 77),
        (error_reply(402, "pay first"), 78),
        (error_reply(429, "you exceeded your current quota", code="insufficient_quota"), 78),
    ],
    ids=["401", "403", "402", "insufficient_quota"],
)
def test_an_account_that_is_refused_stops_the_run_and_costs_no_row(
    site: Site, refusal: Reply, exit_code: int
) -> None:
    num_answered = 40
    site.answer = failing_after(num_answered, refusal)
    site.write_rows(200)
    stopped = site.call("-c", str(CONCURRENCY))
    assert stopped.exit_code == exit_code, stopped.err
    assert len(stopped.asked) <= num_answered + 1 + CONCURRENCY + 3
    assert stopped.summary["failed"] == 0
    assert stopped.summary["written"] == num_answered
    assert stopped.summary["pending"] == 200 - num_answered
    site.answer = echo
    assert site.call().exit_code == 0


def test_a_refused_account_is_told_how_to_go_on(site: Site) -> None:
    site.answer = failing_after(10, error_reply(402, "pay first"))
    site.write_rows(40)
    for_people = site.arguments()[:-1]
    stopped = site.start_command([sys.executable, "-m", "weave_async.cli", *for_people]).end()
    assert stopped.exit_code == 78
    assert "run the same command again to continue" in stopped.out
    assert "pay first" in stopped.err


REFUSALS = {
    "400": error_reply(400, "no such parameter"),
    "422": error_reply(422, "unprocessable"),
    "413": error_reply(413, "too large"),
    "context": error_reply(400, "too long", code="context_length_exceeded"),
    "filter": error_reply(400, "filtered", code="content_filter"),
}


def test_a_refused_row_ends_with_one_request_and_costs_no_other(site: Site) -> None:
    refusals = {10 + 7 * i: refusal for i, refusal in enumerate(REFUSALS.values())}
    site.answer = lambda request: refusals.get(prompt_number(request)) or echo(request)
    site.write_rows(60)
    ended = site.call("-c", str(CONCURRENCY))
    assert ended.exit_code == 1
    assert Counter(ended.asked) == Counter(f"row {i}" for i in range(60))
    failed = {prompt_of(row): row for row in read_rows(site.out / "failed.jsonl")}
    assert set(failed) == {f"row {i}" for i in refusals}
    assert {row["attempts"] for row in failed.values()} == {1}
    assert [failed[f"row {i}"]["error"] for i in sorted(refusals)][-2:] == [
        "context_length",
        "content_filter",
    ]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_an_endpoint_that_refuses_the_first_rows_all_alike_is_left(
    site: Site, refusal: Reply
) -> None:
    site.answer = lambda request: replace(refusal, head_delay_s=0.01)
    site.write_rows(200)
    ended = site.call("-c", str(CONCURRENCY))
    assert ended.exit_code == 65, ended.err
    assert 20 <= len(ended.asked) <= 20 + CONCURRENCY
    assert ended.summary["pending"] >= 200 - len(ended.asked)


# --- N7, N8, N10 to N12: faults that pass --------------------------------------------------------


def test_one_request_in_ten_that_fails_costs_no_row(site: Site) -> None:
    num_rows, kinds = (
        2000,
        [
            error_reply(500),
            error_reply(503),
            Reply(body=b"{}", cut_after=1, reset=True),
            error_reply(502),
        ],
    )
    num_asked = 0

    def answer(request: RecordedRequest) -> Reply:
        nonlocal num_asked
        num_asked += 1
        is_faulty = num_asked % 10 == 0
        return kinds[num_asked // 10 % len(kinds)] if is_faulty else slowly(request)

    site.answer = answer
    site.write_rows(num_rows)
    ended = site.run("-c", "32")
    assert ended.exit_code == 0, ended.err
    assert ended.summary["written"] == num_rows
    assert len(ended.asked) <= 1.13 * num_rows


@pytest.mark.parametrize("is_answered_by", ["nobody", "a_door_that_shuts"])
def test_an_outage_costs_no_row_and_few_requests(site: Site, is_answered_by: str) -> None:
    """In real time, for some seconds; in virtual time it lasts two minutes."""
    outage_s, num_rows = 2.5, 600
    site.answer = slowly
    site.recipe["generate"]["attempts"] = 3  # they would be spent long before it is over
    site.write_rows(num_rows)
    process = site.start("-c", str(CONCURRENCY))
    process.wait_until_asked(100)
    with site.endpoint_gone() as port:
        if is_answered_by == "nobody":
            time.sleep(outage_s)
        else:
            assert 0 < count_knocks(port, outage_s) <= CONCURRENCY + 60
    ended = process.end()
    assert ended.exit_code == 0, ended.err
    assert ended.summary["failed"] == 0
    assert ended.summary["written"] == num_rows
    assert ended.elapsed_s < outage_s + 20


def count_knocks(port: int, for_s: float) -> int:
    """Connections to ``port``; each is reset at once."""
    until_s, num_knocks = time.monotonic() + for_s, 0
    with socket.create_server(("127.0.0.1", port)) as door:
        while (left_s := until_s - time.monotonic()) > 0:
            door.settimeout(left_s)
            with contextlib.suppress(TimeoutError):
                knocking, _ = door.accept()
                knocking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                knocking.close()
                num_knocks += 1
    return num_knocks


MISBEHAVIOURS: dict[str, Callable[[Reply], Reply]] = {
    "hangs before the head": lambda reply: replace(reply, head_delay_s=60.0),
    "hangs before the body": lambda reply: replace(reply, body_delay_s=60.0),
    "cuts the body": lambda reply: replace(reply, cut_after=40),
    "resets in the body": lambda reply: replace(reply, cut_after=40, reset=True),
    "promises a longer body": lambda reply: replace(reply, content_length=10**6, close_after=True),
    "closes unannounced": lambda reply: replace(reply, close_after=True),
    "sends no HTTP": lambda reply: Reply(raw=b"\x16\x03\x01 what is this\r\n\r\n"),
    "drips": lambda reply: replace(reply, body=[b" ", 0.3] * 30),
}


def test_whatever_happens_to_one_attempt_the_next_one_brings_the_answer(site: Site) -> None:
    """N10, N11, N12: each misbehaviour ends within its limit, and gives its slot back."""
    faults = list(MISBEHAVIOURS.values())
    seen: Counter[int] = Counter()

    def answer(request: RecordedRequest) -> Reply:
        number = prompt_number(request)
        seen[number] += 1
        is_faulty = number % 3 == 0 and seen[number] == 1
        return faults[number // 3 % len(faults)](echo(request)) if is_faulty else echo(request)

    site.environment |= {"WEAVE_ASYNC_TIMEOUT_S": "0.5", "WEAVE_ASYNC_DEADLINE_S": "1.5"}
    site.answer = answer
    site.write_rows(6 * len(faults))
    ended = site.run("-c", "4", python=("-X", "dev"))
    assert ended.exit_code == 0, ended.err
    assert ended.summary["written"] == 6 * len(faults)
    texts = [row["messages"][-1]["content"] for row in read_rows(site.out / "samples.jsonl")]
    assert all(text.startswith(f"You said: row {i} I repeat") for i, text in enumerate(texts))
    assert len({text.partition("I repeat")[2] for text in texts}) == 1
    assert max(seen.values()) <= 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_key_nowhere(site: Site, status: int) -> None:
    with ScriptedEndpoint() as foreign:
        headers = {"location": f"{foreign.base_url}/chat/completions"}
        site.answer = lambda request: Reply(status=status, headers=headers)
        site.write_rows(20)
        ended = site.call("-c", "2")
        assert ended.exit_code == 78
        assert foreign.requests == []
    assert ended.summary["pending"] == 20
    assert "BASE_URL" in ended.err or "base_url" in ended.err


# --- N13: a 200 that is no answer ----------------------------------------------------------------


def document(**changes: Any) -> dict[str, Any]:
    return {**chat_completion("fine"), **changes}


def choice(**changes: Any) -> dict[str, Any]:
    whole = chat_completion("fine")
    return {**whole, "choices": [{**whole["choices"][0], **changes}]}


NO_ANSWERS: dict[str, Any] = {
    "html": b"<html><body>504 Gateway Time-out</body></html>",
    "nothing": b"",
    "blank": b"\n\n  \n",
    "empty object": {},
    "list": [],
    "null": None,
    "number": 7,
    "text": "fine",
    "cut JSON": b'{"choices": [{"message": {"content": "fi',
    "NaN": b'{"choices": NaN}',
    "too deep": b"[" * 100_000,
    "no choices": document(choices=[]),
    "null choices": document(choices=None),
    "choices are a text": document(choices="fine"),
    "a choice is null": document(choices=[None]),
    "choices are missing": {k: v for k, v in chat_completion("x").items() if k != "choices"},
    "error in a 200": {"error": {"message": "overloaded", "code": 503}},
    "error as text in a 200": {"error": "overloaded"},
    "finish reason error": choice(finish_reason="error"),
    "an event stream": b'data: {"choices": []}\n\ndata: [DONE]\n\n',
    "a server's own page": b"OK",
}
ANSWERS: dict[str, Any] = {
    "byte-order mark": b"\xef\xbb\xbf" + json.dumps(document()).encode(),
    "blank lines before": b"\n\n\n" + json.dumps(document()).encode(),
    "no usage": {k: v for k, v in chat_completion("fine").items() if k != "usage"},
    "null usage": document(usage=None),
    "usage of texts": document(usage={"prompt_tokens": "many", "completion_tokens": []}),
    "negative usage": document(usage={"prompt_tokens": -5, "completion_tokens": -1}),
    "usage beyond all bounds": json.dumps(
        document(usage={"prompt_tokens": 10**30, "completion_tokens": 1})
    ).encode(),
    "unknown finish reason": choice(finish_reason="because"),
    "null finish reason": choice(finish_reason=None),
    "finish reason is a number": choice(finish_reason=3),
    "unknown keys": document(mystery={"a": [1]}, model=None, id=None),
}
"""Odd, but what was asked for is in them."""
DAMAGED: dict[str, Any] = {
    "bad UTF-8": b'{"choices": [{"message": {"content": "caf\xff"}}]}',
    "latin-1": '{"choices": [{"message": {"content": "café"}}]}'.encode("latin-1"),
    "lone surrogate": b'{"choices": [{"message": {"content": "caf\\ud83d"}}]}',
}
"""What cannot be read in them is written as U+FFFD."""
EMPTY: dict[str, Any] = {
    "no message": choice(message=None),
    "message is a text": choice(message="fine"),
    "content is a number": choice(message={"role": "assistant", "content": 7}),
    "content is an object": choice(message={"role": "assistant", "content": {"a": 1}}),
    "null content": choice(message={"role": "assistant", "content": None}),
    "empty content": choice(message={"role": "assistant", "content": ""}),
    "blank content": choice(message={"role": "assistant", "content": " \n"}),
}


def test_a_200_that_is_no_answer_is_never_written(site: Site) -> None:
    bodies = [*NO_ANSWERS.items(), *EMPTY.items(), *ANSWERS.items(), *DAMAGED.items()]
    prompts = [f"row {i}" for i in range(0, 3 * len(bodies), 3)]

    def answer(request: RecordedRequest) -> Reply:
        number = prompt_number(request)
        if number % 3:
            return echo(request)
        body = bodies[number // 3][1]
        headers = {"content-type": "application/json"}
        return Reply(headers=headers, body=body) if isinstance(body, bytes) else json_reply(body)

    site.answer = answer
    site.recipe["generate"]["attempts"] = 1
    site.write_rows(3 * len(bodies))
    ended = site.run("-c", "1", python=("-X", "dev"))
    assert ended.exit_code == 1, ended.err
    ends = {
        prompt_of(row): (name, row)
        for name in ("samples", "rejected", "failed")
        for row in read_rows(site.out / f"{name}.jsonl")
    }
    came_to = {name: ends[prompt] for (name, _), prompt in zip(bodies, prompts, strict=True)}
    expected = {
        **dict.fromkeys(NO_ANSWERS, "failed"),
        **dict.fromkeys(EMPTY, "rejected"),
        **dict.fromkeys(ANSWERS | DAMAGED, "samples"),
    }
    wrong = {name: came_to[name] for name in expected if came_to[name][0] != expected[name]}
    assert not wrong
    errors = {came_to[name][1]["error"] for name in NO_ANSWERS}
    assert errors == {"bad_response", "server"}
    assert {came_to[name][1]["reason"] for name in EMPTY} == {"empty"}
    said = {name: came_to[name][1]["messages"][-1]["content"] for name in ANSWERS | DAMAGED}
    assert said == {**dict.fromkeys(ANSWERS, "fine"), **dict.fromkeys(DAMAGED, "caf\ufffd")}
    assert ended.summary["written"] == 2 * len(bodies) + len(ANSWERS | DAMAGED)


# --- N20 and P14: limits of our own --------------------------------------------------------------


def test_few_files_lower_the_concurrency_and_cost_no_row(site: Site) -> None:
    site.answer = lambda request: replace(echo(request), head_delay_s=0.1)
    site.write_rows(600)
    few = (128, 128)
    ended = site.run("-c", "2000", in_child=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few))
    assert ended.exit_code == 0, ended.err
    assert ended.summary["written"] == 600
    assert ended.summary["retries"] == {}
    assert "ulimit -n" in ended.err


def test_tokens_are_spent_up_to_the_budget_and_no_further(site: Site) -> None:
    site.budget_tokens = 4000
    site.recipe["budget"] = {"tokens": site.budget_tokens}
    site.answer = slowly
    site.write_rows(1000)
    ended = site.run("-c", str(CONCURRENCY))
    assert ended.exit_code == 1, ended.err
    assert "budget" in ended.err
    assert ended.summary["failed"] == 0
    assert ended.summary["pending"] > 500
    site.recipe["budget"] = {"tokens": 1_000_000}
    site.budget_tokens = 1_000_000
    assert site.run("-c", str(CONCURRENCY)).exit_code == 0
