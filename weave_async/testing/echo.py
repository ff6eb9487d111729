"""The answer of a scripted endpoint whose script has no more to say: what was asked, once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .replies import (
    RecordedRequest,
    Reply,
    chat_chunks,
    chat_completion,
    chat_reply,
    error_reply,
    json_reply,
    sse_reply,
)


def echo(request: RecordedRequest) -> Reply:
    """The default answer: what was asked, and why it is said again; 404 for an unknown path."""
    if request.path.endswith("/models"):
        return json_reply({"object": "list", "data": [{"id": "scripted-model"}]})
    if not request.path.endswith("/completions"):
        return error_reply(404, f"no such path: {request.path}")
    asked = request.body
    text = _echoed(asked)
    if "messages" not in asked:
        return _text_reply(text, streamed=bool(asked.get("stream")))
    return sse_reply(chat_chunks(text)) if asked.get("stream") else chat_reply(text)


def _text_reply(text: str, *, streamed: bool) -> Reply:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    completion = {**chat_completion(text), "object": "text_completion", "choices": [choice]}
    return sse_reply([completion]) if streamed else json_reply(completion)


def _echoed(asked: Mapping[str, Any]) -> str:
    if "messages" in asked:
        question = asked["messages"][-1]["content"] if asked["messages"] else ""
    else:
        question = asked.get("prompt", "")
    return f"You said: {question} {_PADDING}".strip()


_PADDING = (
    "I repeat it word for word, because an endpoint that plays from a script has nothing of its "
    "own to add; what it can add is length, so that an answer weighs as much as an answer does. "
    "A sentence more, and one after that, bring this to the size of a short reply of a model, "
    "with its usage counted in words, its fingerprint, its service tier and all the other fields "
    "that a client has to parse before it can throw them away. Whoever measures a client against "
    "this endpoint measures it on something like the bodies that it will meet outside, and whoever "
    "needs other sizes writes a script of two lines."
)
