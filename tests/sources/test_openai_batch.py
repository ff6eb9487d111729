"""OpenAI batch files as a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weave_async.records import BadRow, Row
from weave_async.sources.openai_batch import OpenAIBatchSource, is_batch_line

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def line(custom_id: Any = "one", **body: Any) -> dict[str, Any]:
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": MESSAGES, **body},
    }


def rows_of(*lines: Any, before: str = "") -> list[Row | BadRow]:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    Path("batch.jsonl").write_text(before + "\n".join(texts) + "\n")
    return list(OpenAIBatchSource(Path("batch.jsonl")).rows())


def reason_of(*lines: Any) -> str:
    [bad] = rows_of(*lines)
    assert isinstance(bad, BadRow), bad
    assert bad.origin == "batch.jsonl:1"
    return bad.reason


def test_a_line_is_a_row_with_its_conversation_and_parameters_of_its_own() -> None:
    [row] = rows_of(line(temperature=0.5, max_completion_tokens=9, stop="END", seed=3))
    assert isinstance(row, Row)
    assert (row.values["custom_id"], row.values["messages"]) == ("one", MESSAGES)
    assert row.params == {"temperature": 0.5, "max_tokens": 9, "stop": ("END",), "seed": 3}
    assert row.origin == "batch.jsonl:1"


def test_blank_lines_and_a_byte_order_mark_are_skipped() -> None:
    rows = rows_of(line("one"), "", line("two"), before="\ufeff")
    assert [row.values["custom_id"] for row in rows if isinstance(row, Row)] == ["one", "two"]


def test_fields_without_effect_on_the_answer_are_passed_over() -> None:
    [row] = rows_of(line(stream=True, user="u", n=1, logprobs=None, metadata={"a": "b"}))
    assert isinstance(row, Row)
    assert row.params == {}


def test_text_in_blocks_and_the_role_developer_are_understood() -> None:
    blocks = [{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]
    messages = [{"role": "developer", "content": "x"}, {"role": "user", "content": blocks}]
    [row] = rows_of(line(messages=messages))
    assert isinstance(row, Row)
    assert row.values["messages"] == [
        {"role": "system", "content": "x"},
        {"role": "user", "content": "Why?"},
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": []}, "body.messages"),
        ({"messages": ["hi"]}, "body.messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "body.messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "body.messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "body.messages[0].content",
        ),
        ({"temperature": "hot"}, "body.temperature"),
        ({"max_tokens": -1}, "body.max_tokens"),
        ({"max_tokens": True}, "body.max_tokens"),
        ({"stop": [1]}, "body.stop"),
        ({"n": 2}, "body.n"),
        ({"tools": [{}]}, "body.tools"),
        ({"response_format": {"type": "json_object"}}, "body.response_format"),
    ],
)
def test_what_cannot_be_asked_makes_a_bad_row_that_names_the_field(
    body: dict[str, Any], field: str
) -> None:
    assert field in reason_of(line(**body))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not an object but list"),
        ({"body": {}}, "custom_id"),
        ({"custom_id": "a", "body": "b"}, "body is str"),
        ({**line(), "url": "/v1/embeddings"}, "url is '/v1/embeddings'"),
    ],
)
def test_a_line_that_is_no_request_makes_a_bad_row(bad: Any, reason: str) -> None:
    assert reason in reason_of(bad)


def test_the_first_line_says_which_model_is_meant() -> None:
    rows_of("", line(model="first"), line(model="second"))
    assert OpenAIBatchSource(Path("batch.jsonl")).model == "first"
    rows_of("{", line(model="second"))
    assert OpenAIBatchSource(Path("batch.jsonl")).model is None


def test_a_batch_file_is_told_from_other_json_lines_by_its_line() -> None:
    assert is_batch_line(json.dumps(line()).encode())
    assert not is_batch_line(b'{"text": "a", "custom_id": "b"}')
    assert not is_batch_line(b'{"body": {}}')
    assert not is_batch_line(b"[]")
    assert not is_batch_line(b"")
