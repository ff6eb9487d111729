"""OpenAI batch files: JSON Lines of requests, as a batch API or ``vllm run-batch`` takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from weave_async.records import BadRow, Row
from weave_async.sources.files import open_bytes

ROLES = ("system", "user", "assistant")
NUMBERS = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty")
COUNTS = ("max_tokens", "top_k", "seed")
RENAMED = {"max_completion_tokens": "max_tokens"}
NOT_PARAMS = frozenset({"model", "messages"})
WITHOUT_EFFECT = frozenset(
    {
        "logprobs",
        "metadata",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "top_logprobs",
        "user",
    }
)
"""Fields that do not change what is answered, or how it would be kept here."""


@dataclass(frozen=True, slots=True)
class OpenAIBatchSource:
    """Each line is a request: the columns are ``custom_id``, ``messages``, which is its
    conversation, and ``params``.

    The body's sampling parameters hold for that row, over the recipe's. Its model is asked only
    where nobody else names one, and then the first line's for all. A line with a field that would
    change the answer and that we cannot send (tools, several choices, images) is a bad row.
    """

    path: Path

    def rows(self) -> Iterator[Row | BadRow]:
        with open_bytes(self.path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _row_of(line, f"{self.path}:{number}")

    @property
    def model(self) -> str | None:
        """What the first line asks; ``None`` where it does not say."""
        with open_bytes(self.path) as lines:
            first = next((line for line in lines if line.strip()), b"")
        try:
            body = _request_in(first)["body"]
        except (KeyError, TypeError, ValueError):
            return None
        model = body.get("model") if isinstance(body, dict) else None
        return model if isinstance(model, str) and model else None


def is_batch_line(line: bytes) -> bool:
    """Whether a line of a JSON Lines file is a request of a batch file."""
    try:
        request = _request_in(line)
    except (TypeError, ValueError):
        return False
    return "custom_id" in request and isinstance(request.get("body"), dict)


def _request_in(line: bytes) -> dict[str, Any]:
    request = orjson.loads(line)
    if not isinstance(request, dict):
        raise TypeError(f"not an object but {type(request).__name__}")
    return request


def _row_of(line: bytes, origin: str) -> Row | BadRow:
    try:
        request = _request_in(line)
        return _row_from(request, origin)
    except orjson.JSONDecodeError as error:
        return BadRow(origin, f"not JSON: {error}")
    except (TypeError, ValueError) as error:
        return BadRow(origin, str(error))


def _row_from(request: Mapping[str, Any], origin: str) -> Row:
    """Raises ``ValueError`` that names the field at fault."""
    custom_id, url, body = request.get("custom_id"), request.get("url"), request.get("body")
    if not isinstance(custom_id, str) or not custom_id:
        raise ValueError(f"custom_id is {custom_id!r}, not text")
    if not isinstance(body, dict):
        raise ValueError(f"body is {type(body).__name__}, not an object")
    if url is not None and not str(url).endswith("/chat/completions"):
        raise ValueError(f"url is {url!r}; only /v1/chat/completions can be asked")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ValueError("body.messages is not a list of messages")
    params = _params_in(body)
    columns = {
        "custom_id": custom_id,
        "messages": [_message(message, index) for index, message in enumerate(messages)],
        "params": params,  # a row that asks otherwise is another row
    }
    return Row(columns, origin, params)


def _message(message: Any, index: int) -> dict[str, str]:
    where = f"body.messages[{index}]"
    if not isinstance(message, dict):
        raise ValueError(f"{where} is not an object")
    role, content = message.get("role"), message.get("content")
    if role == "developer":  # what newer models of OpenAI call it
        role = "system"
    if role not in ROLES:
        raise ValueError(f"{where}.role is {role!r}; known: {', '.join(ROLES)}")
    if isinstance(content, list):
        content = _text_of(content, where)
    if not isinstance(content, str):
        raise ValueError(f"{where}.content is {type(content).__name__}, not text")
    return {"role": role, "content": content}


def _text_of(parts: list[Any], where: str) -> str:
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{where}.content holds more than text")
    return "".join(str(text) for text in texts)


def _params_in(body: Mapping[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for field, value in body.items():
        if value is None or field in NOT_PARAMS or field in WITHOUT_EFFECT:
            continue
        if field == "n" and value == 1:
            continue
        params[RENAMED.get(field, field)] = _param(RENAMED.get(field, field), value, field)
    return params


def _param(name: str, value: Any, field: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in NUMBERS and is_number:
        return value
    if name in COUNTS and type(value) is int and value >= 0:
        return value
    if name == "reasoning_effort" and isinstance(value, str):
        return value
    if name == "stop":
        stops = [value] if isinstance(value, str) else value
        if isinstance(stops, list) and all(isinstance(stop, str) for stop in stops):
            return tuple(stops)
    known = (*NUMBERS, *COUNTS, "reasoning_effort", "stop")
    if name in known:
        raise ValueError(f"body.{field} is {value!r}, which is no {name}")
    raise ValueError(f"body.{field} cannot be sent; known: {', '.join(known)}")
