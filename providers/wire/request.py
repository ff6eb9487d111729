"""A ``Request`` as the JSON body that OpenAI-shaped endpoints expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from weave_async.errors import RequestRefusedError
from weave_async.records import Api, Request

PATHS: Mapping[Api, str] = {"chat": "/chat/completions", "completions": "/completions"}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def request_body(request: Request, extra: Mapping[str, Any], *, streamed: bool) -> bytes:
    """``request_fields`` as JSON.

    Raises ``RequestRefusedError`` for what JSON cannot carry (a lone surrogate in a prompt).
    """
    try:
        return orjson.dumps(request_fields(request, extra, streamed=streamed))
    except TypeError as exc:
        raise RequestRefusedError(f"request {request.request_id} is not JSON: {exc}") from exc


def request_fields(request: Request, extra: Mapping[str, Any], *, streamed: bool) -> dict[str, Any]:
    """The fields of ``request``; ``extra`` stands last and so wins over what we would send."""
    body: dict[str, Any] = {"model": request.model}
    if request.api == "chat":
        body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    else:
        body["prompt"] = request.prompt_text
    body.update(request.params.as_dict())
    if streamed:
        body.update(STREAMED)
    body.update(extra)
    return body
