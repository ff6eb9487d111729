"""What is sent."""

from __future__ import annotations

import json

import pytest

from providers.wire.request import request_body
from weave_async.errors import (
    RequestRefusedError,
)
from weave_async.records import Message, Request, SamplingParams


def test_request_sends_only_the_parameters_that_are_set() -> None:
    request = Request("r", "m", (Message("user", "é"),), SamplingParams(max_tokens=5, seed=0))
    assert json.loads(request_body(request, {"top_k": 1}, streamed=False)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "é"}],
        "max_tokens": 5,
        "seed": 0,
        "top_k": 1,
    }


def test_completions_request_sends_one_prompt_text() -> None:
    messages = (Message("system", "a"), Message("user", "b"))
    body = json.loads(
        request_body(
            Request("r", "m", messages, SamplingParams(), "completions"), {}, streamed=True
        )
    )
    assert body["prompt"] == "a\n\nb"
    assert body["stream_options"] == {"include_usage": True}
    assert "messages" not in body


def test_lone_surrogate_in_a_prompt_refuses_that_request_only() -> None:
    request = Request("r", "m", (Message("user", "\ud83d"),), SamplingParams())
    with pytest.raises(RequestRefusedError, match="request r"):
        request_body(request, {}, streamed=False)
