"""How servers have framed and worded what they sent, for the tests of their quirks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from weave_async.records import Chunk
from weave_async.testing.scripted_endpoint import Piece, Reply

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
DONE = b"data: [DONE]\n\n"


def streamed(*pieces: Piece, **options: Any) -> Reply:
    """An event stream, byte for byte."""
    return Reply(headers=SSE, body=list(pieces), **options)


def whole(message: Any, finish: Any = "stop", **more: Any) -> Reply:
    """A completion with this message and no field that is not given."""
    document = {"choices": [{"message": message, "finish_reason": finish}], **more}
    return Reply(headers=JSON, body=json.dumps(document).encode())


def said(chunks: Iterable[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def ending(chunks: list[Chunk]) -> Chunk:
    """The one chunk with a finish reason."""
    (last,) = [chunk for chunk in chunks if chunk.finish_reason]
    return last
