"""What a scripted endpoint gets and sends: requests as they arrived, replies with all their faults.

``scripts`` holds ready-made replies for the faults that one meets; here are the parts of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Piece = bytes | float
"""A piece of a body: bytes to send, or a number of seconds to pause before the next one."""
Framing = Literal["content-length", "chunked", "close"]

_SILENCE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to send for one request, and how badly.

    ``body`` in pieces (also from a generator, also endless) is sent ``chunked`` unless ``framing``
    says otherwise; ``close`` sends no length and ends the body by closing. ``content_length`` lies.
    ``head_delay_s`` passes before the status line, ``body_delay_s`` between head and body.
    ``cut_after`` ends the connection after that many bytes of body, with a reset if ``reset``;
    ``close_after`` ends it after a whole reply, unannounced, as an impatient server does.
    ``raw`` is sent as it stands, in place of all this, and the connection ended after it.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[Piece] = b""
    framing: Framing | None = None
    content_length: int | None = None
    head_delay_s: float = 0.0
    body_delay_s: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    close_after: bool = False
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request as it arrived. Header names are in lower case; ``arrived_s`` is monotonic."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw_body: bytes
    arrived_s: float
    connection: int

    @property
    def body(self) -> Any:
        """The JSON in the body, ``None`` where there is none."""
        return orjson.loads(self.raw_body) if self.raw_body else None


Script = Callable[[RecordedRequest], Reply] | Sequence[Reply]


def json_reply(document: Any, status: int = 200, **options: Any) -> Reply:
    """``document`` as JSON. ``options`` are further fields of ``Reply``."""
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    return Reply(status=status, headers=headers, body=orjson.dumps(document), **options)


def chat_reply(text: str, **options: Any) -> Reply:
    """A whole chat completion that says ``text``."""
    return json_reply(chat_completion(text), **options)


def error_reply(
    status: int, message: str = "scripted failure", code: str | None = None, **options: Any
) -> Reply:
    """An error in OpenAI's shape."""
    error = {"message": message, "type": "scripted", "param": None, "code": code}
    return json_reply({"error": error}, status, **options)


def sse_reply(
    events: Iterable[Any], *, done: bool = True, pause_s: float = 0.0, **options: Any
) -> Reply:
    """Server-sent events: a ``str`` or ``bytes`` is one event's data, anything else is JSON."""
    pieces: list[Piece] = []
    for event in [*events, "[DONE]"] if done else events:
        pieces += [_sse(event), pause_s] if pause_s else [_sse(event)]
    headers = {"content-type": "text/event-stream", **options.pop("headers", {})}
    return Reply(headers=headers, body=pieces, **options)


def dripped(body: bytes, every_s: float) -> Iterator[Piece]:
    """``body`` one byte at a time, with a pause after each."""
    for index in range(len(body)):
        yield body[index : index + 1]
        yield every_s


def silence() -> Iterator[Piece]:
    """A body of which nothing ever comes."""
    yield _SILENCE_S


def chat_completion(text: str, model: str = "scripted-model") -> dict[str, Any]:
    """A chat completion as OpenAI sends it, with all the fields that nobody reads."""
    return {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion",
        "created": 1_741_570_283,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": text,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": len(text.split()),
            "total_tokens": 19 + len(text.split()),
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_fc9f1d7035",
    }


def chat_chunks(text: str, model: str = "scripted-model") -> list[dict[str, Any]]:
    """The same completion as chunks: the role, a chunk per word, the finish, the usage."""
    words = text.split(" ")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word if i == 0 else " " + word} for i, word in enumerate(words)]
    chunks = [_chunk(model, [{"index": 0, "delta": d, "finish_reason": None}]) for d in deltas]
    chunks.append(_chunk(model, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    return [*chunks, _chunk(model, []) | {"usage": chat_completion(text)["usage"]}]


def _sse(event: Any) -> bytes:
    data = event.encode() if isinstance(event, str) else event
    return b"data: %b\n\n" % (data if isinstance(data, bytes) else orjson.dumps(event))


def _chunk(model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion.chunk",
        "created": 1_741_570_283,
        "model": model,
        "system_fingerprint": "fp_fc9f1d7035",
        "choices": choices,
        "usage": None,
    }
