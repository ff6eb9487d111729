"""A ``Request`` as the JSON body that OpenAI-shaped endpoints expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from weave_async.errors import RequestRefusedError
from weave_async.records import Api, Request

from .answer_schema import instructions, response_format
from .capabilities import PLAIN, Capabilities

PATHS: Mapping[Api, str] = {"chat": "/chat/completions", "completions": "/completions"}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def request_body(
    request: Request,
    extra: Mapping[str, Any],
    *,
    streamed: bool,
    capabilities: Capabilities = PLAIN,
) -> bytes:
    """``request_fields`` as JSON.

    Raises ``RequestRefusedError`` for what JSON cannot carry (a lone surrogate in a prompt).
    """
    try:
        fields = request_fields(request, extra, streamed=streamed, capabilities=capabilities)
        return orjson.dumps(fields)
    except TypeError as exc:
        raise RequestRefusedError(f"request {request.request_id} is not JSON: {exc}") from exc


def request_fields(
    request: Request,
    extra: Mapping[str, Any],
    *,
    streamed: bool,
    capabilities: Capabilities = PLAIN,
) -> dict[str, Any]:
    """The fields of ``request`` that the endpoint takes.

    ``extra`` stands last and so wins over what we would send: it is a person's word for this very
    endpoint, and goes out whatever ``capabilities`` say. A stream is always of one choice.
    """
    body: dict[str, Any] = {"model": request.model}
    if request.api == "chat":
        body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    else:
        body["prompt"] = request.prompt_text
    body.update(request.params.as_dict())
    if request.num_choices > 1 and not streamed:
        body["n"] = request.num_choices
    if streamed:
        body.update(STREAMED)
    if request.schema is not None:
        _ask_for_shape(body, request.schema, capabilities)
    if capabilities is not PLAIN:
        _leave_out(body, capabilities, is_chat=request.api == "chat")
    if extra:
        body.update(extra)
        if "max_tokens" in body and "max_completion_tokens" in extra:
            del body["max_tokens"]  # no server knows what to make of both
    return body


def _ask_for_shape(
    body: dict[str, Any], schema: Mapping[str, Any], capabilities: Capabilities
) -> None:
    """Have the endpoint hold the answer to ``schema``, or ask the model to."""
    kind = capabilities.response_format
    if "prompt" in body or "response_format" in capabilities.lacks:
        kind = "none"
    if (field := response_format(schema, kind)) is not None:
        body["response_format"] = field
    if kind == "json_schema":
        return
    told = instructions(schema)
    if "prompt" in body:
        body["prompt"] = f"{told}\n\n{body['prompt']}"
    elif body["messages"][:1] and body["messages"][0]["role"] == "system":
        first = body["messages"][0]
        first["content"] = f"{first['content']}\n\n{told}"
    else:
        body["messages"].insert(0, {"role": "system", "content": told})


def _leave_out(body: dict[str, Any], capabilities: Capabilities, *, is_chat: bool) -> None:
    field = capabilities.max_tokens_field
    if field != "max_tokens" and is_chat and "max_tokens" in body:
        body[field] = body.pop("max_tokens")
    for name in capabilities.lacks:
        body.pop(name, None)
