"""Several choices in one answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from one_request import REQUEST, collect, use
from weave_async.errors import BadResponseError, ServerError
from weave_async.records import Response, Usage
from weave_async.testing.scripted_endpoint import (
    ScriptedEndpoint,
    chat_chunks,
    json_reply,
    sse_reply,
)

THREE = replace(REQUEST, num_choices=3)
USAGE = {"prompt_tokens": 3, "completion_tokens": 12}


def choice(index: Any, text: str, finish: str = "stop") -> dict[str, Any]:
    return {"index": index, "message": {"content": text}, "finish_reason": finish}


def asked(choices: list[Any], request: Any = THREE) -> Response:
    with ScriptedEndpoint([json_reply({"choices": choices, "usage": USAGE})]) as server:
        response = use(server.base_url, lambda p: p.complete(request))
    assert server.requests[0].body.get("n") == (3 if request is THREE else None)
    return response


@pytest.mark.parametrize(
    "choices",
    [
        [choice(0, "a"), choice(1, "b"), choice(2, "c")],
        [choice(2, "c"), choice(0, "a"), choice(1, "b")],
        [choice(None, "a"), choice(None, "b"), choice(None, "c")],
        [choice(0, "a"), None, choice(1, "b"), 7, choice(2, "c"), choice(3, "surplus")],
        [choice(0, "hal", "error"), choice(1, "a"), choice(2, "b"), choice(3, "c")],
    ],
    ids=["in order", "by index", "no index", "odd ones out", "one broke down"],
)
def test_choices_come_in_the_order_of_their_indices(choices: list[Any]) -> None:
    response = asked(choices)
    assert [r.text for r in (response, *response.others)] == ["a", "b", "c"]


def test_usage_is_that_of_all_and_stands_on_the_first_alone() -> None:
    response = asked([choice(0, "a"), choice(1, "b")])
    assert response.usage == Usage(3, 12)
    assert [other.usage for other in response.others] == [Usage()]
    assert response.others[0].others == ()


def test_endpoint_may_answer_with_fewer() -> None:
    assert asked([choice(0, "a")]).others == ()


def test_who_asked_for_one_gets_one() -> None:
    assert asked([choice(0, "a"), choice(1, "b")], REQUEST).others == ()


def test_answer_all_of_whose_choices_broke_down_is_tried_again() -> None:
    with pytest.raises(ServerError):
        asked([choice(0, "hal", "error"), choice(1, "hal", "abort")])


def test_answer_without_a_choice_is_none() -> None:
    with pytest.raises(BadResponseError):
        asked([])


def test_stream_is_of_the_first_choice() -> None:
    chunks = chat_chunks("a b")
    others = [{"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": None}]}]
    with ScriptedEndpoint([sse_reply([*chunks[:2], *others, *chunks[2:]])]) as server:
        came = use(server.base_url, lambda p: collect(p.stream(THREE)))
    assert "n" not in server.requests[0].body
    assert "".join(chunk.text for chunk in came) == "a b"
