"""What an OpenAI-shaped server sends, for the tests of the wire room."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from providers.wire.errors import ErrorReader
from providers.wire.stream import ChunkReader
from weave_async.errors import (
    ProviderError,
)
from weave_async.records import Chunk

URL = "http://127.0.0.1:1/v1/chat/completions"
KEY = "sk-canary-0123456789abcdef"
ERRORS = ErrorReader(secret=KEY, key_advice="set WEAVE_ASYNC_API_KEY")
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "status",
                    "detail",
                    "msg",
                    "object",
                    "metadata",
                    "details",
                    "choices",
                    "delta",
                    "content",
                    "usage",
                    "data",
                    "finish_reason",
                    "reasoning",
                    "tool_calls",
                    "refusal",
                    "text",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


def reply_error(status: int, body: Any, headers: Mapping[str, str] | None = None) -> ProviderError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ERRORS.from_reply(status, URL, (headers or {}).get, data)


def answer(**fields: Any) -> bytes:
    choice = {"message": {"content": "hi"}, "finish_reason": "stop", **fields}
    return json.dumps({"model": "m", "choices": [choice]}).encode()


def read_stream(*pieces: bytes) -> list[Chunk]:
    reader = ChunkReader(URL, ERRORS, 1_000_000)
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks + list(reader.close())


def event(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"
