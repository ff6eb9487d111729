"""Rows on disk: the dataset, the rejects and the failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from weave_async.records import (
    Failure,
    NoiseEdit,
    Prompt,
    Rejection,
    Response,
    Sample,
    TextChange,
    Usage,
)
from weave_async.sinks.jsonl import JsonlSink
from weave_async.sinks.rows import failed_row, rejected_row

MakeSample = Callable[..., Sample]


def test_a_row_is_a_conversation_with_its_lineage(make_sample: MakeSample) -> None:
    sample = make_sample("Tea.", user="Tea or coffee?", system="You serve.", max_tokens=9)
    prompt = Prompt("cafe", 2, sample.prompt.messages, {"tone": "cross"}, "rows.csv:4")
    response = Response("Tea.", "stop", usage=Usage(7, 0), model="tiny-2", e2e_s=0.5)
    sample = replace(
        sample,
        prompt=prompt,
        response=response,
        edits=(NoiseEdit("typos", 1, (TextChange(8, "coffee", "cofee"),)),),
    )
    assert json.loads(JsonlSink().encode(sample)) == {
        "messages": [
            {"role": "system", "content": "You serve."},
            {"role": "user", "content": "Tea or coffee?"},
            {"role": "assistant", "content": "Tea."},
        ],
        "sample_id": "cafe-2",
        "lineage": {
            "prompt_id": "cafe",
            "sample_index": 2,
            "source": "rows.csv:4",
            "attributes": {"tone": "cross"},
            "endpoint": "here",
            "model": "tiny",
            "params": {"max_tokens": 9},
            "seed": 0,
            "request_id": "request-0",
            "finish_reason": "stop",
            "input_tokens": 7,
            "output_tokens": 0,
            "regenerations": 0,
            "noise": [
                {
                    "noise": "typos",
                    "message_index": 1,
                    "changes": [{"start": 8, "before": "coffee", "after": "cofee"}],
                }
            ],
            "verdicts": [],
            "repairs": 0,
        },
    }


def test_each_sample_is_one_line_whatever_its_text(make_sample: MakeSample) -> None:
    text = "one\ntwo\r\nthree \x00 \u2028 \x85 🦆 \"'\\"
    row = JsonlSink().encode(make_sample(text))
    assert row.endswith(b"\n")
    assert row.count(b"\n") == 1
    assert b"\r" not in row
    assert json.loads(row)["messages"][-1]["content"] == text


def test_text_is_readable_utf8_and_not_escaped(make_sample: MakeSample) -> None:
    assert "Zürich 🦆".encode() in JsonlSink().encode(make_sample("Zürich 🦆"))


def test_nothing_in_a_row_depends_on_time(make_sample: MakeSample) -> None:
    fast = make_sample("Yes.", response=Response("Yes.", "stop", e2e_s=0.1))
    slow = make_sample("Yes.", response=Response("Yes.", "stop", e2e_s=9.9))
    assert JsonlSink().encode(fast) == JsonlSink().encode(slow)


def test_rows_have_the_same_keys_in_the_same_order(make_sample: MakeSample) -> None:
    rich = make_sample("Yes.", response=Response("Yes.", "stop", usage=Usage(1, 2)))
    rows = [json.loads(JsonlSink().encode(sample)) for sample in (make_sample(), rich)]
    assert list(rows[0]) == list(rows[1])
    assert list(rows[0]["lineage"]) == list(rows[1]["lineage"])


def test_tokens_that_nobody_counted_are_null_and_not_zero(make_sample: MakeSample) -> None:
    lineage = json.loads(JsonlSink().encode(make_sample()))["lineage"]
    assert lineage["input_tokens"] is None
    assert lineage["output_tokens"] is None


def test_a_rejected_row_begins_with_the_verdict(make_sample: MakeSample) -> None:
    rejection = Rejection("validation", "length", "too_short", {"words": 1, "min_words": 3})
    row = json.loads(rejected_row(make_sample("Yes.", rejection=rejection)))
    assert list(row) == [
        "sample_id", "stage", "rule", "reason", "evidence", "messages", "lineage",
    ]  # fmt: skip
    assert row["reason"] == "too_short"
    assert row["evidence"] == {"words": 1, "min_words": 3}
    assert row["messages"][-1]["content"] == "Yes."


def test_a_failed_row_begins_with_the_error(make_sample: MakeSample) -> None:
    failure = Failure("server", "HTTP 500: 🦆", attempts=6, status_code=500)
    sample = make_sample(failure=failure, response=None)
    row = json.loads(failed_row(replace(sample, messages=sample.request.messages)))
    head = {key: row[key] for key in ("error", "message", "attempts", "status_code")}
    assert head == {
        "error": "server",
        "message": "HTTP 500: 🦆",
        "attempts": 6,
        "status_code": 500,
    }
    assert row["lineage"]["finish_reason"] is None
    assert [message["role"] for message in row["messages"]] == ["user"]
